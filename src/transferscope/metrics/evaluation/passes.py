"""A traced forward pass: which layers a network calls in which order, and which ones return the logits."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from transferscope.core.errors import BadInput, shortened
from transferscope.metrics.inputs.arguments import observable
from transferscope.metrics.inputs.guard import lent, lent_for_reading
from transferscope.metrics.inputs.private_memory import refuse_lazy

PROBE = 2
"""Samples of a pass that shows what a network is; fewer than any batch that is measured."""


@dataclass
class Trace:
    """The results of a traced pass in evaluation mode; submodules are named by their paths."""

    num_samples: int
    calls: dict[str, int] = field(default_factory=dict)
    """How often each submodule was called, in the order of their first calls."""
    shapes: dict[str, torch.Size] = field(default_factory=dict)
    """Shape of each one's last output, or of its first tensor."""
    logits: torch.Size | None = None
    """Shape of the network's output."""
    last_layers: tuple[str, ...] = ()
    """Layers with a matrix, and matrices outside of layers, that are the last ones before the logits. Empty if the pass
    creates no autograd graph, as in networks of integers."""
    without_effect: frozenset[str] = frozenset()
    """Parameters that the graph does not lead back to; empty where the pass leaves no graph."""
    aside: frozenset[str] = frozenset()
    """Submodules that were called and to whose outputs the graph does not lead back."""


def trace(model: nn.Module, inputs: Tensor) -> Trace:
    """Runs a network once in evaluation mode and leaves it as it was.

    Args:
        model: any network; its first tensor, in whatever it returns, counts as the logits.
        inputs: (n, ...), on any device; floating-point inputs let the pass be followed backwards.

    Raises:
        BadInput: the network raises; the message has the error. Or it has lazy layers that were never run, or layers
            of TorchScript.
    """
    refuse_lazy(model)
    observable(model, f"the network {type(model).__name__}", [path for path, _ in model.named_modules()])
    device = next(chain(model.parameters(), model.buffers()), inputs).device
    moved = inputs.to(device)
    try:
        with lent_for_reading(model):
            return _traced(model, moved, follow=True)
    except Exception:
        pass  # networks that write to their parameters, for instance: PyTorch can't follow these
    try:
        with lent_for_reading(model):
            return _traced(model, moved, follow=False)
    except Exception as error:
        raise BadInput(
            f"The network {type(model).__name__} could not be run on inputs of shape {tuple(inputs.shape)}: "
            f"{type(error).__name__}: {shortened(str(error), 300)}"
        ) from error


def has_no_effect(model: nn.Module, inputs: Tensor, names: Collection[str]) -> bool:
    """True if the network's output for these inputs is the same whatever some of its parameters are.

    They are NaN during a pass: what depends on them is then NaN, too. In another one they have the opposite sign, as
    a gate may choose the same layer for NaN.

    Args:
        model: any network that `trace` could run; left as it was.
        inputs: (n, ...).
        names: of parameters.
    """
    try:
        with lent(model) as live:
            chosen = [model.get_parameter(name) for name in names]
            if not all(each.is_floating_point() or each.is_complex() for each in chosen):
                return False
            moved = inputs.detach().to(chosen[0].device)
            before = first_tensor(model(moved.clone()))
            with live.writing():
                for each in chosen:
                    each.neg_()
            negated = first_tensor(model(moved.clone()))
            with live.writing():
                for each in chosen:
                    each.fill_(math.nan)
            after = first_tensor(model(moved.clone()))
    except Exception:  # it looks at its weights: then they have an effect
        return False
    if (
        before is None
        or negated is None
        or after is None
        or before.is_meta
        or not torch.equal(before, negated)
    ):
        return False
    return not bool(before.isnan().any() or after.isnan().any())


