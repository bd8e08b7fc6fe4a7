"""The named modules of any network: the stem, each block, what follows them, and the head.

`find_modules` runs the network once on an example. It uses the following rules, unless the network defines its modules
by an attribute `MODULES` (name -> patterns):

- head: the layers that return the logits: they have one output per class, and no other layer with a matrix follows.
  If there are several, such as two classifiers whose logits are averaged, all belong to the head. Without an example,
  it is timm's `get_classifier()`, or else the last defined layer with one output per class.
- block: an element of a list of modules (Sequential, ModuleList, ModuleDict) that is made of several layers, as a
  residual block or a transformer block is. Lists are searched from the top: in the network and in containers of
  lists (an encoder, a stage), never inside a block.
- stem: everything before the first block, and single parameters such as position embeddings.
- A layer between two blocks, such as a down-sampling, belongs to the block that follows it. A layer with a matrix after
  the last block is a separate module, named by its path; a normalization layer there is called `norm`.
- Networks without such blocks, such as VGG or a perceptron: each layer with a matrix is a module, together with the
  normalization layers that follow it; the first one is the stem.
- Layers without an effect on the logits in evaluation, such as auxiliary classifiers, belong to no module.

Modules are ordered by their first calls; without an example, by their definition. Every tensor with an effect
belongs to exactly one module. A tensor with several names (tied weights) is counted and moved with the first module
that contains it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import Tensor, nn

from transferscope.core.errors import BadInput
from transferscope.metrics.evaluation.passes import Trace, trace
from transferscope.models.modules.heads import head_paths
from transferscope.models.modules.order import in_order_of_calls
from transferscope.models.modules.parts import Part, parts_of
from transferscope.models.modules.patterns import named_places

STEM, HEAD, NORM = "stem", "head", "norm"
"""Names that mean the same in every network; the head is never transferred."""
SHOWN = 8
"""How many names an error lists."""

Choice = Literal["blocks", "stages"] | Mapping[str, str | Sequence[str]]
"""Each block, each stage, or name -> pattern or patterns of paths, where * stands for one step."""


@dataclass(frozen=True)
class Module:
    """One named module of a network."""

    prefixes: tuple[str, ...]
    """Its tensors: those whose names equal one of these or lie below it."""
    output: str
    """Path of the submodule whose output is the module's feature."""
    own: tuple[str, ...] | None = None
    """Names of its tensors without those that it shares with a module before it, or has twice; None where there are
    no such, empty where no parameter is left."""
    without_effect: tuple[str, ...] = ()
    """Only for the head: paths of layers that belong to no module, because the logits don't depend on them in
    evaluation."""


def find_modules(
    model: nn.Module,
    *,
    num_classes: int | None = None,
    choice: Choice = "blocks",
    example: Tensor | None = None,
) -> dict[str, Module]:
    """The modules of a network, from the stem to the head. See this file's first lines for the rule.

    Args:
        model: any network.
        num_classes: number of outputs; default: that of the logits of the example, or the last linear layer is
            the head.
        choice: "blocks", "stages" (blocks of one list together, where there are several lists), or the user's
            own names and patterns.
        example: inputs (n, ...) for a pass in evaluation mode, which determines the head, the order and the layers
            without an effect. The network is not changed. Not needed if the modules and the head are named.

    Returns:
        Name -> Module, in order; the head is called "head" and comes last.

    Raises:
        BadInput: no head is found; the user's patterns match nothing, overlap, or omit tensors; or the network can't
            process the example.

    >>> net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> {name: module.prefixes for name, module in find_modules(net, num_classes=2).items()}
    {'stem': ('0',), '2': ('2',), 'head': ('4',)}
    """
    own = getattr(model, "MODULES", None)
    if isinstance(own, Mapping) and not isinstance(choice, Mapping):
        choice = own
    is_named = isinstance(choice, Mapping)
    seen = None if example is None or (is_named and HEAD in choice) else trace(model, example)
    if num_classes is None and seen is not None and seen.logits is not None and len(seen.logits) > 1:
        num_classes = seen.logits[1]
    if is_named:
        found = _chosen(model, choice, num_classes, seen)
        unused = _not_named(found, in_order_of_calls(model, list(parts_of(model, ())), seen, example)[1])
    else:
        heads = head_paths(model, num_classes, seen)
        parts, unused = in_order_of_calls(model, list(parts_of(model, heads)), seen, example)
        found = _divided(parts, stages=choice == "stages")
        found[HEAD] = Module(heads, _called(model, heads[0]))
    found[HEAD] = replace(found[HEAD], without_effect=unused)
    _check_complete(model, found, unused)
    return {name: replace(module, own=own) for name, module, own in _counted_once(model, found)}


