"""A network on labelled inputs: per-example losses, and what the score needs."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from transferscope.core.errors import BadInput
from transferscope.metrics.evaluation.halving import in_batches
from transferscope.metrics.evaluation.scores import (
    is_correct,
    is_multi_label,
    per_example_loss,
    score,
    unranked,
)
from transferscope.metrics.evaluation.states import device_of
from transferscope.metrics.inputs.arguments import bad_call, tensor, unlabelled_problems, whole_number

logger = logging.getLogger(__name__)

SUM_OF_LABELS = 1e-3
"""How far labels of one image may be from 1 in sum, in half precision too."""

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

    Batches that don't fit the memory of a GPU are halved; see `in_batches`.

    Raises:
        BadInput: a network that gives no (n, k) logits, or labels that don't go with them.
    """
    passes = in_batches(lambda rows: evaluated_batch(model, data, rows), len(data[0]), batch_size)
    return joined(list(passes), data[1])


@dataclass(frozen=True, kw_only=True)
class EvaluatedBatch:
    """The evaluation of one batch, on the CPU."""

    losses: Tensor
    correct: Tensor | None
    logits: Tensor | None


def evaluated_batch(model: nn.Module, data: Data, rows: slice) -> EvaluatedBatch:
    """A part of `evaluate`."""
    inputs, labels = data
    # A copy: a network may write into its input.
    logits = called(model, inputs[rows].to(device_of(model), copy=True))
    if not isinstance(logits, Tensor):
        raise BadInput(
            f"Expected a network that gives logits (n, k), got a {type(logits).__name__}; wrap it to "
            "give the logits alone."
        )
    target = labels[rows]
    losses = per_example_loss(logits, target).cpu()
    if is_multi_label(labels):
        return EvaluatedBatch(losses=losses, correct=None, logits=logits.to("cpu", copy=True))
    right = is_correct(logits, target).double().masked_fill(unranked(logits), math.nan)
    return EvaluatedBatch(losses=losses, correct=right.cpu(), logits=None)


def called(model: nn.Module, inputs: Tensor) -> Any:
    """Call the network.

    Raises:
        BadInput: inputs that it can't take, where the reason is known.
    """
    try:
        return model(inputs)
    except (TypeError, RuntimeError) as error:
        mistake = bad_call(model, inputs, error)
        if mistake is None:
            raise
        raise mistake from error


def joined(batches: Sequence[EvaluatedBatch], labels: Tensor) -> Evaluation:
    """The evaluation of all batches, in order."""
    correct = [batch.correct for batch in batches if batch.correct is not None]
    logits = [batch.logits for batch in batches if batch.logits is not None]
    return Evaluation(
        losses=torch.cat([batch.losses for batch in batches]),
        correct=torch.cat(correct) if correct else None,
        logits=torch.cat(logits) if logits else None,
        labels=labels.cpu(),
    )


def check_data(data: Data, batch_size: int) -> None:
    """Raises BadInput unless these are inputs and labels that match, and a batch holds an example.

    Class indices below 0 (images without a label), and multi-label values outside [0, 1], are refused.
    """
    pair = data if isinstance(data, (tuple, list)) else ()
    if len(pair) != 2 or not all(isinstance(part, Tensor) for part in pair):
        got = (
            f"{type(data).__name__} of {', '.join(type(part).__name__ for part in pair[:3])}" if pair else ""
        )
        raise BadInput(
            f"Expected (inputs, labels), two tensors, got {got or f'a {type(data).__name__}'}. Of a loader: "
            "inputs, labels = map(torch.cat, zip(*loader)); of arrays: torch.from_numpy(array)."
        )
    inputs, labels = (tensor(values, name) for name, values in zip(("inputs", "labels"), data, strict=True))
    if not inputs.ndim or not labels.ndim:
        raise BadInput(
            f"Expected inputs (n, ...) and labels (n,) or (n, k), got shapes {tuple(inputs.shape)} and "
            f"{tuple(labels.shape)}."
        )
    if not len(inputs) or len(inputs) != len(labels):
        raise BadInput(
            f"Expected as many inputs as labels, at least one, got {len(inputs)} and {len(labels)}."
        )
    problems = unlabelled_problems(labels, "labels") if labels.ndim == 1 else []
    if is_multi_label(labels) and not ((labels >= 0) & (labels <= 1)).all():
        problems.append(
            "multi-label 'labels' must lie in [0, 1]; got other values. Replace uncertain and missing labels "
            "by 0 or 1 first."
        )
    if problems:
        raise BadInput(problems)
    whole_number(batch_size, "batch_size", least=1)
    if is_multi_label(labels) and labels.shape[1] > 1 and len(labels) > 1 and _has_one_label_each(labels):
        logger.warning(
            "each row of 'labels' adds up to 1, and still counts as %d labels of which several may hold: the loss is "
            "the binary cross entropy, the metric the mean AUC. If they are classes, give labels.argmax(1)",
            labels.shape[1],
        )


def _has_one_label_each(labels: Tensor) -> bool:
    """True for one-hot labels, and for probabilities of classes."""
    return bool(((labels.double().sum(1) - 1).abs() < SUM_OF_LABELS).all())
