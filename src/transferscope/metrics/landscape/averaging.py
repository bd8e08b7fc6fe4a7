"""Averaged weights, compared with the single networks and their ensemble."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from transferscope.core.errors import BadInput
from transferscope.metrics.evaluation.evaluate import called
from transferscope.metrics.evaluation.halving import in_batches
from transferscope.metrics.evaluation.resampled_auc import resampled_auc
from transferscope.metrics.evaluation.scores import (
    is_correct,
    is_multi_label,
    per_example_loss,
    score,
    unranked,
)
from transferscope.metrics.evaluation.states import device_of
from transferscope.metrics.inputs.arguments import network, states_of, tensor, whole_number
from transferscope.metrics.inputs.guard import guarded, lent
from transferscope.metrics.inputs.state_dicts import State
from transferscope.metrics.landscape.span import SpanBatchNorm, policy_problems, span_of
from transferscope.metrics.statistics.intervals import Interval, percentile_ends, resampling_weights


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One set of predictions, compared with the mean over single networks."""

    loss: float
    """Mean loss, in nats."""
    metric: float
    """Accuracy or mean AUC."""
    loss_gain: Interval
    """Mean loss of the single networks minus this one's, in nats: above 0 is better."""
    metric_gain: Interval
    """Metric less the mean metric of the single networks: above 0 is better."""


@guarded
def averaged_logits(
    model: nn.Module,
    states: Sequence[State],
    inputs: Tensor,
    *,
    batch_norm: SpanBatchNorm = "interpolate",
    calibration: Tensor | None = None,
    batch_size: int = 256,
) -> Tensor:
    """Logits of the network whose weights are the plain average of the states'.

    Source: Izmailov, Podoprikhin, Garipov, Vetrov, Wilson 2018; Wortsman et al. 2022 (uniform soup).

    Args:
        model: the architecture; it is the same afterwards, also after an exception.
        states: at least one network or state dict.
        inputs: (n, ...).
        batch_norm: running statistics are averaged like the weights, or re-estimated on `calibration`.
        calibration: (m, ...) training inputs for "re-estimate".
        batch_size: examples in one forward pass.

    Returns:
        (n, k) on the CPU.

    Raises:
        BadInput: no state, states that don't fit the model, "re-estimate" without `calibration`.

    >>> import torch
    >>> net = torch.nn.Linear(1, 2, bias=False)
    >>> ends = [{"weight": torch.tensor(w)} for w in ([[0.0], [4.0]], [[2.0], [0.0]])]
    >>> averaged_logits(net, ends, torch.ones(1, 1))
    tensor([[1., 2.]])
    """
    states = states_of(states)
    tensor(inputs, "inputs")
    whole_number(batch_size, "batch_size", least=1)
    problems = policy_problems(batch_norm, calibration)
    if not states:
        problems.append("An average needs at least one network, got none.")
    if problems:
        raise BadInput(problems)
    network(model)
    with lent(model) as live:
        span = span_of(
            model, live, states, batch_norm=batch_norm, calibration=calibration, batch_size=batch_size
        )
        span.place(torch.full((len(states),), 1 / len(states), dtype=torch.float64))
        device = device_of(model)

        def logits_of(rows: slice) -> Tensor:
            # Copies: a network may write into its input, and return the same memory for each batch.
            return called(model, inputs[rows].to(device, copy=True)).to("cpu", copy=True)

        parts = in_batches(logits_of, len(inputs), batch_size)
        return torch.cat(list(parts))


@guarded
def ensemble_logits(logits: Sequence[Tensor], *, multi_label: bool) -> Tensor:
    """Logits of the mean of the networks' probabilities, in float64.

    Single label: log mean softmax. Multi-label: the logit of the mean sigmoid, for each label. Both are
    computed from logarithms, so that probabilities near 0 and 1 keep their digits.

    Args:
        logits: (n, k) of each network.
        multi_label: True if an example can have several labels.

    Returns:
        (n, k) float64: their softmax, or sigmoid, is the mean of the probabilities.

    >>> import torch
    >>> certain = [torch.tensor([[0.0, -100.0]]), torch.tensor([[-100.0, 0.0]])]
    >>> ensemble_logits(certain, multi_label=False).exp()
    tensor([[0.5000, 0.5000]], dtype=torch.float64)
    """
    logits = _logits(logits, "logits")
    if not logits:
        raise BadInput("An ensemble needs at least one network, got none.")
    stacked = torch.stack([one.double() for one in logits])
    count = math.log(len(logits))
    if not multi_label:
        return stacked.log_softmax(2).logsumexp(0) - count
    yes, no = (functional.logsigmoid(sign * stacked).logsumexp(0) for sign in (1, -1))
    return yes - no


