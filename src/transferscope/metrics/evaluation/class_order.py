"""Detection of networks that were trained with another order of the classes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

STANDARD_ERRORS = 2.5
LEAST_GAIN = 0.05
"""Smallest gain in balanced accuracy that is reported,"""
LEAST_GAIN_MOVED = 0.5
"""unless the reordered classes gain this much, for example if two of many classes are swapped."""


@dataclass(frozen=True, kw_only=True)
class ClassOrder:
    """An order of the classes in which a network is more accurate."""

    order: tuple[int, ...]
    """For each output, the class that it represents."""
    accuracy: float
    """Accuracy in that order, each half of the examples judged by the order that fits the other half."""


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
    return ClassOrder(order=tuple(best.tolist()), accuracy=float(right.double().mean()))


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
