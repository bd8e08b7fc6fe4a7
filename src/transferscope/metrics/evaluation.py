"""A network on labelled inputs: per-example losses, and what the score needs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from transferscope.errors import BadInput
from transferscope.metrics.scores import is_correct, is_multi_label, per_example_loss, score, unranked
from transferscope.metrics.states import device_of

Data = tuple[Tensor, Tensor]
"""Inputs (n, ...) as the network takes them, and labels (n,) int64 or (n, k) float."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What one network gives on n examples."""

    losses: Tensor
    """(n,) float64, in nats."""
    correct: Tensor | None
    """(n,) float64: 1 where right, 0 where wrong, NaN where logits can't be ranked; None: multi-label."""
    logits: Tensor | None
    """(n, k), for multi-label alone."""
    labels: Tensor
    """(n,) or (n, k)."""

    @property
    def loss(self) -> float:
        """Mean loss; NaN where an example's is."""
        return float(self.losses.mean())

    @property
    def metric(self) -> float:
        """Accuracy, or mean AUC for multi-label; NaN where it can't be had."""
        if self.correct is not None:
            return float(self.correct.mean())
        return math.nan if self.logits is None else score(self.logits, self.labels)


def evaluate(model: nn.Module, data: Data, batch_size: int) -> Evaluation:
    """One pass, in the network's present mode and gradient mode; results on the CPU.

    Raises:
        BadInput: a network that gives no (n, k) logits, or labels that don't go with them.
    """
    inputs, labels = data
    device = device_of(model)
    losses, correct, kept = [], [], []
    for start in range(0, len(inputs), batch_size):
        logits = model(inputs[start : start + batch_size].to(device))
        if not isinstance(logits, Tensor):
            raise BadInput(
                f"Expected a network that gives logits (n, k), got a {type(logits).__name__}; wrap it to "
                "give the logits alone."
            )
        target = labels[start : start + batch_size]
        losses.append(per_example_loss(logits, target).cpu())
        if is_multi_label(labels):
            kept.append(logits.cpu())
        else:
            right = is_correct(logits, target).double()
            correct.append(right.masked_fill(unranked(logits), math.nan).cpu())
    return Evaluation(
        losses=torch.cat(losses),
        correct=torch.cat(correct) if correct else None,
        logits=torch.cat(kept) if kept else None,
        labels=labels.cpu(),
    )


def check_data(data: Data, batch_size: int) -> None:
    """Raises BadInput unless inputs and labels are as many, at least one, and so is a batch."""
    inputs, labels = data
    if not len(inputs) or len(inputs) != len(labels):
        raise BadInput(
            f"Expected as many inputs as labels, at least one, got {len(inputs)} and {len(labels)}."
        )
    if batch_size < 1:
        raise BadInput(f"A batch holds at least 1 example, got batch_size={batch_size}.")