@guarded
def compared_with_mean(
    candidates: Sequence[Tensor],
    singles: Sequence[Tensor],
    labels: Tensor,
    *,
    level: float = 0.95,
    draws: int = 1000,
    generator: torch.Generator | None = None,
) -> list[Compared]:
    """Loss and metric of each candidate beside their means over single networks, with paired bootstrap intervals.

    A resample of the examples is the same for all candidates and all single networks (Efron 1979); the
    intervals generalize to other test images, not to other seeds.

    Args:
        candidates: (n, k) logits of each.
        singles: (n, k) logits of each single network, on the same examples in the same order.
        labels: (n,) int64, or (n, k) float of 0 and 1.
        level: coverage, inside (0, 1).
        draws: resamples.
        generator: of the resamples; one with seed 0 by default.

    Returns:
        One comparison a candidate. NaN where a loss or a metric is.

    Raises:
        BadInput: no single network, shapes that don't match, no draws, a level outside (0, 1).

    >>> import torch
    >>> right, wrong = torch.tensor([[1.0, 0.0]] * 9), torch.tensor([[0.0, 1.0]] * 9)
    >>> found = compared_with_mean([right], [right, wrong], torch.zeros(9, dtype=torch.int64))[0]
    >>> found.metric, found.metric_gain.estimate, round(found.metric_gain.low, 3)
    (1.0, 0.5, 0.5)
    """
    candidates, singles = _logits(candidates, "candidates"), _logits(singles, "singles")
    if not singles:
        raise BadInput("Expected at least one single network to compare with, got none.")
    every = _logits([*candidates, *singles], "logits")
    tensor(labels, "labels")
    draws = whole_number(draws, "draws", least=1)
    losses = torch.stack([per_example_loss(logits, labels).cpu() for logits in every])
    metrics = torch.tensor([score(logits, labels) for logits in every], dtype=torch.float64)
    correct = None if is_multi_label(labels) else _correct(every, labels)
    replicates: list[Tensor] = []
    for weights in resampling_weights(len(labels), draws, generator):
        if correct is not None:
            scores = weights @ correct.T
        else:
            counts = (weights * len(labels)).round()
            scores = torch.stack([resampled_auc(logits, labels, counts).nanmean(1) for logits in every], 1)
        replicates.append(torch.stack([-(weights @ losses.T), scores]))
    values = torch.stack([-losses.mean(1), metrics])
    gains = _gains(values[:, None], len(candidates))[:, 0]
    ends = percentile_ends(_gains(torch.cat(replicates, 1), len(candidates)), level, dim=1)
    return [
        Compared(
            loss=-float(values[0, index]),
            metric=float(values[1, index]),
            loss_gain=_interval(gains[0, index], ends[:, 0, index], len(labels), level),
            metric_gain=_interval(gains[1, index], ends[:, 1, index], len(labels), level),
        )
        for index in range(len(candidates))
    ]


def _logits(networks: Sequence[Tensor], name: str) -> list[Tensor]:
    """Logits of the same shape, one tensor a network."""
    if isinstance(networks, Tensor):
        raise BadInput(f"{name} is a list of tensors (n, k), one a network, got a Tensor; give list({name}).")
    checked = [tensor(one, f"{name}[{place}]") for place, one in enumerate(networks)]
    shapes = sorted({tuple(one.shape) for one in checked})
    if len(shapes) > 1 or any(len(shape) != 2 for shape in shapes):
        raise BadInput(f"Expected {name} (n, k) of the same examples and classes, got the shapes {shapes}.")
    return checked


def _correct(every: Sequence[Tensor], labels: Tensor) -> Tensor:
    """(networks, n) 1 where right, NaN where the logits can't be ranked."""
    rows = [
        is_correct(logits, labels).double().masked_fill(unranked(logits), math.nan).cpu() for logits in every
    ]
    return torch.stack(rows)


def _gains(values: Tensor, num_candidates: int) -> Tensor:
    """(2, draws, candidates) from (2, draws, candidates and singles)."""
    return values[..., :num_candidates] - values[..., num_candidates:].mean(-1, keepdim=True)


def _interval(estimate: Tensor, ends: Tensor, n: int, level: float) -> Interval:
    low, high = ends.tolist()
    return Interval(estimate=float(estimate), low=low, high=high, n=n, level=level)
