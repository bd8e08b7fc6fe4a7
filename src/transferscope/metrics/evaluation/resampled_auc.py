"""Mean AUC of many resamples of the same examples."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from transferscope.core.errors import BadInput
from transferscope.metrics.evaluation.scores import check_labels, unranked

EXACT_IN_FLOAT32 = 2**24
"""Whole numbers up to this are exact in float32."""


def resampled_auc(logits: Tensor, labels: Tensor, counts: Tensor) -> Tensor:
    """AUC of each label on each resample: `auc_per_finding` with whole-numbered weights, and as exact.

    The positives' and negatives' counts c+ and c- give sum_i c+_i (B_i + E_i) / (2 sum c+ sum c-), where B_i
    counts the negatives below positive i and E_i those below or equal. All of these are whole numbers, so that
    sums in any order, and in float32 as far as it is exact, give the same bits; only the last division rounds.

    Args:
        logits: (n, k).
        labels: (n, k) float of 0 and 1.
        counts: (draws, n) how often each resample drew each example: whole numbers in any dtype.

    Returns:
        (draws, k) float64 on the CPU; NaN for a label with only one class, and everywhere where a logit is
        NaN or +inf.

    Raises:
        BadInput: shapes that don't match, labels other than 0 and 1.

    >>> import torch
    >>> labels, logits = torch.tensor([[0.0], [0.0], [1.0]]), torch.tensor([[0.1], [0.4], [0.4]])
    >>> resampled_auc(logits, labels, torch.tensor([[1, 1, 1], [2, 0, 1]]))[:, 0]
    tensor([0.7500, 1.0000], dtype=torch.float64)
    """
    check_labels(logits, labels)
    if not ((labels == 0) | (labels == 1)).all() or counts.ndim != 2 or counts.shape[1] != len(labels):
        raise BadInput(
            f"Expected labels of 0 and 1 and counts (draws, {len(labels)}), got labels from "
            f"{float(labels.min()):g} to {float(labels.max()):g} and counts {tuple(counts.shape)}."
        )
    logits, labels = logits.cpu(), labels.cpu()
    if unranked(logits).any():
        return torch.full((len(counts), logits.shape[1]), math.nan, dtype=torch.float64)
    # The largest number on the way is twice the product of both classes' totals, at most half the square of all.
    largest = float(counts.sum(1).max()) ** 2 / 2 if len(counts) else 0.0
    exact = counts.cpu().to(torch.float32 if largest < EXACT_IN_FLOAT32 else torch.float64)
    return torch.stack([_auc(logits[:, k], labels[:, k] == 1, exact) for k in range(logits.shape[1])], dim=1)


def _auc(scores: Tensor, positive: Tensor, counts: Tensor) -> Tensor:
    """(draws,) AUC of one label."""
    positives, negatives = positive.nonzero()[:, 0], (~positive).nonzero()[:, 0]
    ranked, order = scores[negatives].sort()
    below = counts.new_zeros(len(counts), len(negatives) + 1)
    torch.cumsum(counts.index_select(1, negatives[order]), 1, out=below[:, 1:])
    first = torch.searchsorted(ranked, scores[positives])
    end = torch.searchsorted(ranked, scores[positives], right=True)
    beaten = below.index_select(1, first)
    beaten += beaten if torch.equal(first, end) else below.index_select(1, end)
    own = counts.index_select(1, positives)
    twice = (own * beaten).sum(1).double()
    # 0 / 0 is NaN: a label with only one class has no ROC curve.
    return twice / 2 / (own.sum(1).double() * below[:, -1].double())
