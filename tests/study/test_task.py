"""Keys of results, and the graph of tasks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transferscope.core.options import DatasetOptions
from transferscope.study import task as task_module
from transferscope.study.task import Graph, Task, canonical_key


def make(key: str, *inputs: str, cost: float = 1.0, title: str = "") -> Task:
    payload = DatasetOptions(dataset="none")
    return Task(kind="data", key=key, inputs=inputs, title=title or key, payload=payload, cost=cost)


def test_the_order_of_keys_does_not_change_a_key() -> None:
    one = canonical_key("train", 1, {"a": 1, "b": {"c": [1, 2], "d": None}})
    assert one == canonical_key("train", 1, {"b": {"d": None, "c": [1, 2]}, "a": 1})
    assert len(one) == 64
    assert set(one) <= set("0123456789abcdef")


@pytest.mark.parametrize(
    ("kind", "version", "spec"),
    [
        ("measure", 1, {"a": [1, 2]}),
        ("train", 2, {"a": [1, 2]}),
        ("train", 1, {"a": [2, 1]}),
        ("train", 1, {"b": [1, 2]}),
        ("train", 1, {"a": [1, 2], "b": None}),
        ("train", 1, {"a": ["1", 2]}),
    ],
)
def test_all_that_decides_a_result_is_in_its_key(kind: str, version: int, spec: dict[str, object]) -> None:
    assert canonical_key(kind, version, spec) != canonical_key("train", 1, {"a": [1, 2]})


def test_the_format_of_keys_is_in_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = canonical_key("data", 1, {})
    monkeypatch.setattr(task_module, "KEY_FORMAT", 2)
    assert canonical_key("data", 1, {}) != before


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_key_of_numbers_that_are_not_finite_is_refused(number: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_key("data", 1, {"a": number})


def test_a_task_before_its_inputs_is_refused() -> None:
    with pytest.raises(ValueError, match="comes before its inputs"):
        Graph([make("b", "a"), make("a")])


def test_each_key_stands_once_in_a_graph_and_the_first_stays() -> None:
    graph = Graph([make("a", title="first"), make("b", "a"), make("a", title="second")])
    assert [task.key for task in graph] == ["a", "b"]
    assert len(graph) == 2
    assert graph["a"].title == "first"
    assert "a" in graph
    assert "c" not in graph


def diamond() -> Graph:
    return Graph(
        [
            make("data", cost=1),
            make("slow", "data", cost=10),
            make("quick", "data", cost=2),
            make("both", "slow", "quick", cost=3),
            make("one", "quick", cost=20),
        ]
    )


def test_dependants() -> None:
    assert diamond().dependants() == {
        "data": ["slow", "quick"],
        "slow": ["both"],
        "quick": ["both", "one"],
        "both": [],
        "one": [],
    }


def test_a_critical_path_is_the_costliest_chain_from_a_task_on() -> None:
    assert diamond().critical_paths() == {"data": 23, "slow": 13, "quick": 22, "both": 3, "one": 20}


@pytest.mark.parametrize(
    ("done", "needed"),
    [
        ([], ["data", "slow", "quick", "both", "one"]),
        (["data"], ["slow", "quick", "both", "one"]),
        (["both"], ["data", "quick", "one"]),
        (["both", "one"], []),
        (["both", "quick"], ["one"]),
        (["slow", "quick"], ["both", "one"]),
    ],
)
def test_only_what_a_missing_result_needs_is_run(done: list[str], needed: list[str]) -> None:
    assert [task.key for task in diamond().needed(done)] == needed


@given(st.data())
def test_what_is_needed_agrees_with_the_definition(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 8))
    keys = [f"{i}" for i in range(size)]
    inputs = {key: data.draw(st.lists(st.sampled_from(keys[:i]), unique=True) if i else st.just([]))
              for i, key in enumerate(keys)}  # fmt: skip
    done = data.draw(st.sets(st.sampled_from(keys)))
    graph = Graph(make(key, *inputs[key]) for key in keys)

    def is_needed(key: str) -> bool:
        readers = [reader for reader in keys if key in inputs[reader]]
        return key not in done and (not readers or any(is_needed(reader) for reader in readers))

    assert [task.key for task in graph.needed(done)] == [key for key in keys if is_needed(key)]
