"""BatchNorm folded into the convolutions in front of it, for as long as a network only evaluates."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

TOLERANCE = 1e-4
"""Largest change of the logits on the examples of the trial, relative to the largest logit."""


class Folding:
    """Which BatchNorms of a network can be folded, and how.

    With running mean m and variance v, scale g and offset h, BatchNorm after a convolution of weight W and bias c
    is the convolution of weight W g / sqrt(v + e) and bias (c - m) g / sqrt(v + e) + h: one pass over the
    activations less. A BatchNorm is folded where its input is what a convolution gave, each is called once, and
    the network gives the same on some examples, up to rounding; else it stays. The network's own tensors are
    read, never written: call `refold` when they have changed.

    Args:
        model: in evaluation mode, without gradients.
        some: a few inputs.
    """

    def __init__(self, model: nn.Module, some: Tensor) -> None:
        self._pairs = _pairs(model, some)
        before = model(some)
        with self.folded():
            after = model(some)
        near = TOLERANCE * before.abs().max()
        if not torch.all((after - before).abs() <= near):
            self._pairs = []

    @property
    def num_folded(self) -> int:
        return len(self._pairs)

    @contextmanager
    def folded(self) -> Iterator[None]:
        """The network's forward with the folded convolutions, from its present tensors."""
        try:
            self.refold()
            yield
        finally:
            for conv, norm in self._pairs:
                conv.__dict__.pop("forward", None)
                norm.__dict__.pop("forward", None)

    def refold(self) -> None:
        """Fold anew, from the tensors as they are now."""
        for conv, norm in self._pairs:
            weight, bias = _folded(conv, norm)
            conv.__dict__["forward"] = partial(conv._conv_forward, weight=weight, bias=bias)
            norm.__dict__["forward"] = _as_it_is


def _folded(conv: _ConvNd, norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        raise AssertionError("a BatchNorm without running statistics is not folded")
    scale = torch.rsqrt(variance + norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight
    bias = -mean * scale if conv.bias is None else (conv.bias - mean) * scale
    if norm.bias is not None:
        bias = bias + norm.bias
    # the product keeps the memory format of the weight
    return conv.weight * scale.reshape(-1, *[1] * (conv.weight.ndim - 1)), bias


def _pairs(model: nn.Module, some: Tensor) -> list[tuple[_ConvNd, _BatchNorm]]:
    """Convolutions and the BatchNorms that read what they give, each called once."""
    calls: list[nn.Module] = []
    given: list[tuple[_ConvNd, Tensor]] = []
    found: list[tuple[_ConvNd, _BatchNorm]] = []

    def note(module: nn.Module, args: tuple[object, ...], output: object) -> None:
        calls.append(module)
        if isinstance(module, _ConvNd) and not module.transposed and isinstance(output, Tensor):
            given.append((module, output))
        elif isinstance(module, _BatchNorm) and module.running_mean is not None and args:
            found.extend((conv, module) for conv, own in given if own is args[0])

    wanted = [module for module in model.modules() if isinstance(module, (_ConvNd, _BatchNorm))]
    handles = [module.register_forward_hook(note) for module in wanted]
    try:
        model(some)
    finally:
        for handle in handles:
            handle.remove()

    def is_plain(module: nn.Module) -> bool:
        # hooks of others would see other numbers, and a parametrized weight is computed at each call
        hooks = (module._forward_hooks, module._forward_pre_hooks)
        return calls.count(module) == 1 and not any(hooks) and "forward" not in module.__dict__

    once = [pair for pair in found if is_plain(pair[0]) and is_plain(pair[1])]
    return [pair for pair in once if sum(pair[0] is other for other, _ in once) == 1]


def _as_it_is(x: Tensor) -> Tensor:
    return x
