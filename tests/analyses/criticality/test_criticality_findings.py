"""Whether modules become critical suddenly: a share between 0 and 1, and undecided where it can't be told."""

from __future__ import annotations

import math

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transferscope.analyses.criticality.analysis import KEYS, TABLES
from transferscope.analyses.criticality.claims import _sudden, _suddenness
from transferscope.analyses.criticality.maps import path
from transferscope.execute.store.artifacts import DTYPES

SCHEMA = {column.name: DTYPES[column.dtype] for column in (*KEYS, *TABLES["criticality_training"])}


def course(drops, seeds=3, spread=0.0):
    """The drops of one module by epoch; seeds differ by `spread`."""
    return pl.DataFrame(
        [
            {"target": "digits", "kind": "RI-T", "seed": seed, "module": "stem", "depth": 0, "is_head": False}
            | {"epoch": epoch, "epochs": max(drops), "n_test": 100}
            | {"test_drop": drop + spread * (seed - 1)}
            for seed in range(seeds)
            for epoch, drop in drops.items()
        ],
        schema=SCHEMA,
    )


def sudden(drops, **options):
    """The finding on the claim, from the drops of three seeds."""
    return _sudden({"criticality_training": course(drops, **options)}, lambda table: table)


@given(st.lists(st.floats(-0.5, 0.5), min_size=20, max_size=20))
def test_it_is_a_share(values):
    drops = dict(enumerate(values, start=1))
    share = _suddenness(course(drops, seeds=1))
    if max(values) >= 0.02:
        assert 0 <= share <= 1
    else:
        assert math.isnan(share)


def test_the_share_of_a_known_rise():
    # at most 2 of 20 epochs: 0.1 to 0.3 of a whole of 0.4; the dip before is no rise
    drops = {1: 0.1, 2: -0.2, 3: 0.1, 4: 0.1, 5: 0.2, 6: 0.3, 10: 0.4, 20: 0.4}
    assert _suddenness(course(drops)) == pytest.approx(0.5)


def test_a_sudden_rise_holds():
    drops = {epoch: 0.4 if epoch < 10 else 0.5 for epoch in range(2, 21)} | {1: 0.0}
    found = sudden(drops, spread=0.01)
    assert found.verdict == "holds"
    assert found.effect == pytest.approx(0.8)


def test_a_slow_rise_does_not_hold():
    found = sudden({epoch: epoch / 40 for epoch in range(1, 21)}, spread=0.001)
    assert found.verdict == "does not hold"
    assert "kept epochs" not in found.note


@pytest.mark.parametrize("drops", [{1: 0.0, 2: 0.05, 20: 0.4}, {10: 0.1, 20: 0.4}])
def test_epochs_too_far_apart_are_not_measurable(drops):
    found = sudden(drops, spread=0.001)
    assert found.evidence == "not measurable here"
    assert "training.keep_epochs: all" in found.note


def test_where_nothing_becomes_critical_there_is_nothing_to_place():
    found = sudden(dict.fromkeys(range(1, 21), 0.015))
    assert math.isnan(found.effect)
    assert found.evidence == "not measurable here"
    assert "rises by less than 2 points" in found.note


def test_without_a_course_there_is_nothing_to_tell():
    assert (
        _sudden({"criticality_training": course({1: 0.1}).clear()}, lambda table: table).verdict
        == "undecided"
    )


def test_a_drop_of_nan_is_no_rise():
    assert math.isnan(_suddenness(course({1: 0.1, 2: math.nan, 20: 0.5})))


@pytest.mark.parametrize("drop", [math.nan, 0.3])
def test_the_path_panel_is_drawn_where_no_drop_is_known(drop: float) -> None:
    row = {"kind": "P-T", "module": "stem", "depth": 0, "epoch": 0, "test_drop": drop}
    assert path(pl.DataFrame([row]), "target").name == "path-target"
