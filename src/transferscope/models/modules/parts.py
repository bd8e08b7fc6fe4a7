"""The indivisible parts of a network: blocks, layers and single tensors, which `find` groups into modules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn

LISTS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


@dataclass
class Part:
    """An indivisible part of a network."""

    path: str
    kind: Literal["block", "layer", "small", "tensor"]
    """block: several layers. Otherwise a layer with a matrix, a layer without one (such as a normalization), or a
    tensor."""
    in_list: str | None = None
    """Path of the list that contains it."""
    is_embedding: bool = False
    has_parameters: bool = True


def parts_of(model: nn.Module, heads: Sequence[str]) -> Iterator[Part]:
    """The parts in the order of their definition, without the head."""
    yield from _below(model, "", heads, in_wrapper=True)


def _below(module: nn.Module, path: str, heads: Sequence[str], *, in_wrapper: bool) -> Iterator[Part]:
    prefix = f"{path}." if path else ""
    parameters = {name for name, _ in module.named_parameters(recurse=False)}
    for name in (each for each in module.state_dict(keep_vars=True) if "." not in each):
        if prefix + name in heads:
            continue
        yield Part(prefix + name, "tensor", has_parameters=name in parameters)
    is_list = isinstance(module, LISTS)
    for name, child in module.named_children():
        here = prefix + name
        if here in heads or not has_tensors(child):
            continue
        holds_head = any(head.startswith(here + ".") for head in heads)
        in_list = path if is_list else None
        if holds_head or _is_divided(child, in_list=is_list, in_wrapper=in_wrapper):
            yield from _below(child, here, heads, in_wrapper=in_wrapper and not is_list)
        else:
            yield _part(child, here, in_list)


def _is_divided(module: nn.Module, *, in_list: bool, in_wrapper: bool) -> bool:
    """True if the children are separate parts of the network, rather than pieces of one part."""
    if isinstance(module, LISTS):
        return _holds_blocks(module) or (_num_layers(module) > 1 and (in_wrapper and not in_list))
    children = [child for child in module.children() if has_tensors(child)]
    if any(isinstance(child, LISTS) and _holds_blocks(child) for child in children):
        return True
    # before any list is reached, a network inside a network is looked into, too
    return in_wrapper and not in_list and any(_wraps_blocks(child) for child in children)


def _wraps_blocks(module: nn.Module) -> bool:
    if isinstance(module, LISTS):
        return _holds_blocks(module)
    return any(_wraps_blocks(child) for child in module.children())


def _holds_blocks(listed: nn.Module) -> bool:
    """True if most elements of a list are made of several layers."""
    children = [child for child in listed.children() if has_tensors(child)]
    blocks = [
        child
        for child in children
        if (_holds_blocks(child) if isinstance(child, LISTS) else _num_layers(child) > 1)
    ]
    return 2 * len(blocks) > len(children)


def _part(module: nn.Module, path: str, in_list: str | None) -> Part:
    layers = _num_layers(module)
    return Part(
        path,
        "block" if layers > 1 else "layer" if layers else "small",
        in_list=in_list,
        is_embedding=isinstance(module, nn.Embedding),
        has_parameters=any(True for _ in module.parameters()),
    )


def _num_layers(module: nn.Module) -> int:
    """Number of layers of a module with a matrix or a tensor with more axes."""
    return sum(
        any(parameter.ndim > 1 for parameter in each.parameters(recurse=False)) for each in module.modules()
    )


def has_tensors(module: nn.Module) -> bool:
    return len(module.state_dict(keep_vars=True)) > 0
