"""L2 distance between two sets of weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, overload

import polars as pl
import torch
from torch import Tensor

from transferscope.errors import BadInput
from transferscope.metrics.states import (
    Modules,
    State,
    check_match,
    group_by_module,
    is_under,
    is_weight,
    tensors_of,
)


@overload
def l2_distance(
    a: State,
    b: State,
    *,
    by_module: Literal[False] = False,
    modules: None = None,
    exclude: Sequence[str] = (),
    running_statistics: bool = False,
) -> float: ...


@overload
def l2_distance(
    a: State,
    b: State,
    *,
    by_module: Literal[True],
    modules: Modules | None = None,
    exclude: Sequence[str] = (),
    running_statistics: bool = False,
) -> pl.DataFrame: ...


def l2_distance(
    a: State,
    b: State,
    *,
    by_module: bool = False,
    modules: Modules | None = None,
    exclude: Sequence[str] = (),
    running_statistics: bool = False,
) -> float | pl.DataFrame:
    """L2 distance of the weights: ||a - b|| = sqrt(sum over all weights of (a_i - b_i)^2), in float64.

    Integer buffers never count. A tensor that stands under several names (tied weights) counts once, under
    its first name, where sharing can be seen: in one of the two states both names share memory, and in the
    other they share it too or hold equal numbers. It is no distance of functions: a network with its channels
    permuted computes the same and lies far away.

    Source: Neyshabur, Sedghi, Zhang 2020, on distance in parameter space.

    Args:
        a, b: networks or state dicts of the same architecture.
        by_module: a table with one row a module instead of one number.
        modules: module name -> prefixes of the names of its tensors; the first dotted component by default.
            Tensors of no module are left out of the table. Only with `by_module`.
        exclude: prefixes of names to leave out, such as the head's; these may also differ in shape.
        running_statistics: whether BatchNorm's running mean and variance count; they are no weights.

    Returns:
        The distance, at least 0; or columns module, distance, relative (to the norm of the module in a; NaN
        where that is 0), num_parameters. NaN where a weight is NaN. Squared distances of the modules add up
        to the square of the whole.

    Raises:
        BadInput: names or shapes differ (all are named), a module without weights, nothing left to compare.

    >>> import torch
    >>> l2_distance({"w": torch.tensor([3.0, 0.0])}, {"w": torch.tensor([0.0, 4.0])})
    5.0
    """
    if modules is not None and not by_module:
        raise BadInput("`modules` was given without by_module=True; add it to get one distance a module.")
    a_tensors, b_tensors = (_compared(state, exclude, running_statistics) for state in (a, b))
    check_match(a_tensors, b_tensors, "a", "b")
    names = _untied(a_tensors, b_tensors)
    if not names:
        raise BadInput(f"No weights are left to compare after excluding {list(exclude)}.")
    squares = {name: _squared_distance(a_tensors[name], b_tensors[name]) for name in names}
    if not by_module:
        return math.sqrt(math.fsum(squares.values()))
    kept = None if modules is None else _without_excluded(modules, tensors_of(a), exclude)
    rows = []
    for module, members in group_by_module(names, kept).items():
        distance = math.sqrt(math.fsum(squares[name] for name in members))
        norm = math.sqrt(math.fsum(_squared_norm(a_tensors[name]) for name in members))
        rows.append(
            {
                "module": module,
                "distance": distance,
                "relative": distance / norm if norm else math.nan,
                "num_parameters": sum(a_tensors[name].numel() for name in members),
            }
        )
    schema = {"module": pl.String, "distance": pl.Float64, "relative": pl.Float64, "num_parameters": pl.Int64}
    return pl.DataFrame(rows, schema=schema)


def _compared(state: State, exclude: Sequence[str], running_statistics: bool) -> dict[str, Tensor]:
    return {
        name: tensor
        for name, tensor in tensors_of(state).items()
        if not is_under(name, exclude)
        and (is_weight(name, tensor) or (running_statistics and tensor.is_floating_point()))
    }


def _without_excluded(modules: Modules, tensors: Mapping[str, Tensor], exclude: Sequence[str]) -> Modules:
    """The modules without those of which all is excluded, such as the head."""
    return {
        module: prefixes
        for module, prefixes in modules.items()
        if not any(is_under(name, prefixes) for name in tensors)
        or not all(is_under(name, exclude) for name in tensors if is_under(name, prefixes))
    }


def _untied(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> list[str]:
    """The names without those that are a second name of the same tensor."""
    first_names: dict[tuple[object, ...], str] = {}
    kept = []
    for name in a:
        places = (("a", *_place(a[name])), ("b", *_place(b[name])))
        twin = next((first_names[place] for place in places if place in first_names), None)
        if twin is None or not (_same(a[name], a[twin]) and _same(b[name], b[twin])):
            kept.append(name)
            for place in places:
                first_names.setdefault(place, name)
    return kept


def _place(tensor: Tensor) -> tuple[object, ...]:
    """What two names of one tensor share."""
    storage = tensor.untyped_storage().data_ptr()
    # An empty or a fake tensor has no address of its own: nothing can be known of it.
    address = (storage, tensor.storage_offset()) if storage else (id(tensor), 0)
    return (tensor.device, *address, tuple(tensor.shape), tensor.stride())


def _same(tensor: Tensor, twin: Tensor) -> bool:
    return _place(tensor) == _place(twin) or torch.equal(tensor, twin)


def _squared_distance(a: Tensor, b: Tensor) -> float:
    return _squared_norm(_wide(a) - _wide(b).to(a.device))


def _squared_norm(tensor: Tensor) -> float:
    return float(_wide(tensor).abs().square().sum())


def _wide(tensor: Tensor) -> Tensor:
    return tensor.to(torch.complex128 if tensor.is_complex() else torch.float64)
