"""The training targets of a batch: labels, possibly smoothed or mixed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.special import betaincinv
from torch import Tensor
from torch.nn import functional

from transferscope.core.errors import BadInput
from transferscope.metrics.evaluation.scores import is_multi_label, unchecked_loss


@dataclass(frozen=True, kw_only=True)
class Mix:
    """The mixup of a batch: weight * image + (1 - weight) * image[partner], and the same for labels."""

    weight: float
    partner: Tensor
    """(n,) int64."""


def drawn_mix(n: int, alpha: float, generator: torch.Generator) -> Mix:
    """One weight for the batch from Beta(alpha, alpha), and a random partner for each image.

    Source: Zhang, Cisse, Dauphin, Lopez-Paz, "mixup", ICLR 2018; one weight a batch as in their code.

    Args:
        n: images in the batch.
        alpha: above 0; small values mix little.
        generator: generator on the CPU.
    """
    level = torch.rand((), generator=generator, dtype=torch.float64).item()
    return Mix(weight=float(betaincinv(alpha, alpha, level)), partner=torch.randperm(n, generator=generator))


def soft_targets(labels: Tensor, num_classes: int, smoothing: float) -> Tensor:
    """The probabilities that the network should predict.

    Args:
        labels: (n,) int64 class indices; or (n, k) float of 0 and 1, which are not changed.
        num_classes: k.
        smoothing: s: (1 - s) for the label and s / k for each class.

    Returns:
        (n, k) float64.

    Raises:
        BadInput: smoothing of multi-label data.
    """
    if is_multi_label(labels):
        if smoothing:
            raise BadInput("label_smoothing is for single labels; these data have several labels an image.")
        return labels.double()
    return functional.one_hot(labels, num_classes).double() * (1 - smoothing) + smoothing / num_classes


def mixed_loss(logits: Tensor, labels: Tensor, others: Tensor, *, weight: float, smoothing: float) -> Tensor:
    """Loss of each example in nats toward weight * labels + (1 - weight) * others, in float64.

    Single label: the cross entropy, -sum_c target[c] log softmax(logits)[c].
    Multi-label: the binary cross entropy, averaged over the labels.

    Args:
        logits: (n, k), any float dtype.
        labels, others: (n,) int64 or (n, k) float of 0 and 1, known to fit.
        weight: weight of `labels`, 0 to 1; with 1, `others` have no effect.
        smoothing: see `soft_targets`.

    Returns:
        (n,) float64.

    Raises:
        BadInput: smoothing of multi-label data.
    """
    if weight == 1 and not smoothing:
        return unchecked_loss(logits, labels)
    k = logits.shape[1]
    ones, twos = (soft_targets(each, k, smoothing).to(logits.device) for each in (labels, others))
    targets = torch.lerp(twos, ones, weight)
    if is_multi_label(labels):
        return unchecked_loss(logits, targets)
    return functional.cross_entropy(logits.double(), targets, reduction="none")
