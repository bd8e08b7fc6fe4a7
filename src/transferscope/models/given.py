"""P from weights that the user gives: a file's tensors under the network's own names, checked."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from transferscope.config import Weights
from transferscope.errors import BadInput, shortened
from transferscope.models.build import modules_of
from transferscope.models.hub import published_file
from transferscope.models.init import random_init
from transferscope.models.modules import HEAD, Module, is_under
from transferscope.models.untrained import FRESH_DRAWS, untrained_modules
from transferscope.models.weight_files import read_state_dict
from transferscope.options import NetworkOptions

PREFIXES = ("module.", "model.", "net.", "network.", "backbone.", "encoder.", "base_model.", "base_encoder.")
"""What training scripts and wrappers put in front of a network's own names."""
COMPILED = "_orig_mod."
COUNTERS = ("n_averaged",)
"""What `torch.optim.swa_utils.AveragedModel` saves beside the average."""
SHOWN = 12
"""How many names of a kind a message lists."""


@dataclass(frozen=True, kw_only=True)
class GivenNetwork:
    """P as it was given."""

    state: dict[str, Tensor]
    """All tensors of the network by its own names; those of the head are a random draw."""
    modules: dict[str, Module]
    untrained: tuple[str, ...]
    """Modules that look as a new network does; empty unless that was allowed."""
    file: Path


def given_network(
    options: NetworkOptions, weights: Weights, num_classes: int, channels: int, image_size_px: int
) -> GivenNetwork:
    """The network with the given weights below a head drawn at random.

    Args:
        options: the network.
        weights: where the weights are.
        num_classes: of the head, which is not loaded.
        channels, image_size_px: of the images.

    Raises:
        BadInput: the file can't be had or read; tensors outside the head are missing, unexpected, of another
            shape or not finite (all are named); the weights are those of an untrained network.
    """
    file = weights.path or published_file(options, weights)
    given = read_state_dict(file, weights.entry)
    fresh = [random_init(options, num_classes, channels, seed, image_size_px) for seed in range(FRESH_DRAWS)]
    model = fresh[0]
    modules = modules_of(options, model, num_classes)
    state = match_state(given, model, modules[HEAD].prefixes, weights.key_map, str(file))
    untrained = untrained_modules(state, modules, fresh)
    if untrained and not weights.allow_untrained:
        raise BadInput(
            f"the weights in {file} look untrained: {_listed(untrained)} {'is' if len(untrained) == 1 else 'are'} as "
            "a new network is drawn (biases 0, scales 1, statistics of BatchNorm 0 and 1, the spread of the random "
            "initialization). Was the file saved before the training, or from a network into which nothing was "
            "loaded? If it is meant to be so, set source.weights.allow_untrained: true."
        )
    return GivenNetwork(state=state, modules=modules, untrained=tuple(untrained), file=file)


