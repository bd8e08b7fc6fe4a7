"""The parts of a network in the order of a pass, and the parts without an effect."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence, Set
from contextlib import suppress

import torch
from torch import Tensor, nn

from transferscope.core.errors import BadInput
from transferscope.metrics.evaluation.passes import Trace, has_no_effect, trace
from transferscope.models.modules.parts import Part

VARIED = 32
"""Number of further inputs used to check if a layer has an effect on any of them."""

_log = logging.getLogger(__name__)


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
    suspects, calls = _without_effect(model, parts, seen, example)
    not_reached = _beside_used_ones(model, parts, suspects, calls)
    unused = suspects - not_reached
    places = {path: place for place, path in enumerate(seen.calls)}
    ordered: list[tuple[int, int, Part]] = []
    place = -1
    for index, part in enumerate(parts):
        if part.path not in unused:
            place = min((places[path] for path in _below(part.path, seen.calls)), default=place)
            ordered.append((place, index, part))
    left_out = _whole(model, unused)
    _warn(model, left_out, _whole(model, not_reached), calls)
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


def _below(path: str, calls: Iterable[str]) -> list[str]:
    """The submodules of a part that are called."""
    return [each for each in calls if each == path or each.startswith(path + ".")]


def _warn(model: nn.Module, left_out: Sequence[str], not_reached: Sequence[str], calls: Set[str]) -> None:
    """Names the layers without an effect, and those that other inputs may reach."""
    called = [path for path in left_out if _below(path, calls)]
    others = [path for path in left_out if path not in called]
    name = type(model).__name__
    if called:
        _log.warning(
            "no effect on the logits of %s in evaluation mode: %s. They belong to no module, as auxiliary classifiers.",
            name,
            ", ".join(called),
        )
    if others:
        _log.warning(
            "not called by %s in evaluation mode: %s. They belong to no module. If some inputs do reach them, name the "
            "modules of the network (its attribute MODULES, or network.modules of a study).",
            name,
            ", ".join(others),
        )
    if not_reached:
        _log.warning(
            "not called by %s for the inputs that were tried: %s. Other inputs may reach them, as experts of a mixture "
            "beside those that were called: they count as modules.",
            name,
            ", ".join(not_reached),
        )


def _beside_used_ones(
    model: nn.Module, parts: Sequence[Part], suspects: Set[str], calls: Set[str]
) -> set[str]:
    """The suspects that were not called, and are elements of a list with others that have an effect.

    Experts of a mixture, or blocks that a gate chooses, are reached by some inputs alone.
    """
    used = [part.path for part in parts if part.path not in suspects and _below(part.path, calls)]
    found = set()
    for path in suspects:
        steps = path.split(".")
        for depth in range(1, len(steps)):
            parent, element = ".".join(steps[:depth]), ".".join(steps[: depth + 1])
            if (
                isinstance(model.get_submodule(parent), (nn.ModuleList, nn.ModuleDict))
                and not _below(element, calls)
                and any(each.startswith(parent + ".") for each in used)
            ):
                found.add(path)
    return found


def _without_effect(
    model: nn.Module, parts: Sequence[Part], seen: Trace, example: Tensor
) -> tuple[set[str], set[str]]:
    """The parts with parameters on which the logits don't depend, and the submodules that any pass called.

    The autograd graph of the pass gives the candidates. A network may cut the graph (`detach`, `no_grad`), so further
    passes decide.
    """
    calls = set(seen.calls)
    suspects = _suspects(model, parts, seen)
    if suspects:  # a router may send only other inputs through a layer
        with suppress(BadInput):
            varied = _varied(example)
            again = trace(model, varied)
            calls |= set(again.calls)
            suspects = {
                path: names for path, names in _suspects(model, parts, again).items() if path in suspects
            }
            example = varied
    if not suspects or has_no_effect(model, example, [name for names in suspects.values() for name in names]):
        return set(suspects), calls
    return {path for path, names in suspects.items() if has_no_effect(model, example, names)}, calls


def _suspects(model: nn.Module, parts: Sequence[Part], seen: Trace) -> dict[str, list[str]]:
    """The parts whose parameters the autograd graph doesn't reach, and the names of these parameters."""
    suspects: dict[str, list[str]] = {}
    for part in parts:
        if part.kind == "tensor" or not part.has_parameters:
            continue
        names = [f"{part.path}.{name}" for name, _ in model.get_submodule(part.path).named_parameters()]
        called = _below(part.path, seen.calls)
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
