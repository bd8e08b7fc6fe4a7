"""One step of training: forward and backward passes of a batch, and the step of the optimizer."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from transferscope.config import Recipe
from transferscope.data.normalize import normalize
from transferscope.options import Normalization
from transferscope.train.augment import augment
from transferscope.train.optimizer import optimizer_for, set_rate
from transferscope.train.targets import drawn_mix, mixed_loss


@dataclass(frozen=True, kw_only=True)
class Stepped:
    """What a step leaves behind."""

    rate: float
    """The base learning rate."""
    loss: Tensor
    """() float64, the mean over the batch of what was trained toward."""
    outputs: Tensor
    """(n, num_classes) float32."""
    labels: Tensor
    """(n, ...) to score them against: of mixed images the one with the larger weight."""


class Stepper:
    """A network on its way through the steps of a recipe."""

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        *,
        num_steps: int,
        normalization: Normalization,
        generator: torch.Generator,
    ) -> None:
        """
        Args:
            model: trained in place.
            recipe: how.
            num_steps: steps of the whole training.
            normalization: how pixels become inputs.
            generator: of augmentation and mixup, on the CPU.
        """
        self._recipe, self._num_steps = recipe, num_steps
        self._normalization: Normalization = normalization
        self._generator = generator
        self._optimizer = optimizer_for(model, recipe)
        self._parameters = list(model.parameters())
        self.data_seconds = 0.0
        """Spent on augmenting, normalising and mixing so far."""
        self._forward: Callable[..., Any] = torch.compile(model) if recipe.compile else model

    def step(self, images: Tensor, labels: Tensor, step: int) -> Stepped:
        """Train on a batch.

        Args:
            images: (n, channels, height, width) uint8; or float, where they are normalised already (and not
                to be augmented).
            labels: (n, ...) of them.
            step: which step, from 0.
        """
        recipe = self._recipe
        rate = set_rate(self._optimizer, recipe, step, self._num_steps)
        asked = time.perf_counter()
        inputs = images
        if not images.is_floating_point():
            varied = augment(images, recipe.augmentation, self._generator, crop_scale=recipe.crop_scale)
            inputs = normalize(varied, self._normalization)
        others, weight, seen = labels, 1.0, labels
        if recipe.mixup:
            mix = drawn_mix(len(images), recipe.mixup, self._generator)
            partner, weight = mix.partner.to(images.device), mix.weight
            inputs, others = torch.lerp(inputs[partner], inputs, weight), labels[partner]
            seen = labels if weight >= 0.5 else others
        self.data_seconds += time.perf_counter() - asked
        loss, outputs = self._gradients(inputs, labels, others, weight)
        if recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(self._parameters, recipe.clip_norm, foreach=True)
        self._optimizer.step()
        return Stepped(rate=rate, loss=loss, outputs=outputs, labels=seen)

    def _gradients(
        self, inputs: Tensor, labels: Tensor, others: Tensor, weight: float
    ) -> tuple[Tensor, Tensor]:
        """Mean loss and outputs of a batch; its gradients are in the parameters afterwards."""
        self._optimizer.zero_grad()
        parts = min(self._recipe.accumulate, len(inputs))
        losses, outputs = [], []
        for part, own, other in zip(*(t.tensor_split(parts) for t in (inputs, labels, others)), strict=True):
            with torch.autocast(part.device.type, torch.bfloat16, enabled=self._recipe.precision == "bf16"):
                output = self._forward(part.contiguous(memory_format=torch.channels_last)).float()
            each = mixed_loss(output, own, other, weight=weight, smoothing=self._recipe.label_smoothing)
            loss = each.mean() * (len(part) / len(inputs))
            loss.backward()
            losses.append(loss.detach())
            outputs.append(output.detach())
        return torch.stack(losses).sum(), torch.cat(outputs)
