"""Accuracy in which each class counts the same, however many examples it has."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from transferscope.core.errors import BadInput
from transferscope.metrics.evaluation.scores import check_labels, is_correct, is_multi_label, unranked


def balanced_accuracy(logits: Tensor, labels: Tensor) -> float:
    """Mean over the classes of the accuracy on each: 1 / |C| * sum_{c in C} (right of class c) / (examples of c).

    C are the classes with examples. A network that always gives one class has 1 / |C|. As scikit-learn's
    `balanced_accuracy_score`.

    Args:
        logits: (n, k), any float dtype.
        labels: (n,) int64 class indices below k.

    Returns:
        A number in [0, 1]. NaN without examples, and where a logit is NaN or +inf.

    Raises:
        BadInput: shapes, dtypes or label values that don't match; several labels an example.

    >>> balanced_accuracy(torch.tensor([[1.0, 0.0]] * 4), torch.tensor([0, 0, 0, 1]))
    0.5
    """
    check_labels(logits, labels)
    if is_multi_label(labels):
        raise BadInput("Balanced accuracy is of one class an example, got labels (n, k) of several.")
    if not len(labels) or unranked(logits).any():
        return math.nan
    labels = labels.cpu()
    counts = torch.bincount(labels)
    right = torch.bincount(labels[is_correct(logits, labels.to(logits.device)).cpu()], minlength=len(counts))
    there = counts > 0
    return float((right[there].double() / counts[there]).mean())
