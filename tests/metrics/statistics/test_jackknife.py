"""The jackknife test over seeds against SciPy and a literal version, what its interval covers, and Holm's p-values."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from transferscope.core.errors import BadInput
from transferscope.metrics.statistics.jackknife import holm, jackknife_test, sign_test

Numbers = np.ndarray
STUDIES = 2000


def over_seeds(values: Numbers, statistic: Callable[[Numbers], float] = np.mean, **options: float):
    left_out = [float(statistic(np.delete(values, i, 0))) for i in range(len(values))]
    return jackknife_test(float(statistic(values)), left_out, **options)


@pytest.mark.parametrize("n", [2, 3, 5, 20])
def test_for_a_mean_it_is_students_t_test(n: int) -> None:
    rng = np.random.default_rng(n)
    for _ in range(50):
        values, null = rng.normal(0.3, 2, n), rng.normal()
        ours, theirs = over_seeds(values, null=null, level=0.9), stats.ttest_1samp(values, null)
        interval = theirs.confidence_interval(0.9)
        assert ours.p_value == pytest.approx(theirs.pvalue, rel=1e-9)
        assert ours.interval.low == pytest.approx(interval.low, rel=1e-9, abs=1e-10)
        assert ours.interval.high == pytest.approx(interval.high, rel=1e-9, abs=1e-10)
        assert ours.standard_error == pytest.approx(stats.sem(values), rel=1e-9)


def test_it_is_the_spread_of_the_pseudo_values_around_the_statistic() -> None:
    rng = np.random.default_rng(0)
    for n in (3, 4, 7):
        values = rng.exponential(size=n)

        def ratio(part: Numbers) -> float:
            return part.mean() / (1 + part.max())

        pseudo = [n * ratio(values) - (n - 1) * ratio(np.delete(values, i)) for i in range(n)]
        mean = math.fsum(pseudo) / n
        se = math.sqrt(math.fsum((value - mean) ** 2 for value in pseudo) / (n - 1) / n)
        ours = over_seeds(values, ratio)
        half = stats.t.ppf(0.975, n - 1) * se
        assert ours.standard_error == pytest.approx(se, rel=1e-9)
        assert (ours.interval.low, ours.interval.high) == pytest.approx(
            (ratio(values) - half, ratio(values) + half), rel=1e-9, abs=1e-10
        )


# hundredths: squares of numbers near the smallest that there are underflow, and then have no spread
HUNDREDTHS = st.integers(-(10**8), 10**8).map(lambda number: number / 100)


@settings(max_examples=60, deadline=None)
@given(st.lists(HUNDREDTHS, min_size=2, max_size=6), HUNDREDTHS)
def test_the_interval_leaves_out_what_the_test_rejects(values: list[float], null: float) -> None:
    test = over_seeds(np.array(values), null=null)
    if math.isnan(test.p_value):
        assert math.isnan(test.interval.low)
        assert np.ptp(values) <= 1e-9 * np.abs(values).max()
        return
    outside = not test.interval.low <= null <= test.interval.high
    if abs(test.p_value - 0.05) > 1e-6:
        assert outside == (test.p_value < 0.05)


@pytest.mark.parametrize("value", [0.02, 0.1, -7e5, 0.0])
def test_seeds_that_make_no_difference(value: float) -> None:
    values = np.array([value] * 3) * (1 + np.array([0, 1e-16, -1e-16]))
    for null in (value, value + 1):
        test = over_seeds(values, null=null)
        assert test.standard_error == 0
        assert test.interval.estimate == pytest.approx(value)
        assert all(math.isnan(x) for x in (test.p_value, test.interval.low, test.interval.high))


def test_equal_numbers_are_told_from_nearly_equal_ones() -> None:
    assert over_seeds(np.array([1.0, 1.0, 1.0 + 1e-9])).p_value < 1e-6
    assert math.isnan(over_seeds(np.array([1.0, 1.0, 1.0 + 1e-15])).p_value)


def test_small_differences_of_large_numbers_are_rounding() -> None:
    values = np.array([0.0, 5.6e-17, -5.6e-17])
    assert over_seeds(values).standard_error > 0
    assert over_seeds(values, scale=1.0).standard_error == 0
    assert over_seeds(values * 1e6, scale=1.0).standard_error > 0


# Signs


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-2, 2), min_size=1, max_size=12), st.integers(-2, 2))
def test_the_sign_test_is_a_binomial_test(values: list[int], null: int) -> None:
    away = [value for value in values if value != null]
    rarer = min(sum(value > null for value in away), sum(value < null for value in away))
    expected = min(1.0, 2 * sum(math.comb(len(away), count) for count in range(rarer + 1)) / 2 ** len(away))
    assert sign_test(values, null) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("left_out", [[], [1.0], [1.0, math.nan, 2.0], [1.0, math.inf]])
def test_what_cannot_be_tested_has_no_number(left_out: list[float]) -> None:
    test = jackknife_test(1.0, left_out)
    assert test.interval.estimate == 1.0
    assert all(math.isnan(x) for x in (test.p_value, test.standard_error, test.interval.low))


# What the interval promises. Errors are rates over STUDIES data sets, so 2.5 % has a standard error of 0.35 points.


def errors(
    simulate: Callable[[np.random.Generator], tuple[float, list[float], float]],
) -> tuple[float, float]:
    """Shares of intervals above the truth, and below it."""
    rng = np.random.default_rng(3)
    above = below = 0
    for _ in range(STUDIES):
        whole, left_out, truth = simulate(rng)
        interval = jackknife_test(whole, left_out).interval
        above += interval.low > truth
        below += interval.high < truth
    return above / STUDIES, below / STUDIES


def of_pairs(values: Numbers, pairs: list[tuple[int, int]], n: int) -> tuple[float, list[float]]:
    def mean(without: int | None) -> float:
        return float(np.mean([values[pair] for pair in pairs if without not in pair]))

    return mean(None), [mean(seed) for seed in range(n)]


@pytest.mark.parametrize("n", [3, 5])
@pytest.mark.parametrize(("of_seed", "of_pair"), [(1, 0), (0, 1), (1, 1)])
def test_over_pairs_of_one_kind_it_errs_on_the_safe_side(n: int, of_seed: float, of_pair: float) -> None:
    def simulate(rng: np.random.Generator) -> tuple[float, list[float], float]:
        seeds = rng.normal(size=n) * of_seed
        values = seeds[:, None] + seeds[None, :] + rng.normal(size=(n, n)) * of_pair
        return *of_pairs(values, list(itertools.combinations(range(n), 2)), n), 0.0

    assert max(errors(simulate)) <= 0.036


ORDERED = [(a, b) for a, b in itertools.product(range(3), repeat=2) if a != b]
HALF = [(a, b) for a, b in ORDERED if a < b]


@pytest.mark.parametrize(("of_a", "of_b", "of_pair"), [(1, 0, 0), (0, 1, 0), (1, 1, 0), (1, 1, 1), (0, 0, 1)])
def test_over_pairs_of_two_kinds_it_errs_on_the_safe_side(of_a: float, of_b: float, of_pair: float) -> None:
    def simulate(rng: np.random.Generator) -> tuple[float, list[float], float]:
        a, b = rng.normal(size=3) * of_a, rng.normal(size=3) * of_b
        return *of_pairs(a[:, None] + b[None, :] + rng.normal(size=(3, 3)) * of_pair, ORDERED, 3), 0.0

    assert max(errors(simulate)) <= 0.036


def test_half_of_the_pairs_of_two_kinds_would_cover_too_little() -> None:
    """Why every P-T is paired with every RI-T of another seed: with the lower seed always the P-T's, one instance
    of each kind counts twice, one not at all, and leaving out a seed does not show it."""

    def simulate(rng: np.random.Generator) -> tuple[float, list[float], float]:
        return *of_pairs(np.repeat(rng.normal(size=3)[:, None], 3, 1), HALF, 3), 0.0

    assert min(errors(simulate)) > 0.045


def test_the_larger_of_two_means_errs_on_one_side_only() -> None:
    """At a tie the maximum is too high on average: claims are worded so that this speaks against them."""

    def simulate(rng: np.random.Generator) -> tuple[float, list[float], float]:
        x, y = rng.normal(size=(2, 3))
        left_out = [max(np.delete(x, i).mean(), np.delete(y, i).mean()) for i in range(3)]
        return max(x.mean(), y.mean()), left_out, 0.0

    above, below = errors(simulate)
    assert below < 0.02
    assert 0.025 < above < 0.07


def test_a_skewed_statistic_of_three_seeds_covers_less() -> None:
    """What no interval over three seeds can mend; docs/findings.md says so."""

    def simulate(rng: np.random.Generator) -> tuple[float, list[float], float]:
        x = rng.exponential(size=3)
        return x.mean(), [np.delete(x, i).mean() for i in range(3)], 1.0

    above, below = errors(simulate)
    assert above < 0.02
    assert 0.09 < below < 0.13


# Holm


def literal_holm(p_values: list[float]) -> list[float]:
    """Rejecting from the smallest on, at every level there is: the smallest level at which each is rejected."""
    m = len(p_values)
    order = sorted(range(m), key=lambda i: p_values[i])
    adjusted = [1.0] * m
    levels = sorted({min(1.0, (m - k) * p_values[i]) for k, i in enumerate(order)} | {1.0})
    for level in reversed(levels):
        for k, i in enumerate(order):
            if p_values[i] * (m - k) > level * (1 + 1e-12):
                break
            adjusted[i] = level
    return adjusted


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_is_the_step_down_procedure(p_values: list[float]) -> None:
    assert holm(p_values) == pytest.approx(literal_holm(p_values))


def test_holm_leaves_out_what_was_not_tested() -> None:
    assert holm([]) == []
    ours = holm([math.nan, 0.02, math.nan, 0.01])
    assert ours[1::2] == [0.02, 0.02]
    assert all(math.isnan(p) for p in ours[::2])


@pytest.mark.parametrize("p", [-0.1, 1.1, math.inf])
def test_holm_refuses_what_is_no_p_value(p: float) -> None:
    with pytest.raises(BadInput, match="between 0 and 1"):
        holm([0.5, p])


def test_holm_keeps_the_chance_of_one_false_rejection() -> None:
    rng = np.random.default_rng(1)
    false = sum(min(holm(rng.uniform(size=10).tolist())) < 0.05 for _ in range(STUDIES))
    assert 0.035 < false / STUDIES < 0.06