def drawn_anew(modules: Mapping[str, Module]) -> tuple[str, ...]:
    """Prefixes of tensors that are never transferred: the head, and layers without an effect on the logits."""
    return (*modules[HEAD].prefixes, *modules[HEAD].without_effect)


def prefixes_of(modules: Mapping[str, Module]) -> dict[str, tuple[str, ...]]:
    """Module name -> prefixes of its tensors, as the metrics expect; shared tensors belong to the first module.

    A module is omitted if all its parameters belong to earlier modules.
    """
    tied = [
        f"{name} ({'all' if not module.own else 'some'})"
        for name, module in modules.items()
        if module.own is not None
    ]
    if tied:
        logging.getLogger(__name__).info(
            "modules that share weights with one before them, where these are counted and moved: %s",
            ", ".join(tied),
        )
    owned = {name: module.prefixes if module.own is None else module.own for name, module in modules.items()}
    return {name: prefixes for name, prefixes in owned.items() if prefixes}


def is_under(name: str, prefixes: Sequence[str]) -> bool:
    """True if a dotted name equals one of the prefixes or lies below it."""
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


def _divided(parts: list[Part], *, stages: bool) -> dict[str, Module]:
    """Parts as modules by name."""
    listed = [place for place, part in enumerate(parts) if part.kind == "block" and part.in_list is not None]
    blocks = listed or [place for place, part in enumerate(parts) if part.kind == "block"]
    single = [part for part in parts if part.kind == "tensor" and part.has_parameters]
    if not blocks:
        return _by_layer(parts)
    first, last = blocks[0], blocks[-1]
    before = [part for part in parts[:first] if part not in single]
    groups: list[tuple[str, list[Part]]] = []
    if before or single:
        groups.append((STEM, [*before, *single]))
    waiting: list[Part] = []
    for place in range(first, last + 1):
        part = parts[place]
        if part in single:
            continue
        waiting.append(part)
        if place in blocks:
            groups.append((part.path, waiting))
            waiting = []
    if not (before or single):
        groups[0] = (STEM, groups[0][1])
    if stages:
        groups = _by_stage(groups)
    for part in parts[last + 1 :]:
        if part in single:
            continue
        if part.kind in ("layer", "block"):
            groups.append((part.path, [part]))
        elif (
            part.has_parameters
            and groups[-1][1][-1].kind == "block"
            and groups[-1][1][-1] in parts[: last + 1]
        ):
            groups.append((NORM, [part]))
        else:
            groups[-1][1].append(part)
    return _named(groups)


def _by_layer(parts: Sequence[Part]) -> dict[str, Module]:
    """One module per layer with a matrix; earlier parts belong to the first module."""
    groups: list[tuple[str, list[Part]]] = []
    for part in parts:
        opens = part.kind == "layer" and any(each.kind == "layer" for _, group in groups for each in group)
        if opens or not groups:
            groups.append((part.path if groups else STEM, [part]))
        else:
            groups[-1][1].append(part)
    return _named(groups)


def _by_stage(groups: list[tuple[str, list[Part]]]) -> list[tuple[str, list[Part]]]:
    """Group consecutive blocks of the same list, unless there is only one list."""
    lists = {group[-1].in_list for name, group in groups if name != STEM}
    if len(lists) < 2:
        return groups
    joined: list[tuple[str, list[Part]]] = []
    for name, group in groups:
        of_list = None if name == STEM else group[-1].in_list
        if of_list is not None and joined and joined[-1][0] == of_list:
            joined[-1][1].extend(group)
        else:
            joined.append((name if of_list is None else of_list, list(group)))
    return joined


