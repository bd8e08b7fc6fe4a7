"""Tests over seeds by leaving one out at a time, and the adjustment of many p-values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from transferscope.core.errors import BadInput
from transferscope.metrics.statistics.intervals import ROUNDING, Interval, check_level


@dataclass(frozen=True, kw_only=True)
class JackknifeTest:
    """A statistic over seeds with its interval and its test against one value."""

    interval: Interval
    standard_error: float
    p_value: float
    """Two-sided."""


def jackknife_test(
    whole: float, left_out: Sequence[float], *, null: float = 0.0, level: float = 0.95, scale: float = 0.0
) -> JackknifeTest:
    """Test if a statistic over n seeds differs from `null`, by the jackknife with Student's t.

    With T the statistic over all seeds and T_(i) the one without seed i, the pseudo-values are
    n T - (n - 1) T_(i), and the standard error is se = s(pseudo-values) / sqrt(n) (Tukey 1958). The interval is
    T +- t_{n - 1} se and the p-value 2 P(t_{n - 1} > |T - null| / se), so the interval leaves out `null` where
    p < 1 - level. Mean over seeds: exact for Gaussian values. Mean over pairs of seeds: exact where a pair's value
    is a sum over its two seeds, else too wide (Efron and Stein 1981). The interval is centred at T itself: the mean
    of the pseudo-values moves away from it where a statistic is not smooth, such as a maximum, and covers less.

    Args:
        whole: T.
        left_out: (n,) T_(i) for each seed.
        null: what T is tested against.
        level: coverage, inside (0, 1).
        scale: size of the numbers that the statistic was computed from, where it may be far smaller itself: a
            difference of two equal accuracies is 0 up to some 1e-17, and that is rounding of numbers of size 1.

    Returns:
        In the unit of the statistic. All but the estimate are NaN where n < 2 or a value is not finite. Where no
        seed makes a difference the standard error is 0, and there is neither an interval nor a p: a few equal
        numbers don't say how much others would vary.

    >>> test = jackknife_test(0.9, [0.95, 0.9, 0.85])
    >>> round(test.interval.low, 3), round(test.interval.high, 3), round(test.p_value, 4)
    (0.652, 1.148, 0.0041)
    """
    check_level(level)
    n = len(left_out)
    numbers = np.asarray([whole, *left_out], dtype=np.float64)
    if n < 2 or not np.isfinite(numbers).all():
        nothing = Interval(estimate=whole, low=math.nan, high=math.nan, n=n, level=level)
        return JackknifeTest(interval=nothing, standard_error=math.nan, p_value=math.nan)
    # s of the pseudo-values is (n - 1) times that of the left-out values
    se = float((n - 1) * numbers[1:].std(ddof=1) / math.sqrt(n))
    # sums of the same numbers differ in their last bits: that is no difference between seeds
    if se > ROUNDING * max(scale, float(np.abs(numbers).max())):
        half = float(stats.t.ppf((1 + level) / 2, n - 1)) * se
        p_value = float(2 * stats.t.sf(abs(whole - null) / se, n - 1))
    else:
        se, half, p_value = 0.0, math.nan, math.nan
    interval = Interval(estimate=whole, low=whole - half, high=whole + half, n=n, level=level)
    return JackknifeTest(interval=interval, standard_error=se, p_value=p_value)


def sign_test(values: Sequence[float], null: float) -> float:
    """Two-sided p-value of the sign test that the median of n independent numbers is `null`.

    Were it the median, each number would be above or below with chance 1/2 each; with k of the m numbers that are
    not equal to it on the rarer side, p = min(1, 2 P(Binomial(m, 1/2) <= k)) (Arbuthnot 1710; Conover 1999,
    section 3.4). It needs no spread, but can't be below 2^(1 - n): .25 for three numbers, .03 for six.

    Args:
        values: (n,) finite.
        null: the median to test.

    Returns:
        In [2^(1 - n), 1]; 1 where all are equal to `null`.

    >>> sign_test([0.1, 0.1, 0.1], 0.0), sign_test([0.1] * 6, 0.0), sign_test([0.0, 0.0], 0.0)
    (0.25, 0.03125, 1.0)
    """
    above, below = (sum(value > null for value in values), sum(value < null for value in values))
    return float(stats.binomtest(above, above + below).pvalue) if above + below else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted so that the chance of even one false rejection stays below the level (Holm 1979).

    With the m finite p-values in order, the k-th smallest (from 1) becomes the largest of
    (m - j + 1) p_(j) over j <= k, at most 1. It holds however the tests depend on each other.

    Args:
        p_values: each in [0, 1]; NaN where there was no test.

    Returns:
        In the same order; NaN stays NaN and counts for nothing.

    Raises:
        BadInput: a number outside [0, 1].

    >>> holm([0.01, 0.04, float("nan"), 0.03])
    [0.03, 0.06, nan, 0.06]
    """
    if any(not (math.isnan(p) or 0 <= p <= 1) for p in p_values):
        raise BadInput(f"p-values lie between 0 and 1, got {list(p_values)}.")
    tested = sorted((p, place) for place, p in enumerate(p_values) if not math.isnan(p))
    adjusted = [math.nan] * len(p_values)
    largest = 0.0
    for smaller, (p, place) in enumerate(tested):
        largest = max(largest, min(1.0, (len(tested) - smaller) * p))
        adjusted[place] = largest
    return adjusted
