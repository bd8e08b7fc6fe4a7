"""One step of training: forward and backward passes of a batch, and the step of the optimizer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from transferscope.core.config import Recipe, Schedule
from transferscope.core.options import Normalization
from transferscope.data.normalize import normalize
from transferscope.train.augment import drawn_maps, warp
from transferscope.train.batch_norm import WholeBatchStatistics
from transferscope.train.optimizer import optimizer_for, set_rate
from transferscope.train.ranks import ALONE, Ranks
from transferscope.train.targets import drawn_mix, mixed_loss


@dataclass(frozen=True, kw_only=True)
class Stepped:
    """The results of a step; if several processes train, those of this process's part of the batch."""

    rate: float
    """The base learning rate."""
    loss: Tensor
    """() float64, the training loss: the sum over this part, divided by the size of the whole batch."""
    outputs: Tensor
    """(n, num_classes), of the recipe's precision."""
    labels: Tensor
    """(n, ...), the labels for the score; for mixed images, the label with the larger weight."""


@dataclass(frozen=True, kw_only=True)
class _Batch:
    """A part of a batch, ready for the network."""

    inputs: Tensor
    labels: Tensor
    others: Tensor
    """Labels of the mixup partners."""
    weight: float
    """Weight of `labels`; the partners have the rest."""
    parts: list[int]
    """Sizes of the parts whose gradients are accumulated."""
    size: int
    """Images in the whole batch."""


def dtype_of(recipe: Schedule) -> torch.dtype:
    """The precision of initialization, images, weights, outputs and evaluation."""
    return torch.float64 if recipe.precision == "fp64" else torch.float32


def memory_format_of(model: nn.Module) -> torch.memory_format:
    """The memory format that a network trains in: channels_last makes small convolutions fast on CPUs and tensor cores
    alike.

    PyTorch 2.13 on processors with AVX2 writes beyond its memory in the gradient of the weights of a channels_last
    1 x 1 convolution with a stride and fewer than 8 input channels. Networks that have one stay contiguous.
    """
    unsafe = any(
        isinstance(each, nn.Conv2d)
        and each.kernel_size == (1, 1)
        and each.stride != (1, 1)
        and each.in_channels // each.groups < 8
        for each in model.modules()
    )
    return torch.contiguous_format if unsafe else torch.channels_last


