"""Bands over seeds in figures: the mean of each group, and the jackknife's interval over seeds."""

from __future__ import annotations

import itertools
import math
from statistics import fmean, stdev

import polars as pl
import pytest
from scipy import stats

from transferscope.analyses.shared.bands import over_pairs, possible_scale, with_band

VALUES = {(0, 1): 0.2, (0, 2): 0.5, (0, 3): 0.1, (1, 2): 0.4, (1, 3): 0.9, (2, 3): 0.6}


def table(kind: str, values: dict[tuple[int, int], float]) -> pl.DataFrame:
    rows = [{"pair": kind, "seed_a": a, "seed_b": b, "value": value} for (a, b), value in values.items()]
    return pl.DataFrame(rows)


def test_mean_and_interval_of_each_group() -> None:
    few = {pair: VALUES[pair] for pair in itertools.combinations(range(2), 2)}
    equal = dict.fromkeys(VALUES, 0.3)
    found = over_pairs(
        pl.concat([table("b", VALUES), table("few", few), table("a", equal)]), ["pair"], "value"
    )
    assert found["pair"].to_list() == ["b", "few", "a"]
    assert found["mean"].to_list() == pytest.approx([fmean(VALUES.values()), 0.2, 0.3], abs=1e-12)
    left_out = [fmean(value for pair, value in VALUES.items() if seed not in pair) for seed in range(4)]
    half = float(stats.t.ppf(0.975, 3)) * 3 * stdev(left_out) / math.sqrt(4)
    assert found["high"][0] - found["mean"][0] == pytest.approx(half, abs=1e-12)
    assert found["mean"][0] - found["low"][0] == pytest.approx(half, abs=1e-12)
    assert with_band(found)["pair"].to_list() == ["b"], "two seeds, or equal ones, have no interval"


def test_what_is_not_finite_is_left_out() -> None:
    rows = pl.concat([table("a", VALUES), table("a", {(0, 4): math.nan, (1, 4): math.inf})])
    assert over_pairs(rows, ["pair"], "value").equals(over_pairs(table("a", VALUES), ["pair"], "value"))


def test_an_axis_ends_where_the_numbers_must() -> None:
    rows = pl.DataFrame({"mean": [0.1, 0.7], "low": [-0.2, math.nan], "high": [0.4, math.nan]})
    assert possible_scale(rows, 0, 1).domain == [0, 0.7]
    assert possible_scale(rows, -1, 0.5).domain == [-0.2, 0.5]
    assert possible_scale(rows.head(0), 0, 1).domain == [0, 0]
