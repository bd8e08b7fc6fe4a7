"""Loss of every example, and the score of a set of examples: accuracy or mean AUC."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from transferscope.core.errors import BadInput


def per_example_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Loss of each example in nats, computed in float64.

    Single label: the cross entropy, -log softmax(logits)[label].
    Multi-label: the binary cross entropy, averaged over the k labels of an example.

    Args:
        logits: (n, k), any float dtype.
        labels: (n,) int64 class indices below k, or (n, k) float in [0, 1].

    Returns:
        (n,) float64, at least 0; NaN or infinite where the logits are.

    Raises:
        BadInput: shapes, dtypes or label values that don't match.

    >>> import torch
    >>> per_example_loss(torch.zeros(2, 4), torch.tensor([0, 3]))
    tensor([1.3863, 1.3863], dtype=torch.float64)
    """
    check_labels(logits, labels)
    return unchecked_loss(logits, labels)


def unchecked_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """`per_example_loss` of labels that are known to fit: to look at them is to wait for a GPU."""
    if is_multi_label(labels):
        target = labels.to(logits.device, torch.float64)
        return functional.binary_cross_entropy_with_logits(logits.double(), target, reduction="none").mean(1)
    return functional.cross_entropy(logits.double(), labels.to(logits.device), reduction="none")


def score(logits: Tensor, labels: Tensor) -> float:
    """Accuracy for single labels, mean AUC over the labels for multi-label data.

    Args:
        logits: (n, k), any float dtype; any increasing function of them gives the same score.
        labels: (n,) int64 class indices, or (n, k) float of 0 and 1.

    Returns:
        A number in [0, 1]. NaN where a logit is NaN or +inf, where there is no example, or where no label
        has both classes; a label with only one class is excluded from the mean.

    Raises:
        BadInput: as `per_example_loss`, and for multi-label labels other than 0 and 1.

    >>> import torch
    >>> score(torch.tensor([[2.0, 1.0], [0.0, 3.0], [1.0, 0.0]]), torch.tensor([0, 1, 1]))
    0.6666666666666666
    """
    if is_multi_label(labels):
        aucs = auc_per_finding(logits, labels)
        unknown = unranked(logits).any() or aucs.isnan().all()
        return math.nan if unknown else float(aucs.nanmean())
    check_labels(logits, labels)
    if not len(labels) or unranked(logits).any():
        return math.nan
    return float(is_correct(logits, labels).double().mean())


def auc_per_finding(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Area under the ROC curve of each label: P(positive above negative) + P(both equal) / 2.

    Ties count half, as in scikit-learn's roc_auc_score.

    Args:
        logits: (n, k).
        labels: (n, k) float of 0 and 1.
        weights: (draws, n) weights of the examples, such as how often a bootstrap drew each; 1 by default.

    Returns:
        (k,) float64, or (draws, k) with weights; NaN for a label with only one class.

    Raises:
        BadInput: shapes that don't match, labels other than 0 and 1.

    >>> import torch
    >>> labels = torch.tensor([[0.0], [0.0], [1.0], [1.0]])
    >>> auc_per_finding(torch.tensor([[0.1], [0.4], [0.4], [0.8]]), labels)
    tensor([0.8750], dtype=torch.float64)
    """
    check_labels(logits, labels)
    if not ((labels == 0) | (labels == 1)).all():
        raise BadInput("AUC needs labels of 0 and 1, got others; decide uncertain and missing labels first.")
    positive = labels.to(logits.device).T.double().contiguous()
    ranked, order = logits.T.contiguous().sort(dim=1)
    positive = positive.gather(1, order)
    # Ends of the run of equal logits around each place: what lies below `first` is smaller.
    first = torch.searchsorted(ranked, ranked, right=False)
    end = torch.searchsorted(ranked, ranked, right=True)
    rows = torch.ones(1, len(labels), dtype=torch.float64) if weights is None else weights
    areas = []
    for finding in range(len(order)):
        weight = rows.to(logits.device, torch.float64)[:, order[finding]]
        negative = functional.pad((weight * (1 - positive[finding])).cumsum(1), (1, 0))
        below = (negative[:, first[finding]] + negative[:, end[finding]]) / 2
        weight = weight * positive[finding]
        # 0 / 0 is NaN: a label with only one class has no ROC curve.
        areas.append((weight * below).sum(1) / (weight.sum(1) * negative[:, -1]))
    stacked = torch.stack(areas, 1)
    return stacked[0] if weights is None else stacked


def is_multi_label(labels: Tensor) -> bool:
    """True if these are (n, k) float labels rather than (n,) class indices."""
    return labels.ndim == 2 and labels.is_floating_point()


def is_correct(logits: Tensor, labels: Tensor) -> Tensor:
    """(n,) bool: whether the largest logit is the label's (the first of equal ones counts as the largest)."""
    return logits.argmax(1) == labels.to(logits.device)


def unranked(logits: Tensor) -> Tensor:
    """(n,) bool: examples whose logits can't be ranked: NaN or +inf (-inf is how a class is masked)."""
    return (logits.isnan() | logits.isposinf()).any(1)


def check_labels(logits: Tensor, labels: Tensor) -> None:
    """Raises BadInput unless logits (n, k) and labels (n,) int64 or (n, k) float match."""
    came = f"logits {tuple(logits.shape)} {logits.dtype}, labels {tuple(labels.shape)} {labels.dtype}"
    single = labels.ndim == 1 and labels.dtype == torch.int64
    if logits.ndim != 2 or not logits.is_floating_point() or not (single or is_multi_label(labels)):
        raise BadInput(
            f"Expected float logits (n, k) and labels (n,) int64 or (n, k) float, got {came}. "
            "Use labels.long() for class indices, labels.float() for several labels per example."
        )
    if len(labels) != len(logits) or (not single and labels.shape != logits.shape):
        raise BadInput(f"Logits and labels must have the same examples and outputs, got {came}.")
    if single and len(labels) and not (labels.min() >= 0 and labels.max() < logits.shape[1]):
        raise BadInput(
            f"Class indices must lie in 0..{logits.shape[1] - 1}, got {int(labels.min())}.."
            f"{int(labels.max())}. Give the network one output a class."
        )
