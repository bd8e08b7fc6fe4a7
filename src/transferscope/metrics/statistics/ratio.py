"""The interval of a ratio of two means over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from transferscope.core.errors import BadInput
from transferscope.metrics.statistics.intervals import ROUNDING, Interval, check_level


def fieller_interval(parts: Sequence[float], wholes: Sequence[float], level: float = 0.95) -> Interval:
    """mean(parts) / mean(wholes) over seeds with Fieller's interval (1954), exact for Gaussian values.

    The interval holds every ratio r that the paired t test of part - r whole = 0 does not reject: the roots of
    (P - r W)^2 = t^2 (v_pp - 2 r v_pw + r^2 v_ww) / n, for means P and W, (co)variances v over n - 1 and the
    quantile t of t_{n - 1}. It is bounded only where W itself differs from 0 at the same level; elsewhere any
    ratio fits.

    Args:
        parts, wholes: (n,) one number a seed each, in the same order.
        level: coverage, inside (0, 1).

    Returns:
        Without a unit; the estimate and its ends are all NaN if mean(wholes) is not significantly different from 0,
        where n < 2, or where a number is not finite. The ends alone are NaN where each part is the same multiple of
        its whole: then nothing varies that an interval could be had from.

    Raises:
        BadInput: not as many parts as wholes, or a level outside (0, 1).

    >>> share = fieller_interval([0.09, 0.11, 0.10], [0.19, 0.21, 0.20])
    >>> round(share.estimate, 3), round(share.low, 3), round(share.high, 3)
    (0.5, 0.429, 0.555)
    """
    check_level(level)
    if len(parts) != len(wholes):
        raise BadInput(f"Expected a whole for each part, got {len(parts)} parts and {len(wholes)} wholes.")
    n = len(parts)
    numbers = np.asarray([parts, wholes], dtype=np.float64)
    nothing = Interval(estimate=math.nan, low=math.nan, high=math.nan, n=n, level=level)
    if n < 2 or not np.isfinite(numbers).all():
        return nothing
    part, whole = numbers.mean(1)
    spread = np.cov(numbers) * float(stats.t.ppf((1 + level) / 2, n - 1)) ** 2 / n
    a = whole**2 - spread[1, 1]
    if a <= 0:
        return nothing
    b, c = part * whole - spread[0, 1], part**2 - spread[0, 0]
    ratio = float(part / whole)
    residuals = numbers[0] - ratio * numbers[1]
    if residuals.std(ddof=1) <= ROUNDING * np.abs(numbers).max():
        return Interval(estimate=ratio, low=math.nan, high=math.nan, n=n, level=level)
    root = math.sqrt(max(0.0, b * b - a * c))
    return Interval(estimate=ratio, low=float((b - root) / a), high=float((b + root) / a), n=n, level=level)
