"""Instances, their names, and the pairs that the paper speaks of."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from transferscope.core.config import Study
from transferscope.core.instances import (
    PAIR_COLUMNS,
    PAIR_KINDS,
    SAME_INIT,
    Instance,
    Pair,
    instances,
    pairs,
    parse,
)
from transferscope.core.runs import target_run

SEEDS = st.none() | st.integers(0, 99)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return tiny.study(tmp_path, "parameter_distance", "mistakes")


def names(study: Study, **options: bool) -> list[str]:
    return list(instances(study, study.analyses["mistakes"], "digits", **options))


def found(study: Study, **options: bool) -> dict[str, list[tuple[str, str]]]:
    by_kind: dict[str, list[tuple[str, str]]] = {}
    for pair in pairs(names(study, **options)):
        by_kind.setdefault(pair.kind, []).append((pair.a, pair.b))
    return by_kind


def test_the_instances_of_a_target(study: Study) -> None:
    trained = ["P-T 0", "P-T 1", "P-T 2", "RI-T 0", "RI-T 1", "RI-T 2"]
    assert names(study) == trained
    assert names(study, same_init=True) == [*trained, "RI-T 1 from init 0", "RI-T 2 from init 0"]
    assert names(study, untrained=True) == [*trained, "P", "RI 0", "RI 1", "RI 2"]


def test_an_instance_is_the_network_that_its_name_says(study: Study) -> None:
    points = instances(study, study.analyses["mistakes"], "digits", same_init=True, untrained=True)
    assert points["P-T 1"] == target_run(study, "p_t", "digits", 1).final
    assert points["RI-T 1"] == target_run(study, "ri_t", "digits", 1).final
    assert points["RI 1"] == target_run(study, "ri_t", "digits", 1).init
    assert points["P"].epoch == 0
    assert points["P"].run.source is not None
    same_init = points["RI-T 1 from init 0"].run
    assert (same_init.seed, same_init.init_seed) == (1, 0)


def test_only_the_chosen_seeds_are_looked_at(study: Study) -> None:
    config = study.analyses["mistakes"].model_copy(update={"seeds": (2, 1)})
    assert list(instances(study, config, "digits", same_init=True)) == [
        "P-T 2",
        "P-T 1",
        "RI-T 2",
        "RI-T 1",
        "RI-T 1 from init 2",
    ]


def test_the_pairs_of_trained_instances(study: Study) -> None:
    assert found(study) == {
        "P-T & P-T": [("P-T 0", "P-T 1"), ("P-T 0", "P-T 2"), ("P-T 1", "P-T 2")],
        "P-T & RI-T": [
            ("P-T 0", "RI-T 1"),
            ("P-T 0", "RI-T 2"),
            ("P-T 1", "RI-T 0"),
            ("P-T 1", "RI-T 2"),
            ("P-T 2", "RI-T 0"),
            ("P-T 2", "RI-T 1"),
        ],
        "RI-T & RI-T": [("RI-T 0", "RI-T 1"), ("RI-T 0", "RI-T 2"), ("RI-T 1", "RI-T 2")],
    }


def test_the_pairs_with_one_initialization(study: Study) -> None:
    by_kind = found(study, same_init=True)
    assert by_kind[SAME_INIT] == [
        ("RI-T 0", "RI-T 1 from init 0"),
        ("RI-T 0", "RI-T 2 from init 0"),
        ("RI-T 1 from init 0", "RI-T 2 from init 0"),
    ]
    del by_kind[SAME_INIT]
    assert by_kind == found(study), "the other pairs are as they are without"


def test_the_pairs_with_untrained_instances(study: Study) -> None:
    by_kind = found(study, same_init=True, untrained=True)
    assert list(by_kind) == list(PAIR_KINDS), "in the order of the legends"
    assert by_kind["P-T & P"] == [("P-T 0", "P"), ("P-T 1", "P"), ("P-T 2", "P")]
    assert by_kind["RI-T & RI"] == [("RI-T 0", "RI 0"), ("RI-T 1", "RI 1"), ("RI-T 2", "RI 2")]
    assert by_kind["RI & RI"] == [("RI 0", "RI 1"), ("RI 0", "RI 2"), ("RI 1", "RI 2")]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=4, unique=True))
def test_every_instance_is_in_as_many_pairs_and_none_is_there_twice(seeds: list[int]) -> None:
    instances = [Instance(kind, seed).name for kind in ("P-T", "RI-T") for seed in seeds]
    made = pairs(instances)
    assert len({frozenset((pair.a, pair.b)) for pair in made}) == len(made)
    n = len(seeds) * (len(seeds) - 1) // 2
    kinds = {"P-T & P-T": n, "P-T & RI-T": 2 * n, "RI-T & RI-T": n}
    assert Counter(pair.kind for pair in made) == Counter(kinds if n else {})
    for kind in kinds:
        counts = Counter(name for pair in made if pair.kind == kind for name in (pair.a, pair.b))
        assert set(counts.values()) <= {len(seeds) - 1}
    assert all(pair.seed_a != pair.seed_b for pair in made)


def test_a_pair_fills_its_columns() -> None:
    pair = Pair("P-T & P", "P-T 3", "P", 3, None)
    assert pair.columns == {"pair": "P-T & P", "a": "P-T 3", "b": "P", "seed_a": 3, "seed_b": None}
    assert list(pair.columns) == [column.name for column in PAIR_COLUMNS]


@given(kind=st.sampled_from(["P-T", "RI-T", "RI", "P"]), seed=SEEDS, init_seed=SEEDS)
def test_a_name_is_read_back(kind: str, seed: int | None, init_seed: int | None) -> None:
    instance = Instance(kind, seed, init_seed)
    assert parse(instance.name) == instance


@pytest.mark.parametrize("text", ["", "P-T x", "RT 1", "P-T 1 from init", "P-T 1 ", "finetuned 1"])
def test_another_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not the name of an instance"):
        parse(text)
