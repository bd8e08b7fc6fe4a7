"""Distance between two sets of weights, and the angle between two updates."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from itertools import combinations
from typing import Literal, overload

import polars as pl
from torch import Tensor, nn

from transferscope.core.errors import BadInput, did_you_mean
from transferscope.metrics.evaluation.states import Modules, check_match, group_by_module, is_under, wide
from transferscope.metrics.inputs.arguments import names, prefixes_of_modules, states_of
from transferscope.metrics.inputs.guard import guarded
from transferscope.metrics.inputs.state_dicts import (
    RUNNING_STATISTICS,
    State,
    is_continuous,
    tensors_of,
    weight_names,
)
from transferscope.metrics.inputs.tensor_names import fill_tied, named_as, place_of, same_numbers


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


@guarded
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

    Buffers don't count: the parameters of a network are compared. If a and b are both state dicts, which don't
    say what is a parameter, all floating-point tensors count except buffers with well-known names. If one of the
    two has names with the prefix of a wrapper, such as `module.`, the names of b follow those of a.

    A tensor that stands under several names (tied weights) counts once, under its first name, where sharing can
    be seen: in one of the two states both names share memory, and in the other they share it too or hold equal
    numbers. It is no distance of functions: a network with its channels permuted computes the same and lies far
    away. With `weight_norm` or `spectral_norm`, the stored tensors are compared (the magnitude g and the direction v
    of weight norm, the weight before its division by the spectral norm), not the weight that the layer computes from
    them. Two networks that differ only in the length of v, which has no effect, have a distance above 0.

    Source: Neyshabur, Sedghi, Zhang 2020, on distance in parameter space.

    Args:
        a, b: networks, state dicts or checkpoints with a state dict, of the same architecture.
        by_module: a table with one row a module instead of one number.
        modules: module name -> prefixes of the names of its tensors; by default the top-level modules, below one
            that wraps the whole network. Tensors of no module are left out of the table. Only with `by_module`.
        exclude: prefixes of names to leave out, such as the head's; these may also differ in shape.
        running_statistics: whether BatchNorm's running mean and variance count; they are no weights.

    Returns:
        The distance, at least 0; or columns module, distance, relative (to the norm of the module in a; NaN
        where that is 0), num_parameters. NaN where a weight is NaN. Squared distances of the modules add up
        to the square of the whole.

    Raises:
        BadInput: names or shapes differ (all are named), a module without weights, nothing left to compare, weights
            that are quantized or have adapters beside them.

    >>> import torch
    >>> l2_distance({"w": torch.tensor([3.0, 0.0])}, {"w": torch.tensor([0.0, 4.0])})
    5.0
    """
    exclude, modules = names(exclude, "exclude"), prefixes_of_modules(modules)
    if modules is not None and not by_module:
        raise BadInput("`modules` was given without by_module=True; add it to get one distance a module.")
    compared = _compared({"a": a, "b": b}, exclude, running_statistics)
    a_tensors, b_tensors = compared["a"], compared["b"]
    check_match(a_tensors, b_tensors, "a", "b")
    compared = _untied(a_tensors, b_tensors)
    if not compared:
        raise BadInput(f"No weights are left to compare after excluding {list(exclude)}.")
    squares = {name: _squared_distance(a_tensors[name], b_tensors[name]) for name in compared}
    if not by_module:
        return math.sqrt(math.fsum(squares.values()))
    kept = None if modules is None else _without_excluded(modules, tensors_of(a), exclude)
    rows = []
    for module, members in group_by_module(compared, kept, tensors_of(a)).items():
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


@guarded
def mean_distance(states: Sequence[State]) -> float:
    """Mean of `l2_distance` over all pairs of the states, the head included.

    Args:
        states: at least two networks or state dicts of the same architecture.

    Returns:
        At least 0; NaN where a weight is NaN.

    Raises:
        BadInput: fewer than two states, or names or shapes that differ.

    >>> import torch
    >>> mean_distance([{"w": torch.tensor([0.0, 0.0])}, {"w": torch.tensor([3.0, 4.0])}])
    5.0
    """
    states = states_of(states)
    pairs = list(combinations(states, 2))
    if not pairs:
        raise BadInput(f"Expected at least two states to compare, got {len(states)}.")
    return math.fsum(l2_distance(a, b) for a, b in pairs) / len(pairs)


