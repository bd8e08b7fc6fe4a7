"""Detection of networks that were trained with another order of the classes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from scipy.stats import rankdata
from torch import Tensor

STANDARD_ERRORS = 2.5
LEAST_GAIN = 0.05
"""Smallest gain in balanced accuracy that is reported,"""
LEAST_GAIN_MOVED = 0.5
"""unless the reordered classes gain this much, for example if two of many classes are swapped."""

LEAST_GAIN_AUC = 0.2
"""Gain in AUC, on average over the labels that change their place, from which another order is reported:
labels that come together rank the images alike."""


@dataclass(frozen=True, kw_only=True)
class ClassOrder:
    """An order of the classes, or of several labels an image, in which a network is more accurate."""

    order: tuple[int, ...]
    """For each output, the class or label that it represents."""
    value: float
    """Accuracy or mean AUC in that order, each half of the examples judged by the order that fits the other half."""


def better_class_order(logits: Tensor, labels: Tensor) -> ClassOrder | None:
    """The one-to-one assignment of classes to outputs with the highest balanced accuracy, if it is clearly better.

    The assignment maximizes sum_i C[i, order[i]] (`scipy.optimize.linear_sum_assignment`), where C[i, j] is the share
    of the examples of class j for which output i is largest. It is better if the gain in balanced accuracy is at least
    0.05, or on average 0.5 in the classes that change their place, and 2.5 standard errors; for that each half of the
    examples of a class is judged by the assignment that fits the other half, so that chance is no gain.

    Args:
        logits: (n, k).
        labels: (n,) int64.

    Returns:
        The order that fits all examples best, or None if the present order is as good.

    >>> labels = torch.arange(30) % 3
    >>> better_class_order(torch.eye(3)[(labels + 1) % 3], labels).order
    (2, 0, 1)
    """
    num_classes = logits.shape[1]
    guessed, labels = logits.argmax(1).cpu(), labels.cpu()
    halves = _halves(labels)
    right = torch.zeros(len(labels), dtype=torch.bool)
    for half in (0, 1):
        order = _assignment(guessed[halves != half], labels[halves != half], num_classes)
        right |= (order[guessed] == labels) & (halves == half)
    counts = labels.bincount(minlength=num_classes)
    weights = 1 / (counts[labels].double() * (counts > 0).sum())
    gains = weights * (right.double() - (guessed == labels).double())
    gain, error = float(gains.sum()), math.sqrt(float(gains.square().sum()))
    best = _assignment(guessed, labels, num_classes)
    moved = float((best != torch.arange(num_classes))[counts > 0].double().mean())
    if gain < max(min(LEAST_GAIN, LEAST_GAIN_MOVED * moved), STANDARD_ERRORS * error) or not moved:
        return None
    return ClassOrder(order=tuple(best.tolist()), value=float(right.double().mean()))


def better_label_order(logits: Tensor, labels: Tensor) -> ClassOrder | None:
    """The one-to-one assignment of labels to outputs with the highest mean AUC, if it is clearly better.

    As `better_class_order`, with A[i, j], the AUC of output i for label j, in place of the shares. It is better if the
    AUC of the labels that change their place gains 0.2 on average, over 0.5 where it was less, and 2.5 standard errors.
    That of a Mann-Whitney statistic without ties is sqrt((n + 1) / (12 p q)), of p images with the label and q without.
    Labels that all images of a half have, or none, keep their output.

    Args:
        logits: (n, k), finite.
        labels: (n, k) of 0 and 1.

    Returns:
        The order that fits all examples best, or None if the present order is as good.

    >>> labels = torch.tensor([[0.0, 0, 1], [0, 1, 0], [1, 0, 0], [0, 1, 1], [1, 1, 0], [1, 0, 1]]).repeat(20, 1)
    >>> better_label_order(labels[:, [1, 0, 2]], labels).order
    (1, 0, 2)
    """
    if not logits.isfinite().all():
        return None
    logits, labels = logits.double().cpu(), labels.double().cpu()
    num_labels = labels.shape[1]
    here = torch.arange(num_labels)
    halves = (slice(0, None, 2), slice(1, None, 2))
    areas = [_areas(logits[half], labels[half]) for half in halves]
    values = torch.zeros(num_labels, dtype=torch.float64)
    gains = torch.zeros(num_labels, dtype=torch.float64)
    for judged, fitted in ((0, 1), (1, 0)):
        order = _best(areas[fitted])
        outputs = order.argsort()
        values += areas[judged][outputs, here] / 2
        gains += (areas[judged][outputs, here] - areas[judged].diagonal().clamp_min(0.5)) / 2
    positive = labels.sum(0)
    known = (positive > 0) & (positive < len(labels)) & ~torch.stack(areas).isnan().any(0).any(0)
    best = _best(_areas(logits, labels))
    moved = (best.argsort() != here) & known
    if not moved.any():
        return None
    variance = (len(labels) + 1) / (12 * positive * (len(labels) - positive))
    error = math.sqrt(float(2 * variance[moved].sum())) / int(moved.sum())
    if float(gains[moved].mean()) < max(LEAST_GAIN_AUC, STANDARD_ERRORS * error):
        return None
    return ClassOrder(order=tuple(best.tolist()), value=float(values[known].mean()))


def _areas(logits: Tensor, labels: Tensor) -> Tensor:
    """(k, k) the AUC of each output for each label; NaN for a label that all images have, or none."""
    ranks = torch.from_numpy(rankdata(logits.numpy(), axis=0))
    positive = labels.sum(0)
    return (ranks.T @ labels - positive * (positive + 1) / 2) / (positive * (len(labels) - positive))


def _best(areas: Tensor) -> Tensor:
    """(k,) the label of each output; labels without an AUC keep theirs."""
    fixed = areas.isnan().any(0)
    scores = areas.masked_fill(fixed | fixed[:, None], 0.0) + 1e-9 * torch.eye(len(areas))
    scores[fixed, fixed] = 2.0 * len(areas)
    rows, columns = linear_sum_assignment(scores.numpy(), maximize=True)
    order = torch.empty(len(areas), dtype=torch.int64)
    order[torch.from_numpy(rows)] = torch.from_numpy(columns)
    return order


def _halves(labels: Tensor) -> Tensor:
    """(n,) 0 or 1: every other example of each class."""
    order = labels.argsort(stable=True)
    starts = labels.bincount().cumsum(0) - labels.bincount()
    halves = torch.empty_like(labels)
    halves[order] = (torch.arange(len(labels)) - starts[labels[order]]) % 2
    return halves


def _assignment(guessed: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """(k,) the class of each output."""
    counts = (guessed * num_classes + labels).bincount(minlength=num_classes**2).reshape(num_classes, -1)
    shares = counts / counts.sum(0).clamp_min(1)
    # of equal assignments the one that leaves a class where it is
    shares = shares + 1e-9 * torch.eye(num_classes)
    outputs, classes = linear_sum_assignment(shares.numpy(), maximize=True)
    order = torch.empty(num_classes, dtype=torch.int64)
    order[torch.from_numpy(outputs)] = torch.from_numpy(classes)
    return order
