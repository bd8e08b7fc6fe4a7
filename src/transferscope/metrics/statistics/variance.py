"""The variance of an estimate from several sources, and the t test that goes with it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from transferscope.core.errors import BadInput
from transferscope.metrics.statistics.intervals import check_level


@dataclass(frozen=True, kw_only=True)
class Variance:
    """An estimated variance with its degrees of freedom."""

    value: float
    """In the squared unit of the estimate; at least 0."""
    df: float

    def scaled(self, weight: float) -> Variance:
        """The variance of `weight` times the estimate."""
        return Variance(value=weight**2 * self.value, df=self.df)


def jackknife_variance(left_out: Sequence[float]) -> Variance:
    """The variance of a statistic, from its values with one of n units left out.

    With T_(i) the statistic without unit i, the variance is (n - 1) / n times the sum of the squared differences of
    the T_(i) from their mean (Tukey 1958), with n - 1 degrees of freedom. For a mean over units this is s^2 / n. For a
    mean over all pairs of units it is exact where a pair's value is a sum over its two units, else too large (Efron
    and Stein 1981). A unit may be a seed or a group of images.

    Args:
        left_out: (n,) T_(i).

    Returns:
        NaN with 0 degrees of freedom where n < 2 or a value is not finite.

    >>> round(jackknife_variance([2.5, 2.0, 1.5]).value, 4)  # of the mean of 1, 2, 3
    0.3333
    """
    n = len(left_out)
    values = np.asarray(left_out, dtype=np.float64)
    if n < 2 or not np.isfinite(values).all():
        return Variance(value=math.nan, df=0)
    return Variance(value=float((n - 1) * values.var()), df=n - 1)


def total_variance(parts: Sequence[Variance]) -> Variance:
    """The sum of independent variances, with Satterthwaite's degrees of freedom.

    For variances v_k with df_k degrees of freedom: (sum v_k)^2 / sum(v_k^2 / df_k) (Satterthwaite 1946).

    Args:
        parts: at least one; a NaN makes the sum NaN.

    Returns:
        With as many degrees of freedom as all parts together where every part is 0.

    >>> total_variance([Variance(value=1.0, df=2), Variance(value=1.0, df=2)])
    Variance(value=2.0, df=4.0)
    >>> total_variance([Variance(value=1.0, df=2), Variance(value=0.0, df=2)])
    Variance(value=1.0, df=2.0)
    """
    value = sum(part.value for part in parts)
    if not math.isfinite(value):
        return Variance(value=math.nan, df=0)
    if value == 0:
        return Variance(value=0.0, df=float(sum(part.df for part in parts)))
    return Variance(value=value, df=value**2 / sum(part.value**2 / part.df for part in parts if part.value))


def t_quantile(probability: float, df: float) -> float:
    """The quantile of Student's t.

    >>> round(t_quantile(0.975, 5), 3)
    2.571
    """
    return float(special.stdtrit(df, probability))


def interval_ends(estimate: float, variance: Variance, level: float) -> tuple[float, float]:
    """The ends of Student's t interval: estimate -+ t_{(1 + level) / 2, df} sqrt(variance).

    Returns:
        NaN where the variance is unknown or 0: from no spread no interval can be had.

    >>> [round(end, 2) for end in interval_ends(2.0, Variance(value=1 / 3, df=2), 0.95)]
    [-0.48, 4.48]
    """
    check_level(level)
    if not (math.isfinite(estimate) and variance.value > 0):
        return math.nan, math.nan
    half = t_quantile((1 + level) / 2, variance.df) * math.sqrt(variance.value)
    return estimate - half, estimate + half


def tail(estimate: float, variance: Variance, null: float) -> float:
    """One-sided p: the chance of an estimate at least as far from `null`, on the same side, were `null` the truth.

    Returns:
        In [0, .5]; NaN where there is no variance to compare with.

    >>> round(tail(2.0, Variance(value=1 / 3, df=2), 0.0), 4)
    0.0371
    """
    if not (math.isfinite(estimate) and variance.value > 0):
        return math.nan
    return float(special.stdtr(variance.df, -abs(estimate - null) / math.sqrt(variance.value)))


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
