"""A permutation test: do numbers increase along an order of positions?"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from transferscope.core.errors import BadInput

EXACT_PLACES = 8
"""Places up to which all orders are gone through: 40,320 of 8."""
DRAWS = 20_000
"""Orders drawn where there are more places."""
AT_ONCE = 2**14


def order_test(profiles: Sequence[Sequence[float]], weights: Sequence[float]) -> float:
    """Two-sided p of Spearman's rank correlation with the place, a weighted mean over profiles, by permutation.

    Were the order of the places without meaning, every order of them, the same one for all profiles, would be as
    likely as the true one. p is the share of orders in which the mean correlation is at least as far from 0 (Pitman
    1937): exact up to 8 places, the true order among all; beyond, (1 + such orders) / (1 + 20,000 drawn). It speaks
    of the places, given these profiles, and needs no spread between them.

    Args:
        profiles: (m, k) numbers at the k places in their order.
        weights: (m,) of the mean.

    Returns:
        In (0, 1]; NaN where a number isn't finite, a profile is constant, or there are fewer than 3 places.

    Raises:
        BadInput: profiles of other lengths than each other, or not as many weights.

    >>> order_test([[1.0, 2.0, 3.0, 4.0]], [1.0]) * 24, order_test([[1.0, 2.0, 3.0]] * 5, [0.2] * 5) * 6
    (2.0, 2.0)
    """
    if len({len(own) for own in profiles}) != 1 or len(weights) != len(profiles):
        raise BadInput(
            f"Expected profiles of equal length and a weight each, got lengths {[len(own) for own in profiles]} "
            f"and {len(weights)} weights."
        )
    numbers = np.asarray(profiles, dtype=np.float64)
    k = numbers.shape[1]
    if k < 3 or not np.isfinite(numbers).all() or (np.ptp(numbers, axis=1) == 0).any():
        return math.nan
    ranks = stats.rankdata(numbers, axis=1) - (k + 1) / 2
    # a mean of correlations with the same places is the product of these with one vector
    mean = np.asarray(weights) @ (ranks / np.linalg.norm(ranks, axis=1, keepdims=True))

    def size(order: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
        del axis  # the last one
        return np.abs(order @ mean).round(12)  # equal sums in another order of adding must count as equal

    return float(
        stats.permutation_test(
            (np.arange(k),),
            size,
            permutation_type="pairings",
            alternative="greater",
            n_resamples=math.factorial(k) if k <= EXACT_PLACES else DRAWS,
            batch=AT_ONCE,
            rng=np.random.default_rng(0),
        ).pvalue
    )