class Stepper:
    """Trains a network step by step by a recipe."""

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        *,
        num_steps: int,
        normalization: Normalization,
        generator: torch.Generator,
        device: torch.device | None = None,
        ranks: Ranks = ALONE,
        size_px: int | None = None,
    ) -> None:
        """
        Args:
            model: the network, trained in place.
            recipe: the recipe.
            num_steps: number of steps of the whole training.
            normalization: how pixels become inputs.
            generator: generator for augmentation and mixup, on the CPU.
            device: the device of the model; default: that of the images.
            ranks: the processes that share every batch.
            size_px: side of augmented images; default: that of the images.
        """
        self._size_px = size_px
        self._recipe, self._num_steps = recipe, num_steps
        self._normalization: Normalization = normalization
        self._generator = generator
        self._device, self._ranks = device, ranks
        self._dtype, self._format = dtype_of(recipe), memory_format_of(model)
        self.optimizer = optimizer_for(model, recipe)
        self._parameters = list(model.parameters())
        self.data_seconds = 0.0
        """Seconds spent so far on loading, augmenting, normalising and mixing."""
        self._shared = None if ranks.count == 1 else _shared(model)
        wrapped = model if self._shared is None else self._shared
        self._forward: Callable[..., Any] = torch.compile(wrapped) if recipe.compile else wrapped

    def step(self, images: Tensor, labels: Tensor, rows: Tensor, step: int) -> Stepped:
        """Train on a batch.

        Args:
            images: (n, channels, height, width) uint8, all training images; or float if they are already normalised
                (and must not be augmented).
            labels: (n, ...), their labels.
            rows: (b,) int64, the images of the whole batch.
            step: the number of the step, from 0.
        """
        rate = set_rate(self.optimizer, self._recipe, step, self._num_steps)
        asked = time.perf_counter()
        batch = self._loaded(images, labels, rows)
        self.data_seconds += time.perf_counter() - asked
        loss, outputs = self._gradients(batch)
        if self._recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(self._parameters, self._recipe.clip_norm, foreach=True)
        self.optimizer.step()
        seen = batch.labels if batch.weight >= 0.5 else batch.others
        return Stepped(rate=rate, loss=loss, outputs=outputs, labels=seen)

    def _loaded(self, images: Tensor, labels: Tensor, rows: Tensor) -> _Batch:
        """This process's part of a batch. Each process draws random numbers for the whole batch, so that all agree."""
        recipe, size = self._recipe, len(rows)
        device = images.device if self._device is None else self._device
        theta = None
        if not images.is_floating_point():
            ratio = images.shape[-2] / images.shape[-1]
            theta = drawn_maps(
                size, ratio, recipe.augmentation, self._generator, crop_scale=recipe.crop_scale
            )
        mix = drawn_mix(size, recipe.mixup, self._generator) if recipe.mixup else None
        parts = torch.arange(size).tensor_split(min(recipe.accumulate, size))
        if self._ranks.count == 1:
            own, needed = None, None
        else:
            parts = [self._ranks.own(part) for part in parts]
            own = torch.cat(list(parts))
            needed = own if mix is None else torch.cat([own, mix.partner[own]])
            rows = rows[needed.to(rows.device)]
            theta = None if theta is None else theta[needed]
        inputs, known = _taken(images, rows).to(device), labels[rows].to(device)
        if theta is not None:
            inputs = warp(inputs, theta, self._size_px)
        if not inputs.is_floating_point():
            inputs = normalize(inputs, self._normalization, self._dtype)
        others, weight = known, 1.0
        if mix is not None and own is None:
            partner, weight = mix.partner.to(device), mix.weight
            inputs, others = torch.lerp(inputs[partner], inputs, weight), known[partner]
        elif mix is not None and own is not None:
            (inputs, mixed_in), (known, others) = inputs.split(len(own)), known.split(len(own))
            weight = mix.weight
            inputs = torch.lerp(mixed_in, inputs, weight)
        return _Batch(
            inputs=inputs,
            labels=known,
            others=others,
            weight=weight,
            parts=[len(part) for part in parts],
            size=size,
        )

    def _gradients(self, batch: _Batch) -> tuple[Tensor, Tensor]:
        """Loss and outputs of this part of the batch. Afterwards, the parameters have the gradients of the whole
        batch."""
        self.optimizer.zero_grad()
        losses, outputs = [], []
        split = (tensor.split(batch.parts) for tensor in (batch.inputs, batch.labels, batch.others))
        for number, (part, own, other) in enumerate(zip(*split, strict=True), start=1):
            with self._together(is_last=number == len(batch.parts)):
                with torch.autocast(
                    part.device.type, torch.bfloat16, enabled=self._recipe.precision == "bf16"
                ):
                    output = self._forward(part.contiguous(memory_format=self._format))
                output = output.to(self._dtype)
                each = mixed_loss(
                    output, own, other, weight=batch.weight, smoothing=self._recipe.label_smoothing
                )
                loss = each.mean() * (len(part) / batch.size)
                # gradients are averaged over the processes, and the loss is a sum over them
                (loss if self._shared is None else loss * self._ranks.count).backward()
            losses.append(loss.detach())
            outputs.append(output.detach())
        return torch.stack(losses).sum(), torch.cat(outputs)

    @contextmanager
    def _together(self, *, is_last: bool) -> Iterator[None]:
        """BatchNorm uses the parts of all processes; gradients are exchanged only with the last part."""
        if self._shared is None:
            yield
            return
        with WholeBatchStatistics(), nullcontext() if is_last else self._shared.no_sync():
            yield


def _taken(images: Tensor, rows: Tensor) -> Tensor:
    """Select images and keep their memory format; for whole channels_last images, three times as fast as an index."""
    if images.is_contiguous():
        return images[rows]
    return images.movedim(1, -1).index_select(0, rows.to(images.device)).movedim(-1, 1)


def _shared(model: nn.Module) -> Any:
    """The network with gradients that are averaged over all processes while they are computed."""
    from torch.nn.parallel import DistributedDataParallel

    # parameters without a gradient, as in layers that are dropped at random, are no mistake
    return DistributedDataParallel(model, find_unused_parameters=True)
