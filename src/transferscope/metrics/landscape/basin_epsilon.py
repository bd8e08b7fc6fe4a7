"""The epsilon of a basin: what two points of the metric are worth in nats."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from transferscope.metrics.evaluation.evaluate import Evaluation

POINTS = 0.02
"""Share of further mistakes whose loss is the default epsilon."""
USUAL_EPSILON = 0.1
"""In nats, where the networks make no mistake, or nothing else: their mistakes have no price then."""
EpsilonSource = Literal["given", "two points of the metric", "usual value"]


def epsilon_of(evaluations: Sequence[Evaluation]) -> tuple[float, EpsilonSource]:
    """The loss that two points of the metric are worth to these networks, in nats, and what it rests on.

    The mean loss of a network is a sum over right and wrong decisions. Where the loss within both stays the same,
    2 % more mistakes raise it by .02 (mean loss of the wrong ones - mean loss of the right ones). The result is the
    mean of this rise over the networks. For class indices a decision is an image; for several labels an image it is
    one label of an image, right where the logit has the sign of the label.

    Args:
        evaluations: of the networks, on the same examples.

    Returns:
        At least 0. Networks without right or without wrong decisions, or with a rise that is not above 0, are left
        out; where none is left the value is `USUAL_EPSILON`.
    """
    rises = [POINTS * price for each in evaluations if 0 < (price := _price_of_a_mistake(each)) < math.inf]
    if not rises:
        return USUAL_EPSILON, "usual value"
    return math.fsum(rises) / len(rises), "two points of the metric"


def _price_of_a_mistake(evaluation: Evaluation) -> float:
    """Mean loss of the wrong decisions minus that of the right ones; NaN where there are none of either."""
    losses, right = _decisions(evaluation)
    return float(losses[~right].mean() - losses[right].mean())


def _decisions(evaluation: Evaluation) -> tuple[Tensor, Tensor]:
    """Loss of each decision, and True where it is right."""
    if evaluation.logits is None or evaluation.correct is not None:
        return evaluation.losses, torch.as_tensor(evaluation.correct) == 1
    logits, labels = evaluation.logits.double(), evaluation.labels.double()
    losses = functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    return losses.flatten(), ((logits > 0) == (labels > 0.5)).flatten()
