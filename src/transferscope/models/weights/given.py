"""P from weights given by the user: loaded from a file, renamed to the network's names, and checked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from transferscope.core.config import Weights
from transferscope.core.errors import BadInput
from transferscope.core.options import NetworkOptions
from transferscope.metrics.inputs.state_dicts import check_numbers, check_plain
from transferscope.metrics.inputs.tensor_names import check_tied, fill_tied, named_as, plain_name
from transferscope.models.build import modules_of
from transferscope.models.init import random_init
from transferscope.models.modules.find import Module, drawn_anew, is_under
from transferscope.models.weights.files import read_state_dict
from transferscope.models.weights.hub import published_file
from transferscope.models.weights.misfits import (
    Shapes,
    how_to_rename,
    listed,
    renamed_by_transformers,
    resampled_by_timm,
)
from transferscope.models.weights.untrained import FRESH_DRAWS, untrained_modules


@dataclass(frozen=True, kw_only=True)
class GivenNetwork:
    """P, loaded from given weights."""

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
    modules = modules_of(options, model, num_classes, channels, image_size_px)
    state = match_state(given, model, drawn_anew(modules), weights.key_map, str(file))
    untrained = untrained_modules(state, modules, fresh)
    if untrained and not weights.allow_untrained:
        raise BadInput(
            f"the weights in {file} look untrained: {listed(untrained)} {'is' if len(untrained) == 1 else 'are'} as "
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
    optional: Sequence[str] = (),
) -> dict[str, Tensor]:
    """The given tensors under the network's own names; the head stays the network's.

    Args:
        given: tensors by the names that they were saved under.
        model: the network.
        head: prefixes of its head's tensors.
        key_map: regular expression -> replacement, applied to each name in order; None drops the name.
        where: how messages call the weights.
        setting: where a study says what they are.
        optional: prefixes of tensors that may be missing, as the logits don't depend on them.

    Raises:
        BadInput: what doesn't fit outside the head, all at once; adapters that are not merged; quantized weights;
            weights of a layer that were made for another patch size.
    """
    own = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    check_plain(given, where)
    state = fill_tied(named_as(mapped_names(given, key_map), own), own)
    if not _fits(state, own, head):
        state = fill_tied(resampled_by_timm(state, model, where), own)
    if not _fits(state, own, head):
        state = fill_tied(renamed_by_transformers(state, model), own)
    body = {name for name in own if not is_under(name, head)}
    counters = {name for name in body if name.endswith("num_batches_tracked")}
    needed = {name for name in body - counters if not is_under(name, optional)}
    missing = {name: tuple(own[name].shape) for name in sorted(needed - state.keys())}
    unexpected = {
        name: tuple(state[name].shape)
        for name in sorted(state.keys() - own.keys())
        if not is_under(name, head)
    }
    shapes = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(own[name].shape)}"
        for name in sorted(body & state.keys())
        if state[name].shape != own[name].shape
    ]
    fitting = {name: state[name] for name in own if name in body & state.keys()}
    fitting = {name: tensor for name, tensor in fitting.items() if tensor.shape == own[name].shape}
    check_numbers(fitting, own, where)
    check_tied(fitting, own, where)
    cast = {name: tensor.to(own[name].dtype) for name, tensor in fitting.items()}
    broken = sorted(name for name, tensor in cast.items() if not torch.isfinite(tensor).all())
    kinds = {
        "missing": list(missing),
        "unexpected": list(unexpected),
        "of another shape": shapes,
        "not finite": broken,
    }
    if any(kinds.values()):
        texts = [f"{len(names)} {kind}: {listed(names)}" for kind, names in kinds.items() if names]
        outside = " outside its head" if head else ""
        raise BadInput(
            f"the weights in {where} don't fit the network{outside}. {'; '.join(texts)}."
            + (_other_channels(state, own, shapes) or _how_to_fit(missing, unexpected, shapes, head, setting))
        )
    return {name: cast[name].contiguous() if name in cast else tensor.clone() for name, tensor in own.items()}


def _other_channels(state: Mapping[str, Tensor], own: Mapping[str, Tensor], shapes: Sequence[str]) -> str:
    """What to do if, of the body, only the number of input channels of one convolution differs; else empty."""
    name = shapes[0].partition(" ")[0] if len(shapes) == 1 else ""
    if not name or state[name].ndim != 4 or own[name].ndim != 4:
        return ""
    given, wanted = list(state[name].shape), list(own[name].shape)
    if given[:1] + given[2:] != wanted[:1] + wanted[2:]:
        return ""
    plural = "s" if given[1] > 1 else ""
    return (
        f" The weights take images with {given[1]} channel{plural}, and these data have {wanted[1]}. The option "
        f"`channels: {given[1]}` of the data sets imagefolder and table gives images with {given[1]} (compare: --set "
        f"data.channels={given[1]}); the normalization then needs {given[1]} mean{plural} and std."
    )


def _how_to_fit(
    missing: Shapes, unexpected: Shapes, shapes: Sequence[str], head: Sequence[str], setting: str
) -> str:
    if missing or unexpected:
        return how_to_rename(missing, unexpected, setting)
    if shapes:
        same = "the channels and the image size" if head else "the classes, the channels and the image size"
        return f" Is the network the same, and are {same}?"
    return " Did the training diverge? Take weights of an earlier epoch."


def mapped_names(given: Mapping[str, Tensor], key_map: Mapping[str, str | None] | None) -> dict[str, Tensor]:
    """The tensors, renamed by the key map.

    >>> mapped_names({"a.w": torch.zeros(1), "b": torch.ones(1)}, {"^a": "stem", "^b$": None})
    {'stem.w': tensor([0.])}

    Raises:
        BadInput: two names become one.
    """
    found: dict[str, Tensor] = {}
    origins: dict[str, str] = {}
    for old, tensor in given.items():
        new: str | None = plain_name(old)
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


def _fits(state: Mapping[str, Tensor], own: Mapping[str, Tensor], head: Sequence[str]) -> bool:
    body = {name: tensor.shape for name, tensor in own.items() if not is_under(name, head)}
    return all(name in state and state[name].shape == shape for name, shape in body.items())
