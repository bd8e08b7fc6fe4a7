"""Folding of BatchNorm into the preceding convolutions during evaluation."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

TRIED_EXAMPLES = 8
"""Number of examples for the trial that decides if BatchNorm can be folded."""
TOLERANCE = 1e-4
"""Largest accepted change of the logits in the trial, relative to the largest logit."""


class Folding:
    """The BatchNorms of a network that can be folded.

    With running mean m and variance v, scale g and offset h, BatchNorm after a convolution of weight W and bias c
    is the convolution of weight W g / sqrt(v + e) and bias (c - m) g / sqrt(v + e) + h: one pass over the
    activations less. A BatchNorm is folded where its input is what a convolution gave, each is called once and is
    PyTorch's own. On some examples the network then has to give the same, up to rounding, also where all but the
    BatchNorms read NaN of these convolutions; else none is folded. The network's own tensors are read, never
    written; those that have changed are folded anew in the next pass (but writes through `.data` escape PyTorch's
    count of versions).

    Args:
        model: in evaluation mode, without gradients.
        some: a few inputs.
        within: parts of the network; a pair is folded only where one of them holds both. All of it by default.
    """

    def __init__(self, model: nn.Module, some: Tensor, within: Sequence[nn.Module] | None = None) -> None:
        self._pairs = _pairs(model, some, [model] if within is None else within)
        if self._pairs and not self._is_the_same(model, some):
            self._pairs = []

    @property
    def num_folded(self) -> int:
        return len(self._pairs)

    @contextmanager
    def folded(self) -> Iterator[None]:
        """The network's forward with the folded convolutions, always of its present tensors."""
        try:
            for conv, norm in self._pairs:
                conv.__dict__["forward"] = _Folded(conv, norm)
                norm.__dict__["forward"] = _as_it_is
            yield
        finally:
            for module in chain.from_iterable(self._pairs):
                module.__dict__.pop("forward", None)

    def _is_the_same(self, model: nn.Module, some: Tensor) -> bool:
        before = model(some.clone())
        with self.folded():
            after = model(some.clone())
            for pair in self._pairs:
                _hide_from_others(*pair)
            hidden = model(some.clone())
        near = TOLERANCE * before.abs().max()
        return bool(torch.all((after - before).abs() <= near)) and torch.equal(after, hidden)


class _Folded:
    """The forward of a convolution and the BatchNorm after it, folded again if one of their tensors has changed."""

    def __init__(self, conv: _ConvNd, norm: _BatchNorm) -> None:
        self._pair = conv, norm
        self._tensors = _tensors(conv, norm)
        self._versions: list[int] = []
        self._weight, self._bias = conv.weight, conv.bias

    def __call__(self, *args: Tensor, **kwargs: Tensor) -> Tensor:
        versions = [tensor._version for tensor in self._tensors]
        if versions != self._versions:
            self._weight, self._bias = _folded(*self._pair)
            self._versions = versions
        return self._pair[0]._conv_forward(*args, **kwargs, weight=self._weight, bias=self._bias)


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


def _pairs(model: nn.Module, some: Tensor, within: Sequence[nn.Module]) -> list[tuple[_ConvNd, _BatchNorm]]:
    """Convolutions and the BatchNorms that read their outputs, each called once."""
    calls: list[nn.Module] = []
    given: list[tuple[_ConvNd, Tensor, int]] = []
    found: list[tuple[_ConvNd, _BatchNorm]] = []

    def note(module: nn.Module, args: tuple[object, ...], output: object) -> None:
        calls.append(module)
        if isinstance(module, _ConvNd) and not module.transposed and _counts_versions(output):
            given.append((module, output, output._version))
        elif isinstance(module, _BatchNorm) and module.running_mean is not None and args:
            # what was written to in between is no longer what the convolution gave
            found.extend((conv, module) for conv, own, at in given if own is args[0] and own._version == at)

    wanted = [module for module in model.modules() if isinstance(module, (_ConvNd, _BatchNorm))]
    handles = [module.register_forward_hook(note) for module in wanted]
    try:
        model(some.clone())
    finally:
        for handle in handles:
            handle.remove()
    held = [{*part.modules()} for part in within]
    memory = Counter(_memory(own) for own in chain(model.parameters(), model.buffers()))

    def is_foldable(pair: tuple[_ConvNd, _BatchNorm]) -> bool:
        # a tensor that shares its memory can be written to without a change of its own version
        return (
            all(_is_plain(module) and calls.count(module) == 1 for module in pair)
            and all(_counts_versions(own) and memory[_memory(own)] == 1 for own in _tensors(*pair))
            and any(modules.issuperset(pair) for modules in held)
        )

    return [pair for pair in found if is_foldable(pair) and sum(pair[0] is other for other, _ in found) == 1]


def _is_plain(module: nn.Module) -> bool:
    """True if the layer uses PyTorch's own forward on initialized weights, without hooks that read its output."""
    hooks = (module._forward_hooks, module._forward_pre_hooks)
    is_own = type(module).__module__.startswith("torch.nn.modules.")
    return is_own and "forward" not in module.__dict__ and not any(hooks)


def _tensors(conv: _ConvNd, norm: _BatchNorm) -> list[Tensor]:
    """All that the folded weight and bias are computed from."""
    found = (conv.weight, conv.bias, norm.weight, norm.bias, norm.running_mean, norm.running_var)
    return [tensor for tensor in found if tensor is not None]


def _counts_versions(value: object) -> TypeGuard[Tensor]:
    return isinstance(value, Tensor) and not value.is_inference()


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _hide_from_others(conv: _ConvNd, norm: _BatchNorm) -> None:
    """Pass the output of the convolution only to its BatchNorm; all other readers get NaN."""
    forward = conv.forward
    kept: list[Tensor] = []

    def give_nan(*args: Tensor, **kwargs: Tensor) -> Tensor:
        kept.append(forward(*args, **kwargs))
        return torch.full_like(kept[-1], math.nan)

    conv.__dict__["forward"] = give_nan
    norm.__dict__["forward"] = lambda _: kept[-1]


def _as_it_is(x: Tensor) -> Tensor:
    return x
