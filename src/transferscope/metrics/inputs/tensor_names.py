"""Translation of tensor names between a state dict and a network, one of which may have the prefix of a wrapper."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from transferscope.core.errors import BadInput
from transferscope.metrics.inputs.state_dicts import is_continuous, shorten

WRAPPERS = re.compile(
    r"(^|(?<=\.))(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module)\."
)
"""Components that torch.compile, FSDP, activation checkpointing and Fabric insert into names."""
PREFIXES = ("module.", "model.", "net.", "network.", "backbone.", "encoder.", "base_model.", "base_encoder.")
"""Prefixes that training scripts and wrappers add to names."""
COUNTERS = ("n_averaged",)
"""The counter that `torch.optim.swa_utils.AveragedModel` saves in addition to the average."""
TRIED = 3
"""How many names are tried to find the prefix of a wrapped network."""


def plain_name(name: str) -> str:
    """A name without the components that torch.compile and other wrappers insert.

    >>> plain_name("module._orig_mod.fc.weight")
    'module.fc.weight'
    """
    return WRAPPERS.sub("", name)


def named_as(given: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The given tensors under a network's own names, as far as one prefix makes the difference.

    The prefix of a wrapper (DistributedDataParallel, torch.compile, a module around the network) is removed if the
    network lacks it, and added if the network has it and the file does not. Nothing changes where two prefixes fit
    equally well. Tensors that the network lacks keep a name, so that the caller can report them.

    Args:
        given: a state dict.
        own: the network's tensors by name.

    Raises:
        BadInput: two names become one.

    >>> one = torch.zeros(1)
    >>> list(named_as({"module.fc.weight": one}, {"fc.weight": one}))
    ['fc.weight']
    >>> list(named_as({"fc.weight": one}, {"model.fc.weight": one}))
    ['model.fc.weight']
    """
    if given.keys() == own.keys():
        return dict(given)
    plain_own = {plain_name(name): name for name in own}
    plain: dict[str, Tensor] = {}
    for name, tensor in given.items():
        if name in COUNTERS and name not in own:
            continue
        if plain_name(name) in plain:
            raise BadInput(f"The state dict holds '{plain_name(name)}' twice, once with the name '{name}'.")
        plain[plain_name(name)] = tensor
    return {plain_own.get(name, name): tensor for name, tensor in _matched(plain, plain_own).items()}


def _matched(state: dict[str, Tensor], own: Mapping[str, str]) -> dict[str, Tensor]:
    """Names with one prefix less or more, for as long as more of them fit."""
    while True:
        known = len(state.keys() & own.keys())
        cuts = [
            {name.removeprefix(prefix): tensor for name, tensor in state.items()}
            for prefix in _prefixes_in(state, own)
            if any(name.startswith(prefix) for name in state)
        ]
        cuts = [cut for cut in cuts if len(cut) == len(state)]
        best = max([*cuts, _with_prefix(state, own)], key=lambda names: len(names.keys() & own.keys()))
        if len(best.keys() & own.keys()) > known:
            state = best
        elif known == 0 and cuts:
            state = cuts[0]  # one of several, as in module.model.
        else:
            return state


def _prefixes_in(state: Mapping[str, Tensor], own: Mapping[str, str]) -> list[str]:
    """The usual ones, and what stands in front of the network's first tensor: a wrapper may call it anything."""
    first = next(iter(own), "")
    return [*PREFIXES, *(name.removesuffix(first) for name in state if name.endswith(f".{first}"))]


def _with_prefix(state: dict[str, Tensor], own: Mapping[str, str]) -> dict[str, Tensor]:
    """Names with what stands in front of them in a wrapped network, if exactly one prefix fits best."""
    lacking = [name for name in own if name not in state]
    unexpected = [name for name in state if name not in own]
    prefixes = {
        name.removesuffix(short)
        for short in unexpected[:TRIED]
        for name in lacking
        if name.endswith(f".{short}")
    }
    fits = {
        prefix: sum(prefix + name in own and prefix + name not in state for name in unexpected)
        for prefix in prefixes
    }
    best = max(fits.values(), default=0)
    chosen = [prefix for prefix, count in fits.items() if count == best]
    if len(chosen) != 1:
        return state
    return {name if name in own else chosen[0] + name: tensor for name, tensor in state.items()}


def tied_names(own: Mapping[str, Tensor]) -> list[list[str]]:
    """Names of one tensor (tied weights), as far as they share memory.

    >>> weight = torch.zeros(2)
    >>> tied_names({"a": weight, "b": weight, "c": torch.zeros(2)})
    [['a', 'b']]
    """
    places: dict[tuple[object, ...], list[str]] = {}
    for name, tensor in own.items():
        places.setdefault(place_of(tensor), []).append(name)
    return [names for names in places.values() if len(names) > 1]


def first_names(tensors: Mapping[str, Tensor], names: Iterable[str] | None = None) -> list[str]:
    """The names without those that are a further name of the same tensor, as tied weights have.

    Args:
        tensors: a network's own tensors.
        names: which of them count; all by default.

    >>> weight = torch.ones(2)
    >>> first_names({"enc.weight": weight, "dec.weight": weight, "dec.bias": torch.ones(2)})
    ['enc.weight', 'dec.bias']
    """
    firsts: dict[tuple[object, ...], str] = {}
    for name in tensors if names is None else names:
        firsts.setdefault(place_of(tensors[name]), name)
    return list(firsts.values())


def fill_tied(given: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The given tensors, also under further names that a network has for them: safetensors saves tied weights once.

    >>> weight, saved = torch.zeros(2), torch.ones(2)
    >>> sorted(fill_tied({"a": saved}, {"a": weight, "b": weight}))
    ['a', 'b']
    """
    filled = dict(given)
    for names in tied_names(own):
        present = [name for name in names if name in given]
        if present:
            filled.update({name: given[present[0]] for name in names if name not in given})
    return filled


def check_tied(given: Mapping[str, Tensor], own: Mapping[str, Tensor], what: str) -> None:
    """Raises BadInput if a network has one tensor under several names for which the given numbers differ."""
    for names in tied_names(own):
        present = [name for name in names if name in given]
        differing = [name for name in present[1:] if not same_numbers(given[present[0]], given[name])]
        if differing:
            raise BadInput(
                f"{what} has other numbers in {shorten(differing)} than in {present[0]}, but in the network these are "
                "one tensor (tied weights). Give weights that were trained with this network, or untie it."
            )


def place_of(tensor: Tensor) -> tuple[object, ...]:
    """Identifies the memory of a tensor: storage, offset, shape and strides. Two names of one tensor share it."""
    storage = tensor.untyped_storage().data_ptr()
    # An empty or a fake tensor has no address of its own: nothing can be known of it.
    address = (storage, tensor.storage_offset()) if storage else (id(tensor), 0)
    return (tensor.device, *address, tuple(tensor.shape), tensor.stride())


def same_numbers(tensor: Tensor, twin: Tensor) -> bool:
    """True if two tensors hold equal numbers, NaN at the same places included."""
    if place_of(tensor) == place_of(twin):
        return True
    if tensor.shape != twin.shape or tensor.dtype != twin.dtype:
        return False
    if not is_continuous(tensor):
        return torch.equal(tensor, twin)
    return torch.allclose(tensor, twin, rtol=0, atol=0, equal_nan=True)
