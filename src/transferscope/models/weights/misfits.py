"""What to do about tensors that don't fit a network: names that may be meant, and layers that were resampled."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from transferscope.core.errors import BadInput, shortened

SHOWN = 12
"""How many names of a kind a message lists."""
MOST_SUGGESTED = 4
"""How many entries a suggested key_map has at most."""
Shapes = Mapping[str, tuple[int, ...]]

_LOG = logging.getLogger(__name__)


def suggested_key_map(missing: Shapes, unexpected: Shapes) -> dict[str, str]:
    """Regular expressions that give unexpected layers the names of missing ones, where the shapes leave one choice.

    >>> suggested_key_map({"fc.weight": (4, 8), "fc.bias": (4,)}, {"fc.1.weight": (4, 8), "fc.1.bias": (4,)})
    {'^fc[.]1[.]': 'fc.'}
    """
    wanted, offered = _by_layer(missing), _by_layer(unexpected)
    found = {}
    for layer, shapes in wanted.items():
        alike = [other for other, its in offered.items() if its == shapes]
        rivals = [other for other, its in wanted.items() if its == shapes]
        if layer and len(alike) == 1 and alike[0] and len(rivals) == 1:
            found[f"^{alike[0].replace('.', '[.]')}[.]"] = f"{layer}."
    return found if len(found) <= MOST_SUGGESTED else {}


def _by_layer(shapes: Shapes) -> dict[str, dict[str, tuple[int, ...]]]:
    layers: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, shape in shapes.items():
        layer, _, leaf = name.rpartition(".")
        layers.setdefault(layer, {})[leaf] = shape
    return layers


def how_to_rename(missing: Shapes, unexpected: Shapes, setting: str) -> str:
    """The key_map that would make the names fit, or an example of one."""
    usage = "on the command line after --set, in Python in overrides"
    suggested = suggested_key_map(missing, unexpected)
    if suggested:
        entries = ", ".join(f'"{shortened(old)}": "{shortened(new)}"' for old, new in suggested.items())
        return (
            f" The shapes fit with other names. If these are the same layers, set {setting}.key_map={{{entries}}} "
            f"({usage})."
        )
    return (
        f" Other names can be mapped by regular expressions, as in {setting}.key_map={{"
        f'"^encoder[.]": "", "^queue": null}} ({usage}); null drops a name. For layers that the network lacks, define '
        "the same network as in the training."
    )


def resampled_by_timm(state: dict[str, Tensor], model: nn.Module, where: str) -> dict[str, Tensor]:
    """What timm makes of weights from elsewhere: names of the original code, position embeddings of another size.

    Args:
        state: tensors by the names in the file.
        model: the network; other networks than timm's leave the tensors as they are.
        where: how messages call the weights.

    Raises:
        BadInput: timm would resample the weights of a layer, such as those of another patch size.
    """
    filter_of = getattr(sys.modules.get(type(model).__module__), "checkpoint_filter_fn", None)
    if not type(model).__module__.startswith("timm.") or filter_of is None:
        return state
    try:
        made = filter_of(dict(state), model)
    except Exception:  # made for other weights: what doesn't fit is said by name
        return state
    tensors = {name: tensor for name, tensor in made.items() if isinstance(tensor, Tensor)}
    _check_resampled(state, tensors, model, where)
    return tensors


def _check_resampled(
    before: Mapping[str, Tensor], after: Mapping[str, Tensor], model: nn.Module, where: str
) -> None:
    own, sizes = model.state_dict(), {tensor.numel() for tensor in before.values()}
    changed = {
        name: f"{name} {tuple(before[name].shape)} to {tuple(tensor.shape)}" if name in before else name
        for name, tensor in after.items()
        if name in own
        and tensor.shape == own[name].shape
        and (before[name].numel() != tensor.numel() if name in before else tensor.numel() not in sizes)
    }
    kernels = [text for name, text in changed.items() if _is_of_layer(name, model)]
    if kernels:
        raise BadInput(
            f"the weights in {where} are for another patch size: timm would resample {listed(kernels)}, which changes "
            "what the network computes. Give the network the patch size of its training, as in "
            "network.arguments={patch_size: 16}, or another model name."
        )
    if changed:
        _LOG.warning(
            "the weights in %s are for another image size or window: timm resampled %s. If you know the accuracy at "
            "their own size, set it: data.image_size_px",
            where,
            listed(list(changed.values())),
        )


def _is_of_layer(name: str, model: nn.Module) -> bool:
    return isinstance(model.get_submodule(name.rpartition(".")[0]), nn.Conv2d | nn.Conv3d | nn.Linear)


def renamed_by_transformers(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """What transformers makes of the names in a file: some of its networks have other names in memory.

    Args:
        state: tensors by the names in the file, behind the prefix of the network inside of `model`.
        model: a network of transformers, or one with such a network inside; others leave the tensors as they are.
    """
    base = getattr(sys.modules.get("transformers"), "PreTrainedModel", None)
    place = next((name for name, each in model.named_modules() if base and isinstance(each, base)), None)
    if place is None:
        return state
    network: Any = model.get_submodule(place)
    prefix = f"{place}." if place else ""
    inside = {name.removeprefix(prefix): state[name] for name in state if name.startswith(prefix)}
    options = {"dtype": network.dtype, "output_loading_info": True, "ignore_mismatched_sizes": True}
    try:
        with torch.random.fork_rng(devices=[]):
            loaded, info = type(network).from_pretrained(
                None, config=network.config, state_dict=dict(inside), **options
            )
    except Exception:  # made for other weights: what doesn't fit is said by name
        return state
    mismatched = {entry[0] for entry in info["mismatched_keys"]}
    made = {
        name: tensor.detach()
        for name, tensor in loaded.state_dict().items()
        if name not in mismatched and name not in info["missing_keys"]
    }
    left = {name: inside[name] for name in {*mismatched, *info["unexpected_keys"]} if name in inside}
    outside = {name: tensor for name, tensor in state.items() if not name.startswith(prefix)}
    return outside | {prefix + name: tensor for name, tensor in (made | left).items()}


def listed(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(shortened(name, 200) for name in names[:SHOWN]) + more