def _named(groups: Sequence[tuple[str, Sequence[Part]]]) -> dict[str, Module]:
    found: dict[str, Module] = {}
    for name, group in groups:
        taken = name in found or (name == HEAD)
        found[f"{name} (body)" if taken else name] = Module(
            tuple(part.path for part in group), _feature_of(group)
        )
    return found


def _feature_of(group: Sequence[Part]) -> str:
    """The last submodule of a module; for embeddings the first one, because position embeddings have no batch axis."""
    called = [part for part in group if part.kind != "tensor"]
    others = [part for part in called if not part.is_embedding]
    if others:
        return others[-1].path
    return called[0].path if called else group[0].path.rpartition(".")[0]


def _chosen(
    model: nn.Module, choice: Mapping[str, Any], num_classes: int | None, seen: Trace | None
) -> dict[str, Module]:
    """The user's modules, and the head unless the user named it."""
    found = {
        name: Module(prefixes, output) for name, (prefixes, output) in named_places(model, choice).items()
    }
    if HEAD not in found:
        heads = head_paths(model, num_classes, seen)
        found[HEAD] = Module(heads, _called(model, heads[0]))
    found[HEAD] = found.pop(HEAD)
    return found


def _called(model: nn.Module, head: str) -> str:
    """The path of a head; if it is a matrix outside a layer, the path of its container."""
    return head if any(path == head for path, _ in model.named_modules()) else head.rpartition(".")[0]


def _not_named(named: Mapping[str, Module], unused: Sequence[str]) -> tuple[str, ...]:
    """Parts without an effect on the logits that no module of the user includes."""
    return tuple(
        place
        for place in unused
        if not any(
            is_under(place, module.prefixes) or any(is_under(prefix, (place,)) for prefix in module.prefixes)
            for module in named.values()
        )
    )


def _counted_once(
    model: nn.Module, modules: Mapping[str, Module]
) -> Iterator[tuple[str, Module, tuple[str, ...] | None]]:
    """Each module with its `own` tensors, so that shared ones are counted once."""
    tensors = model.state_dict(keep_vars=True)
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    seen: set[int] = set()
    for name, module in modules.items():
        names = [tensor for tensor in tensors if is_under(tensor, module.prefixes)]
        own = []
        for tensor in names:
            if id(tensors[tensor]) not in seen:
                seen.add(id(tensors[tensor]))
                own.append(tensor)
        if len(own) == len(names):
            yield name, module, None
        else:
            yield name, module, tuple(own) if parameters.intersection(own) else ()


def _check_complete(model: nn.Module, modules: Mapping[str, Module], unused: Sequence[str]) -> None:
    """Raises BadInput unless each tensor with an effect is in exactly one module, and each module has a parameter."""
    tensors = model.state_dict(keep_vars=True)
    owners: dict[str, list[str]] = {name: [] for name in tensors}
    for name, module in modules.items():
        for tensor in owners:
            if is_under(tensor, module.prefixes):
                owners[tensor].append(name)
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    owned = {id(tensors[tensor]) for tensor, names in owners.items() if names}
    left = [
        tensor
        for tensor, names in owners.items()
        if not names and id(tensors[tensor]) not in owned and not is_under(tensor, unused)
    ]
    shared = [f"{tensor} ({', '.join(names)})" for tensor, names in owners.items() if len(names) > 1]
    empty = [
        name
        for name in modules
        if not any(name in owners[tensor] for tensor in owners if tensor in parameters)
    ]
    problems = []
    if left:
        problems.append(f"modules leaves out {_first(left)}. Give them to a module, as in rest: [{left[0]}].")
    if shared:
        problems.append(f"modules gives tensors to several modules: {_first(shared)}.")
    if empty:
        problems.append(f"modules without a parameter: {_first(empty)}.")
    if problems:
        raise BadInput(problems)


def _first(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