@guarded
def update_cosine(
    a: State,
    a_init: State,
    b: State,
    b_init: State,
    *,
    modules: Modules | None = None,
    exclude: Sequence[str] = (),
    running_statistics: bool = False,
) -> pl.DataFrame:
    """Cosine of the updates of two networks, <a - a_init, b - b_init> / (||a - a_init|| ||b - b_init||), in float64.

    1: both went the same way; 0: at right angles, as two random directions nearly are where there are many
    weights (their cosine has a standard deviation of 1 / sqrt(num_parameters)). Tied weights count as in
    `l2_distance`, as seen in a and b.

    Args:
        a, a_init, b, b_init: networks or state dicts of the same architecture, trained and before training.
        modules, exclude, running_statistics: as for `l2_distance`.

    Returns:
        One row per module. Columns: module; cosine, in [-1, 1] up to rounding, NaN where an update is 0 or holds a
        NaN; update_a, update_b, the lengths of the updates; num_parameters.

    Raises:
        BadInput: as `l2_distance`.

    >>> import torch
    >>> init = {"w": torch.tensor([1.0, 1.0])}
    >>> a, b = {"w": torch.tensor([4.0, 1.0])}, {"w": torch.tensor([1.0 + 3.0, 5.0])}
    >>> update_cosine(a, init, b, init).row(0)
    ('w', 0.6, 3.0, 5.0, 2)
    """
    exclude, modules = names(exclude, "exclude"), prefixes_of_modules(modules)
    states = {"a": a, "a_init": a_init, "b": b, "b_init": b_init}
    tensors = _compared(states, exclude, running_statistics)
    for name in ("a_init", "b", "b_init"):
        check_match(tensors["a"], tensors[name], "a", name)
    compared = _untied(tensors["a"], tensors["b"])
    if not compared:
        raise BadInput(f"No weights are left to compare after excluding {list(exclude)}.")
    products = {name: _products(*(tensors[state][name] for state in states)) for name in compared}
    kept = None if modules is None else _without_excluded(modules, tensors_of(a), exclude)
    rows = []
    for module, members in group_by_module(compared, kept, tensors_of(a)).items():
        own_a, own_b, shared = (math.fsum(products[name][i] for name in members) for i in range(3))
        lengths = math.sqrt(own_a), math.sqrt(own_b)
        rows.append(
            {
                "module": module,
                "cosine": shared / lengths[0] / lengths[1] if all(lengths) else math.nan,
                "update_a": lengths[0],
                "update_b": lengths[1],
                "num_parameters": sum(tensors["a"][name].numel() for name in members),
            }
        )
    schema = {"module": pl.String} | dict.fromkeys(("cosine", "update_a", "update_b"), pl.Float64)
    return pl.DataFrame(rows, schema=schema | {"num_parameters": pl.Int64})


def _products(a: Tensor, a_init: Tensor, b: Tensor, b_init: Tensor) -> tuple[float, float, float]:
    """Squared lengths of both updates, and their inner product (its real part)."""
    update_a, update_b = wide(a) - wide(a_init).to(a.device), wide(b) - wide(b_init).to(b.device)
    shared = (update_a.conj() * update_b.to(a.device)).sum()
    return _squared_norm(update_a), _squared_norm(update_b), float(shared.real)


def _compared(
    states: Mapping[str, State], exclude: Sequence[str], running_statistics: bool
) -> dict[str, dict[str, Tensor]]:
    """The tensors of each state that count, under the names of the first one."""
    tensors = {which: tensors_of(state, which) for which, state in states.items()}
    first = next(iter(tensors))
    known: dict[str, bool] = {}  # whether a tensor is a weight; a network knows its parameters
    for which in sorted(states, key=lambda which: not isinstance(states[which], nn.Module)):
        counted = weight_names(states[which], tensors[which])
        weights = {id(tensors[which][name]) for name in counted}
        tensors[which] = named_as(tensors[which], tensors[first])
        for name, tensor in tensors[which].items():
            known.setdefault(name, id(tensor) in weights)
    _check_excluded(exclude, {name for named in tensors.values() for name in named})
    for which in tensors:
        for other in tensors.values():
            tensors[which] = fill_tied(tensors[which], other)
    return {
        which: {
            name: tensor
            for name, tensor in named.items()
            if not is_under(name, exclude)
            and (known[name] or (running_statistics and _is_statistic(name, tensor)))
        }
        for which, named in tensors.items()
    }


def _check_excluded(exclude: Sequence[str], every: Collection[str]) -> None:
    """Raises BadInput for prefixes under which none of the tensors lies: nothing would be left out."""
    unknown = [prefix for prefix in exclude if not any(is_under(name, [prefix]) for name in every)]
    if unknown:
        parents = {name.rpartition(".")[0] or name for name in every}
        raise BadInput(
            [
                f"exclude: no tensor lies under '{prefix}'.{did_you_mean(prefix, parents)}"
                for prefix in unknown
            ]
        )


def _is_statistic(name: str, tensor: Tensor) -> bool:
    return name.rpartition(".")[2] in RUNNING_STATISTICS and is_continuous(tensor)


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
        places = (("a", *place_of(a[name])), ("b", *place_of(b[name])))
        twin = next((first_names[place] for place in places if place in first_names), None)
        if twin is None or not (same_numbers(a[name], a[twin]) and same_numbers(b[name], b[twin])):
            kept.append(name)
            for place in places:
                first_names.setdefault(place, name)
    return kept


def _squared_distance(a: Tensor, b: Tensor) -> float:
    return _squared_norm(wide(a) - wide(b).to(a.device))


def _squared_norm(tensor: Tensor) -> float:
    return float(wide(tensor).abs().square().sum())
