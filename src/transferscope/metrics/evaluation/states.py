"""State dicts and networks as named tensors: reading, matching, grouping by module, writing in place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from transferscope.core.errors import BadInput, did_you_mean
from transferscope.metrics.inputs.arguments import prefixes_of_modules
from transferscope.metrics.inputs.guard import Lent
from transferscope.metrics.inputs.private_memory import storage_of
from transferscope.metrics.inputs.state_dicts import (
    RUNNING_STATISTICS,
    State,
    check_numbers,
    shorten,
    tensors_of,
)
from transferscope.metrics.inputs.tensor_names import COUNTERS, check_tied, fill_tied, named_as

Modules = Mapping[str, Sequence[str]]
"""Module name -> prefixes of the names of its tensors."""


def wide(tensor: Tensor) -> Tensor:
    """The tensor in float64, or complex128."""
    return tensor.to(torch.complex128 if tensor.is_complex() else torch.float64)


def is_under(name: str, prefixes: Iterable[str]) -> bool:
    """True if a dotted name equals one of the prefixes or lies below it.

    >>> is_under("layer1.0.weight", ["layer1"]), is_under("layer10.weight", ["layer1"])
    (True, False)
    """
    return any(name == prefix.rstrip(".") or name.startswith(prefix.rstrip(".") + ".") for prefix in prefixes)


def check_match(a: Mapping[str, Tensor], b: Mapping[str, Tensor], a_name: str, b_name: str) -> None:
    """Raises BadInput that names every kind of mismatch of keys and shapes."""
    problems = []
    for extra, owner, other in ((a.keys() - b.keys(), a_name, b_name), (b.keys() - a.keys(), b_name, a_name)):
        if extra:
            names = shorten(sorted(extra))
            problems.append(
                f"{owner} has tensors that {other} lacks: {names}. Compare the same architecture."
            )
    shapes = [
        f"{name} {tuple(a[name].shape)} and {tuple(b[name].shape)}"
        for name in a
        if name in b and a[name].shape != b[name].shape
    ]
    if shapes:
        problems.append(
            f"Shapes differ between {a_name} and {b_name}: {shorten(shapes)}. Compare the same architecture; "
            "leave out a head with other classes."
        )
    if problems:
        raise BadInput(problems)


def group_by_module(
    names: Sequence[str], modules: Modules | None, left_out: Iterable[str] = ()
) -> dict[str, list[str]]:
    """The names of each module, modules in the mapping's order; those of the first level with several by default.

    Args:
        names: of tensors.
        modules: module name -> prefixes; by default a module is the first dotted component of the names, below what
            wraps the whole network, such as `module.` of DistributedDataParallel.
        left_out: further names of the network, which also show whether one module wraps all.

    Raises:
        BadInput: a module without a tensor, or a tensor in two modules.

    >>> list(group_by_module(["module.a.weight", "module.a.bias", "module.b.weight"], None))
    ['module.a', 'module.b']
    """
    modules = prefixes_of_modules(modules)
    if modules is None:
        groups: dict[str, list[str]] = {}
        wrapper = _single_wrapper({*names, *left_out} - {*COUNTERS})
        for name in names:
            groups.setdefault(wrapper + name.removeprefix(wrapper).partition(".")[0], []).append(name)
        return groups
    groups = {module: [n for n in names if is_under(n, prefixes)] for module, prefixes in modules.items()}
    tops = {name.rpartition(".")[0] or name for name in names}
    problems = [
        f"Module '{module}' has no weights under {list(modules[module])}.{did_you_mean(module, tops)}"
        for module, found in groups.items()
        if not found
    ]
    owners: dict[str, str] = {}
    for module, found in groups.items():
        for name in found:
            if owners.setdefault(name, module) != module:
                problems.append(
                    f"'{name}' lies in the modules '{owners[name]}' and '{module}'; give it to one."
                )
    if problems:
        raise BadInput(problems)
    return groups


def _single_wrapper(names: Iterable[str]) -> str:
    """What stands in front of all names, above the first level with several modules: empty or ending in a dot."""
    wrapper, rest = "", set(names)
    while len(children := {name.partition(".")[0] for name in rest}) == 1:
        child = children.pop() + "."
        rest = {name.removeprefix(child) for name in rest}
        if not any("." in name and not name.startswith("parametrizations.") for name in rest):
            break  # a layer, of which only tensors are left
        wrapper += child
    return wrapper


def aligned(state: State, live: Lent, what: str, *, names: Iterable[str] | None = None) -> dict[str, Tensor]:
    """The tensors ready to be copied into `live`: its names, shapes, device, dtype; no shared memory.

    Args:
        state: a network or a state dict.
        live: the network's own tensors, not yet written.
        what: how errors call the state.
        names: which entries are needed; all of `live` by default, and then no others may be there.

    Raises:
        BadInput: names or shapes don't match; integers for weights; tied weights that differ; see `tensors_of`.
    """
    if live.is_merged and not isinstance(state, nn.Module):
        raise BadInput(
            "Expected a network in training mode, as its weights depend on the mode (adapters merge in eval()): "
            f"{what} doesn't tell in which mode it was read. Call model.train(), and read state dicts in training mode."
        )
    is_lent = state is live.model and live.depends_on_mode
    tensors = live.as_given() if is_lent else tensors_of(state, what)
    tensors = fill_tied(named_as(tensors, live), live)
    check_tied(tensors, live, what)
    check_numbers(tensors, live, what)
    wanted = dict(live) if names is None else {name: live[name] for name in names}
    given = tensors if names is None else {name: tensors[name] for name in wanted if name in tensors}
    check_match(given, wanted, what, "the model")
    ready = {}
    written = {storage_of(own) for own in live.values()} - {0}
    for name, own in wanted.items():
        tensor = given[name].to(own.device, own.dtype)
        ready[name] = tensor.clone() if storage_of(tensor) in written else tensor
    return ready


def batch_norm_statistics(model: nn.Module) -> set[str]:
    """Names of the running means and variances of the network's BatchNorm modules."""
    return {
        f"{name}.{kind}" if name else kind
        for name, module in model.named_modules()
        if _keeps_statistics(module)
        for kind in RUNNING_STATISTICS
    }


def re_estimate_batch_norm(model: nn.Module, inputs: Tensor, batch_size: int) -> None:
    """Replaces BatchNorm's running statistics by their plain average over the batches of `inputs`.

    Everything else stays in evaluation mode. Batches are of nearly equal size, so that none weighs too much.

    Args:
        model: a network that is lent (see `guard.lent`).
        inputs: (n, ...), training inputs as a rule.
        batch_size: largest batch.
    """
    norms = [module for module in model.modules() if _keeps_statistics(module)]
    momenta = [module.momentum for module in norms]
    device = device_of(model)
    try:
        for module in norms:
            module.reset_running_stats()
            module.momentum = None  # PyTorch's way of saying: cumulative average
            module.train()
        for batch in inputs.tensor_split(-(-len(inputs) // batch_size)):
            model(batch.to(device, copy=True))
    finally:
        for module, momentum in zip(norms, momenta, strict=True):
            module.momentum = momentum
            module.eval()


def device_of(model: nn.Module) -> torch.device:
    """The device of the network's first tensor; the CPU where it has none."""
    for tensor in chain(model.parameters(), model.buffers()):
        return tensor.device
    return torch.device("cpu")


def _keeps_statistics(module: nn.Module) -> TypeGuard[_BatchNorm]:
    return isinstance(module, _BatchNorm) and module.running_mean is not None
