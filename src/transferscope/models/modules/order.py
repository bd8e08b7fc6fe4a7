"""The parts of a network in the order of a pass, and the parts without an effect."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress

import torch
from torch import Tensor, nn

from transferscope.core.errors import BadInput
from transferscope.metrics.evaluation.passes import Trace, has_no_effect, trace
from transferscope.models.modules.parts import Part

VARIED = 32
"""Number of further inputs used to check if a layer has an effect on any of them."""


def in_order_of_calls(
    model: nn.Module, parts: Sequence[Part], seen: Trace | None, example: Tensor | None
) -> tuple[list[Part], tuple[str, ...]]:
    """The parts ordered by their first call, and the paths of the parts without an effect on the logits.

    A part that is used without being called, such as a single tensor, follows the part that is defined before it.

    Args:
        model: the network.
        parts: its parts, in the order of their definition.
        seen, example: the trace of a pass, and its inputs; without them, the order doesn't change.
    """
    if seen is None or example is None:
        return list(parts), ()
    unused = _without_effect(model, parts, seen, example)
    places = {path: place for place, path in enumerate(seen.calls)}
    ordered: list[tuple[int, int, Part]] = []
    place = -1
    for index, part in enumerate(parts):
        if part.path not in unused:
            place = min((places[path] for path in _below(part.path, seen)), default=place)
            ordered.append((place, index, part))
    left_out = _whole(model, unused)
    if left_out:
        logging.getLogger(__name__).warning(
            "%s of %s have no effect on the logits in evaluation mode, as auxiliary classifiers have none: they belong "
            "to no module",
            ", ".join(left_out),
            type(model).__name__,
        )
    ordered.sort(key=lambda each: each[:2])
    return _with_their_blocks([(index, part) for _, index, part in ordered]), left_out


def _with_their_blocks(ordered: Sequence[tuple[int, Part]]) -> list[Part]:
    """Some layers, such as the shortcut around a stack of blocks, are defined before these blocks but called after
    them. Move such a layer before the blocks if its path is closer to theirs than to that of the next block.

    Args:
        ordered: the parts by their first call, each with its position in the order of definition.
    """
    result: list[tuple[int, Part]] = []
    for position, (index, part) in enumerate(ordered):
        place = len(result)
        if part.kind in ("layer", "small"):
            following = next((each for _, each in ordered[position + 1 :] if each.kind == "block"), None)
            nearness = 0 if following is None else _shared_steps(part, following)
            around = (
                at
                for at, (defined, each) in enumerate(result)
                if each.kind == "block" and defined > index and _shared_steps(part, each) > nearness
            )
            place = next(around, place)
        result.insert(place, (index, part))
    return [part for _, part in result]


def _shared_steps(one: Part, other: Part) -> int:
    """Number of steps that two paths have in common at their beginning."""
    pairs = list(zip(one.path.split("."), other.path.split("."), strict=False))
    return next((count for count, (a, b) in enumerate(pairs) if a != b), len(pairs))


def _below(path: str, seen: Trace) -> list[str]:
    """The submodules of a part that are called."""
    return [each for each in seen.calls if each == path or each.startswith(path + ".")]


def _without_effect(model: nn.Module, parts: Sequence[Part], seen: Trace, example: Tensor) -> set[str]:
    """The parts with parameters on which the logits don't depend.

    The autograd graph of the pass gives the candidates. A network may cut the graph (`detach`, `no_grad`), so further
    passes decide.
    """
    suspects = _suspects(model, parts, seen)
    if suspects:  # a router may send only other inputs through a layer
        with suppress(BadInput):
            varied = _varied(example)
            suspects = {
                path: names
                for path, names in _suspects(model, parts, trace(model, varied)).items()
                if path in suspects
            }
            example = varied
    if not suspects or has_no_effect(model, example, [name for names in suspects.values() for name in names]):
        return set(suspects)
    return {path for path, names in suspects.items() if has_no_effect(model, example, names)}


def _suspects(model: nn.Module, parts: Sequence[Part], seen: Trace) -> dict[str, list[str]]:
    """The parts whose parameters the autograd graph doesn't reach, and the names of these parameters."""
    suspects: dict[str, list[str]] = {}
    for part in parts:
        if part.kind == "tensor" or not part.has_parameters:
            continue
        names = [f"{part.path}.{name}" for name, _ in model.get_submodule(part.path).named_parameters()]
        called = _below(part.path, seen)
        if seen.without_effect.issuperset(names) and seen.aside.issuperset(called):
            suspects[part.path] = names
    return suspects


def _varied(example: Tensor) -> Tensor:
    """Other inputs of the same kind: random numbers with the mean and spread of the example, or a random selection
    of its values."""
    source = torch.Generator().manual_seed(0)
    shape = (VARIED, *example.shape[1:])
    if example.is_floating_point():
        scale = float(example.std()) if example.numel() > 1 else 0.0
        random = torch.randn(shape, generator=source, dtype=torch.float32)
        return (random * (scale or 1.0) + float(example.mean())).to(example)
    places = torch.randint(example.numel(), shape, generator=source)
    return example.flatten()[places.to(example.device)]


def _whole(model: nn.Module, places: set[str]) -> tuple[str, ...]:
    """The paths in the order of definition; a module replaces its parts if all of them are included."""
    found: list[str] = []
    for path, module in model.named_modules():
        if any(path == each or path.startswith(each + ".") for each in found):
            continue
        names = [f"{path}.{name}" for name in module.state_dict()]
        if path and names and all(any(n.startswith(each + ".") for each in places) for n in names):
            found.append(path)
    return tuple(found)
