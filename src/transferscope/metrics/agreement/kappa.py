"""Cohen's kappa of the errors of two models, from counts of decisions.

Counts stand in the order of `error_cell`: both right, only b wrong, only a wrong, both wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NUM_CELLS = 4
LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Agreement of the mistakes of two models; arrays over all axes of the counts except the last."""

    kappa: Floats
    """In [-1, 1]; NaN where both models are always right or both always wrong."""
    lowest: Floats
    """Lowest kappa that the two accuracies allow; NaN where kappa is."""
    highest: Floats
    """Highest kappa that they allow."""
    expected_both_wrong: Floats
    """Expected number of common mistakes of two independent models with these accuracies."""
    expected_uncommon: Floats
    """Their expected number of uncommon mistakes, for both models together."""


def error_cell(wrong_a: NDArray, wrong_b: NDArray) -> Ints:
    """The category of each decision: 0 both right, 1 only b wrong, 2 only a wrong, 3 both."""
    return 2 * wrong_a.astype(np.int64) + wrong_b


def agreement(counts: NDArray) -> Agreement:
    """Kappa = (c_obs - c_exp) / (1 - c_exp) of (..., 4) counts, with its bounds.

    c_obs is the share of decisions on which both are right or both are wrong; with error rates p_a and p_b,
    c_exp = p_a p_b + (1 - p_a)(1 - p_b) (Geirhos, Meding, Wichmann 2020). Given the rates, c_obs lies between
    |p_a + p_b - 1| and 1 - |p_a - p_b|.

    >>> float(agreement(np.array([1, 1, 0, 2])).kappa)
    0.5
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        n = counts.sum(-1)
        wrong_a, wrong_b = (counts[..., 2] + counts[..., 3]) / n, (counts[..., 1] + counts[..., 3]) / n
        observed = (counts[..., 0] + counts[..., 3]) / n
        # 1 - c_exp without the cancellation of 1 - (p_a p_b + ...), which is 0 only up to rounding.
        room = wrong_a * (1 - wrong_b) + wrong_b * (1 - wrong_a)
        expected = 1 - room
        divisor = np.where(room > 0, room, np.nan)
        return Agreement(
            kappa=(observed - expected) / divisor,
            lowest=(np.abs(1 - wrong_a - wrong_b) - expected) / divisor,
            highest=(1 - np.abs(wrong_a - wrong_b) - expected) / divisor,
            expected_both_wrong=n * wrong_a * wrong_b,
            expected_uncommon=n * room,
        )


def stratified_kappa(counts: NDArray) -> Floats:
    """Kappa within strata, over the last two axes of (..., strata, 4) counts.

    sum_s n_s (c_obs,s - c_exp,s) / sum_s n_s (1 - c_exp,s): the mean of the strata's kappas with the weights
    n_s (1 - c_exp,s), one of those compared by Barlow, Lai, Azen 1991. Strata without decisions, and those in
    which both models are always right or always wrong, have no weight. With strata of equal
    difficulty, agreement due to shared difficulty is excluded.

    Returns:
        At most 1, over the axes in front; NaN if no stratum has a weight.

    >>> easy, hard = [9, 0, 0, 0], [0, 1, 1, 7]
    >>> round(float(agreement(np.add(easy, hard)).kappa), 6), float(stratified_kappa(np.array([easy, hard])))
    (0.775, -0.125)
    """
    n = counts.sum(-1)
    # (c_obs - c_exp) n = 2 (n_11 n_00 - n_10 n_01) / n, and (1 - c_exp) n = n_a (n - n_b) / n + n_b (n - n_a) / n
    over = np.where(n > 0, n, 1)
    beyond = 2 * (counts[..., 3] * counts[..., 0] - counts[..., 2] * counts[..., 1]) / over
    wrong_a, wrong_b = counts[..., 2] + counts[..., 3], counts[..., 1] + counts[..., 3]
    room = (wrong_a * (n - wrong_b) + wrong_b * (n - wrong_a)) / over
    total = room.sum(-1)
    return beyond.sum(-1) / np.where(total > 0, total, np.nan)


def percentile_ends(replicates: Floats, level: float = LEVEL) -> Floats:
    """(..., 2): the (1 -+ level) / 2 quantiles over the first axis, of the replicates that aren't NaN.

    NaN where all are: a resample in which both models are always right has no kappa and is left out.
    """
    ordered = np.sort(replicates, axis=0)  # NaN last
    last = (~np.isnan(replicates)).sum(0) - 1
    share = np.array([(1 - level) / 2, (1 + level) / 2]).reshape(2, *[1] * last.ndim)
    places = share * last
    below = np.floor(places).astype(np.int64)
    above = np.minimum(below + 1, last)
    # Without any replicate the place is -1, the last of all: NaN.
    lower, upper = (np.take_along_axis(ordered, index, axis=0) for index in (below, above))
    return np.moveaxis(lower + (places - below) * (upper - lower), 0, -1)