def match_state(
    given: Mapping[str, Tensor],
    model: nn.Module,
    head: Sequence[str],
    key_map: Mapping[str, str | None] | None,
    where: str,
    setting: str = "source.weights",
) -> dict[str, Tensor]:
    """The given tensors under the network's own names; the head stays the network's.

    Args:
        given: tensors by the names that they were saved under.
        model: the network.
        head: prefixes of its head's tensors.
        key_map: regular expression -> replacement, applied to each name in order; None drops the name.
        where: how messages call the weights.
        setting: where a study says what they are.

    Raises:
        BadInput: what doesn't fit outside the head, all at once.
    """
    own = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    named = mapped_names(given, key_map)
    plain = {name: tensor for name, tensor in named.items() if name not in COUNTERS or name in own}
    state = _without_prefixes(plain, own)
    if not _fits(state, own, head):
        state = _filtered(state, model)
    body = {name for name in own if not is_under(name, head)}
    counters = {name for name in body if name.endswith("num_batches_tracked")}
    missing = sorted(body - state.keys() - counters)
    unexpected = sorted(name for name in state.keys() - own.keys() if not is_under(name, head))
    shapes = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(own[name].shape)}"
        for name in sorted(body & state.keys())
        if state[name].shape != own[name].shape
    ]
    fitting = [name for name in body & state.keys() if state[name].shape == own[name].shape]
    cast = {name: state[name].to(own[name].dtype) for name in fitting}
    broken = sorted(name for name, tensor in cast.items() if not torch.isfinite(tensor).all())
    kinds = {"missing": missing, "unexpected": unexpected, "of another shape": shapes, "not finite": broken}
    if any(kinds.values()):
        said = [f"{len(names)} {kind}: {_listed(names)}" for kind, names in kinds.items() if names]
        mend = ""
        if missing or unexpected:
            mend = (
                f" Other names can be mapped by regular expressions, as in {setting}.key_map: "
                r'{"^encoder\.": ""}; null drops a name.'
            )
        elif shapes:
            same = (
                "the channels and the image size" if head else "the classes, the channels and the image size"
            )
            mend = f" Is the network the same, and are {same}?"
        else:
            mend = " Did the training diverge? Take weights of an earlier epoch."
        part = " outside its head" if head else ""
        raise BadInput(f"the weights in {where} don't fit the network{part}. {'; '.join(said)}.{mend}")
    return {name: cast[name].contiguous() if name in cast else tensor.clone() for name, tensor in own.items()}


def mapped_names(given: Mapping[str, Tensor], key_map: Mapping[str, str | None] | None) -> dict[str, Tensor]:
    """The tensors under the names that the map makes of theirs.

    >>> mapped_names({"a.w": torch.zeros(1), "b": torch.ones(1)}, {"^a": "stem", "^b$": None})
    {'stem.w': tensor([0.])}

    Raises:
        BadInput: two names become one.
    """
    found: dict[str, Tensor] = {}
    origins: dict[str, str] = {}
    for old, tensor in given.items():
        new: str | None = old.replace(COMPILED, "")
        for pattern, replacement in (key_map or {}).items():
            if new is not None and re.search(pattern, new):
                new = None if replacement is None else re.sub(pattern, replacement, new)
        if new is None:
            continue
        if new in found:
            raise BadInput(
                f"key_map makes '{new}' of both '{origins[new]}' and '{old}'. Make the patterns narrower."
            )
        found[new], origins[new] = tensor, old
    return found


def _without_prefixes(state: dict[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names without what stands in front of the network's own, for as long as more of them fit."""
    while True:
        known = len(state.keys() & own.keys())
        cuts = [
            {name.removeprefix(prefix): tensor for name, tensor in state.items()}
            for prefix in _prefixes_in(state, own)
            if any(name.startswith(prefix) for name in state)
        ]
        cuts = [cut for cut in cuts if len(cut) == len(state)]
        if not cuts:
            return state
        best = max(cuts, key=lambda names: len(names.keys() & own.keys()))
        if len(best.keys() & own.keys()) > known:
            state = best
        elif known == 0:
            state = cuts[0]  # one of several, as in module.model.
        else:
            return state


def _prefixes_in(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> list[str]:
    """The usual ones, and what stands in front of the network's first tensor: a wrapper may call it anything."""
    first = next(iter(own), "")
    return [*PREFIXES, *(name.removesuffix(first) for name in state if name.endswith(f".{first}"))]


def _fits(state: Mapping[str, Tensor], own: Mapping[str, Tensor], head: Sequence[str]) -> bool:
    body = {name: tensor.shape for name, tensor in own.items() if not is_under(name, head)}
    return all(name in state and state[name].shape == shape for name, shape in body.items())


def _filtered(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """What timm makes of weights from elsewhere: names of the original code, another size of image."""
    filter_of = getattr(sys.modules.get(type(model).__module__), "checkpoint_filter_fn", None)
    if not type(model).__module__.startswith("timm.") or filter_of is None:
        return state
    try:
        made = filter_of(dict(state), model)
    except Exception:  # made for other weights: what doesn't fit is said by name
        return state
    return {name: tensor for name, tensor in made.items() if isinstance(tensor, Tensor)}


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(shortened(name, 200) for name in names[:SHOWN]) + more
