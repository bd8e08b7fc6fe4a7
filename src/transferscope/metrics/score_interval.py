"""The interval of a difference of scores over test images."""

from __future__ import annotations

import torch
from torch import Tensor

from transferscope.metrics.intervals import Interval, bootstrap_interval, percentile_ends, resampling_weights
from transferscope.metrics.scores import auc_per_finding, is_correct, is_multi_label, score


def score_difference_interval(
    logits_a: Tensor,
    logits_b: Tensor,
    labels: Tensor,
    *,
    level: float = 0.95,
    draws: int = 1000,
    generator: torch.Generator | None = None,
) -> Interval:
    """Score of a minus score of b with its paired percentile bootstrap interval over test images.

    The score is accuracy for single labels and mean AUC for multi-label ones. Both networks are seen on the
    same resampled images (Efron 1979); it speaks of other test images, not of other seeds.

    Args:
        logits_a, logits_b: (n, k) of two networks on the same images in the same order.
        labels: (n,) int64, or (n, k) float of 0 and 1.
        level: coverage, inside (0, 1).
        draws: resamples.
        generator: of the resamples; one with seed 0 by default.

    Returns:
        In [-1, 1]; NaN where a score is.

    Raises:
        BadInput: shapes that don't go together, no draws, a level outside (0, 1).

    >>> import torch
    >>> right, wrong = torch.tensor([[1.0, 0.0]] * 50), torch.tensor([[0.0, 1.0]] * 50)
    >>> interval = score_difference_interval(right, wrong, torch.zeros(50, dtype=torch.int64))
    >>> interval.estimate, interval.low, interval.high
    (1.0, 1.0, 1.0)
    """
    estimate = score(logits_a, labels) - score(logits_b, labels)
    if not is_multi_label(labels):
        correct = [is_correct(logits, labels).double() for logits in (logits_a, logits_b)]
        ends = bootstrap_interval(correct[0], correct[1], level=level, draws=draws, generator=generator)
        low, high = ends.low, ends.high
        if estimate != estimate:  # a score that is NaN has no interval either
            low = high = estimate
    else:
        replicates = torch.cat(
            [
                auc_per_finding(logits_a, labels, weights).nanmean(1)
                - auc_per_finding(logits_b, labels, weights).nanmean(1)
                for weights in resampling_weights(len(labels), draws, generator)
            ]
        )
        low, high = percentile_ends(replicates, level).tolist()
    return Interval(estimate=estimate, low=low, high=high, n=len(labels), level=level)
