"""Fieller's interval against the t tests that it inverts, and what it covers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize, stats

from transferscope.core.errors import BadInput
from transferscope.metrics.statistics.ratio import fieller_interval


def excess(ratio: float, parts: np.ndarray, wholes: np.ndarray, level: float) -> float:
    """Below 0 where the t test of this ratio rejects it."""
    return float(stats.ttest_1samp(parts - ratio * wholes, 0).pvalue) - (1 - level)


@pytest.mark.parametrize("n", [2, 3, 5, 12])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_its_ends_are_where_the_t_test_begins_to_reject(n: int, level: float) -> None:
    rng = np.random.default_rng(n)
    for _ in range(30):
        wholes = rng.normal(5, 0.05, n)
        parts = rng.normal() * wholes + rng.normal(0, 0.3, n)
        ours = fieller_interval(parts.tolist(), wholes.tolist(), level)
        estimate = parts.mean() / wholes.mean()
        assert ours.estimate == pytest.approx(estimate, rel=1e-12)
        for far, end in ((-1e3, ours.low), (1e3, ours.high)):
            expected = optimize.brentq(
                excess, estimate, far, args=(parts, wholes, level), xtol=1e-13, rtol=1e-13
            )
            assert end == pytest.approx(expected, rel=1e-8, abs=1e-10)


def test_without_a_whole_there_is_no_ratio() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        parts, wholes = rng.normal(size=3), rng.normal(rng.uniform(0, 6), size=3)
        ours = fieller_interval(parts.tolist(), wholes.tolist())
        is_something = stats.ttest_1samp(wholes, 0).pvalue < 0.05
        assert math.isfinite(ours.estimate) == math.isfinite(ours.low) == is_something
        if is_something:
            assert ours.low <= ours.estimate <= ours.high


@pytest.mark.parametrize(
    ("parts", "wholes"),
    [([], []), ([1.0], [2.0]), ([1.0, math.nan], [2.0, 2.1]), ([1.0, 1.1], [math.inf, 1.0])],
)
def test_what_has_no_interval_has_no_number(parts: list[float], wholes: list[float]) -> None:
    ours = fieller_interval(parts, wholes)
    assert all(math.isnan(x) for x in (ours.estimate, ours.low, ours.high))


@pytest.mark.parametrize(
    ("parts", "wholes", "ratio"),
    [
        ([0.1, 0.1, 0.1], [0.4, 0.4, 0.4], 0.25),
        ([1.0, 1.1, 1.2], [3.0, 3.3, 3.6], 1 / 3),
        ([0.0, 0.0, 0.0], [5.0, 5.1, 5.2], 0.0),
    ],
)
def test_seeds_that_agree_give_no_interval(parts: list[float], wholes: list[float], ratio: float) -> None:
    ours = fieller_interval(parts, wholes)
    assert ours.estimate == pytest.approx(ratio)
    assert math.isnan(ours.low)
    assert math.isnan(ours.high)
    assert math.isnan(fieller_interval([0.1, 0.1], [0.0, 0.0]).estimate)


def test_a_whole_for_each_part() -> None:
    with pytest.raises(BadInput, match="2 parts and 1 wholes"):
        fieller_interval([1.0, 2.0], [1.0])


@pytest.mark.parametrize("n", [3, 5])
def test_it_covers_what_it_says(n: int) -> None:
    """Where there is an interval at all: of 2,000 data sets 95 %, give or take 1.5 points."""
    rng = np.random.default_rng(5)
    held = []
    for _ in range(2000):
        wholes = rng.normal(1, 0.15, n)
        parts = 0.4 * wholes + rng.normal(0, 0.1, n)
        ours = fieller_interval(parts.tolist(), wholes.tolist())
        if math.isfinite(ours.low):
            held.append(ours.low <= 0.4 <= ours.high)
    assert len(held) > 1700
    assert 0.935 < np.mean(held) < 0.965