def _traced(model: nn.Module, inputs: Tensor, *, follow: bool) -> Trace:
    """One pass; with `follow` PyTorch's graph of it is gone through from the logits backwards."""
    found = Trace(len(inputs))
    nodes: dict[str, list[Any]] = {}

    def enter(path: str, *_: object) -> None:
        found.calls[path] = found.calls.get(path, 0) + 1

    def leave(path: str, _module: nn.Module, _args: object, output: object) -> None:
        tensor = first_tensor(output)
        if tensor is not None:
            found.shapes[path] = tensor.shape
        nodes.setdefault(path, []).extend(each.grad_fn for each in tensors_in(output))

    with ExitStack() as stack:
        for path, module in model.named_modules():
            if path:
                stack.callback(module.register_forward_pre_hook(partial(enter, path)).remove)
                stack.callback(module.register_forward_hook(partial(leave, path)).remove)
        stack.enter_context(torch.set_grad_enabled(follow))
        batch = inputs.detach().clone()
        if follow:
            for parameter in model.parameters():
                if parameter.is_floating_point() or parameter.is_complex():
                    parameter.requires_grad_(True)
            if batch.is_floating_point():
                batch.requires_grad_(True)
                batch = batch * 1  # no leaf: the network may write to it
        logits = first_tensor(model(batch))
    if logits is not None:
        found.logits = logits.shape
        if logits.grad_fn is not None:
            _follow(model, found, logits, nodes)
    return found


def _follow(model: nn.Module, found: Trace, logits: Tensor, nodes: Mapping[str, Sequence[Any]]) -> None:
    """Notes what the graph behind the logits says."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    owners = {
        node: path
        for path, module in model.named_modules()
        if path and has_matrix(module)
        for node in nodes.get(path, ())
        if node is not None
    }
    reached = _ancestors(logits.grad_fn, stop=())
    parameters = {names.get(id(getattr(node, "variable", None))) for node in reached} - {None}
    found.without_effect = frozenset(names.values()) - parameters
    found.aside = frozenset(
        path
        for path, outputs in nodes.items()
        if outputs and all(node is not None and node not in reached for node in outputs)
    )
    last: dict[str, None] = {}
    for node in _ancestors(logits.grad_fn, stop=owners):
        variable = getattr(node, "variable", None)
        if node in owners:
            last[owners[node]] = None
        elif variable is not None and variable.ndim > 1 and id(variable) in names:
            last[names[id(variable)]] = None
    order = {path: place for place, path in enumerate(found.calls)}
    found.last_layers = tuple(sorted(last, key=lambda path: order.get(path, len(order))))


def _ancestors(node: Any, stop: Mapping[Any, str] | tuple[()]) -> set[Any]:
    """The nodes of PyTorch's graph from one on backwards; not beyond those in `stop`."""
    seen, waiting = {node}, [node]
    while waiting:
        here = waiting.pop()
        if here in stop:
            continue
        for before, _ in here.next_functions:
            if before is not None and before not in seen:
                seen.add(before)
                waiting.append(before)
    return seen


def has_matrix(module: nn.Module) -> bool:
    """True for a layer with a matrix, or a tensor of more axes, of its own, parametrized or not."""
    if "parametrizations" in module._modules:
        return True
    return any(parameter.ndim > 1 for parameter in module.parameters(recurse=False))


def tensors_in(output: object) -> Iterator[Tensor]:
    """All tensors in what a module gave: itself, or in a tuple, list or mapping, at any depth."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        yield from chain.from_iterable(map(tensors_in, output.values()))
    elif isinstance(output, (tuple, list)):
        yield from chain.from_iterable(map(tensors_in, output))


def first_tensor(output: object) -> Tensor | None:
    """The first tensor in what a module gave."""
    return next(tensors_in(output), None)


def batch_axis(
    shape: Sequence[int], num_samples: int, other: Sequence[int] | None, other_num_samples: int
) -> int | str:
    """The axis of an output that counts the samples, or why it can't be found.

    Args:
        shape: of the output for a batch of `num_samples`.
        num_samples: in the batch.
        other: shape of the same output for a batch of another size; None if it is not known.
        other_num_samples: in that batch.

    Returns:
        The first axis where that grows with the batch, or else the only one that does. "other batch size" if no
        axis does, "batch axis unknown" if several do, or if sizes alone can't say which one does.

    >>> batch_axis((16, 16, 8), 16, (16, 2, 8), 2), batch_axis((16, 16, 8), 16, (2, 16, 8), 2)
    (1, 0)
    >>> batch_axis((16, 16, 8), 16, None, 2), batch_axis((48, 8), 16, (6, 8), 2)
    ('batch axis unknown', 'other batch size')
    """
    axes = [axis for axis, size in enumerate(shape) if size == num_samples]
    if other is not None:
        axes = [axis for axis in axes if axis < len(other) and other[axis] == other_num_samples]
        axes = axes[:1] if axes[:1] == [0] else axes
    if not axes:
        return "other batch size"
    return axes[0] if len(axes) == 1 else "batch axis unknown"
