"""Scores on resampled test images, for intervals of a score and of all that is computed from scores."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from transferscope.metrics.evaluation.resampled_auc import resampled_auc
from transferscope.metrics.evaluation.scores import is_correct, is_multi_label, score, unranked
from transferscope.metrics.statistics.intervals import Interval, percentile_ends, resampling_weights


def resampled_scores(
    networks: Mapping[str, Tensor],
    labels: Tensor,
    *,
    draws: int = 1000,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """Score of each network on the same resamples of the test images (paired bootstrap, Efron 1979).

    The score is accuracy for single labels and mean AUC for multi-label ones. What is computed from the scores,
    such as a difference, is computed from the replicates in the same way, and has its interval by
    `percentile_interval`: it speaks of other test images, not of other seeds.

    Args:
        networks: (n, k) logits of each network, on the same images in the same order.
        labels: (n,) int64, or (n, k) float of 0 and 1.
        draws: resamples.
        generator: of the resamples; one with seed 0 by default.

    Returns:
        (draws,) float64 by network, on the CPU; NaN where a network's score is. Multi-label: always the mean over the
        same labels, those with both classes; NaN on a resample that lost a class of one of them,
        as the mean over the others would be another number, and everywhere where the logits of each of them are
        constant: their AUC, 0.5 by convention, is the same on all resamples, which says nothing of others.

    Raises:
        BadInput: shapes that don't match, no draws.

    >>> import torch
    >>> logits = {"right": torch.tensor([[1.0, 0.0]] * 9), "wrong": torch.tensor([[0.0, 1.0]] * 9)}
    >>> replicates = resampled_scores(logits, torch.zeros(9, dtype=torch.int64), draws=2)
    >>> replicates["right"] - replicates["wrong"]
    tensor([1., 1.], dtype=torch.float64)
    """
    n = len(labels)
    for logits in networks.values():
        score(logits, labels)  # refuses what doesn't go together
    if not n:
        return {name: torch.full((draws,), torch.nan, dtype=torch.float64) for name in networks}
    parts: dict[str, list[Tensor]] = {name: [] for name in networks}
    rights = (
        {} if is_multi_label(labels) else {name: _rights(logits, labels) for name, logits in networks.items()}
    )
    for weights in resampling_weights(n, draws, generator):
        counts = (weights * n).round()
        for name, logits in networks.items():
            parts[name].append(
                counts @ rights[name] / n if rights else _mean_auc(logits.cpu(), labels.cpu(), counts)
            )
    return {name: torch.cat(found) for name, found in parts.items()}


def _mean_auc(logits: Tensor, labels: Tensor, counts: Tensor) -> Tensor:
    """(draws,) mean over the labels with both classes; NaN if one of them has no AUC, or nothing can be ranked."""
    known = labels.amin(0) != labels.amax(0)
    ranks = logits[:, known].amin(0) != logits[:, known].amax(0)
    if not ranks.any() or unranked(logits).any():
        return torch.full((len(counts),), torch.nan, dtype=torch.float64)
    return resampled_auc(logits[:, known], labels[:, known], counts).mean(1)


def _rights(logits: Tensor, labels: Tensor) -> Tensor:
    """(n,) float64: 1 where the network is right; all NaN where its logits can't be ranked."""
    rights = is_correct(logits, labels).double().cpu()
    return torch.full_like(rights, torch.nan) if unranked(logits).any() else rights


def percentile_interval(estimate: float, replicates: Tensor, n: int, level: float = 0.95) -> Interval:
    """An estimate with the (1 -+ level) / 2 quantiles of its bootstrap replicates.

    Args:
        estimate: the number itself.
        replicates: (draws,) the same number on resamples; NaN where it could not be computed.
        n: examples resampled.
        level: coverage, inside (0, 1).

    Returns:
        Ends NaN where the estimate or a replicate is.

    >>> import torch
    >>> interval = percentile_interval(0.5, torch.linspace(0, 1, 101), n=10, level=0.9)
    >>> round(interval.low, 3), round(interval.high, 3)
    (0.05, 0.95)
    """
    low, high = percentile_ends(replicates.double(), level).tolist()
    if estimate != estimate:
        low = high = estimate
    return Interval(estimate=estimate, low=low, high=high, n=n, level=level)
