"""P is known by its hash, and compared with the documented one where the pre-training is the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny
import torch
from safetensors.torch import save_file
from torch import Tensor

from transferscope.execute.store.local import Store
from transferscope.report import pretrained
from transferscope.report.pretrained import (
    ANOTHER,
    documented_file,
    pretrained_facts,
    pretrained_task,
    state_sha256,
)
from transferscope.study.file import load_study
from transferscope.study.plan import Plan, plan
from transferscope.study.templates import embedded_study

STATE = {"w": torch.arange(6.0).reshape(2, 3), "b": torch.zeros(2), "n": torch.tensor(3)}


@pytest.mark.parametrize(
    "other",
    [
        {**STATE, "b": torch.zeros(2, 1)},
        {**STATE, "b": torch.zeros(2, dtype=torch.int32)},
        {**STATE, "b": torch.tensor([0.0, 1e-30])},
        {"w": STATE["w"], "b": STATE["b"], "m": STATE["n"]},
        {"w": STATE["w"], "b": STATE["b"]},
    ],
    ids=["shape", "dtype", "value", "name", "fewer"],
)
def test_the_hash_is_of_names_dtypes_shapes_and_values(other: dict[str, Tensor]) -> None:
    strided = torch.arange(12.0).reshape(2, 6)[:, ::2] / 2
    assert state_sha256({**dict(reversed(STATE.items())), "w": strided}) == state_sha256(STATE)
    assert state_sha256(other) != state_sha256(STATE)


@pytest.fixture
def tiny_plan(tmp_path: Path) -> Plan:
    return plan(tiny.study(tmp_path, "feature_reuse"))


def stored(the_plan: Plan, folder: Path, *, changed: bool = False) -> Store:
    """A store with P alone."""
    found = pretrained_task(the_plan)
    assert found is not None
    task, epoch = found
    state = {**STATE, "b": STATE["b"] + 1e-7} if changed else STATE
    store = Store(folder)
    store.prepare()
    store.commit(
        task.key,
        lambda to: save_file(
            state, to / f"checkpoint-{epoch}.safetensors", metadata={"order": json.dumps(list(state))}
        ),
        {"kind": "train", "title": task.title, "seconds": 1.0, "device": "cpu"},
    )
    return store


def test_p_is_compared_with_the_documented_one(
    tiny_plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = pretrained_task(tiny_plan)
    assert found is not None
    assert pretrained_facts(tiny_plan, stored(tiny_plan, tmp_path / "a")) == {
        "sha256": state_sha256(STATE)
    }, "another pre-training than the documented one: nothing to compare"
    documented = {"key": found[0].key, "sha256": state_sha256(STATE), "machine": "a machine"}
    (tmp_path / "documented.json").write_text(json.dumps(documented))
    monkeypatch.setattr(pretrained, "documented_file", lambda: tmp_path / "documented.json")
    same, other = (
        pretrained_facts(tiny_plan, stored(tiny_plan, tmp_path / str(changed), changed=changed))
        for changed in (False, True)
    )
    assert same is not None
    assert other is not None
    assert (same["sha256"], same["note"]) == (documented["sha256"], "")
    assert (other["documented_sha256"], other["note"]) == (documented["sha256"], ANOTHER)
    assert other["sha256"] != documented["sha256"]


def test_without_the_result_there_is_no_hash(tiny_plan: Plan, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.prepare()
    assert pretrained_facts(tiny_plan, store) == {"sha256": None}


def test_the_documented_p_is_that_of_the_embedded_study() -> None:
    found = pretrained_task(plan(load_study(embedded_study())))
    assert found is not None
    assert json.loads(documented_file().read_text())["key"] == found[0].key, (
        "the embedded study pre-trains in another way: run it, then python tools/documented_pretraining.py runs/demo"
    )
