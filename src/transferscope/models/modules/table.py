"""The modules of a network as a table."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
from torch import Tensor, nn

from transferscope.core.errors import BadInput
from transferscope.metrics.evaluation.passes import PROBE, batch_axis, trace
from transferscope.metrics.inputs.arguments import network
from transferscope.metrics.inputs.guard import guarded
from transferscope.models.modules.find import HEAD, Choice, Module, find_modules, is_under
from transferscope.models.modules.order import VARIED

SCHEMA = {
    "module": pl.String,
    "prefixes": pl.List(pl.String),
    "num_parameters": pl.Int64,
    "order": pl.Int64,
    "calls": pl.Int64,
    "output_shape": pl.List(pl.Int64),
    "batch_axis": pl.Int64,
    "is_head": pl.Boolean,
    "note": pl.String,
}


@guarded
def modules(
    model: nn.Module, example: Tensor, *, num_classes: int | None = None, choice: Choice = "blocks"
) -> pl.DataFrame:
    """The modules of a network as the analyses use them, from the stem to the head, in the order of a forward pass.

    A few passes in evaluation mode over at most 32 samples of the example determine which layers return the logits (the
    head), the order in which modules are called, and which layers have no effect on the logits, such as an auxiliary
    classifier. A layer that is not called counts as a module if it is an element of a list with others that are called:
    it may be an expert that other inputs reach. The network is not changed. A network can define its modules by an
    attribute `MODULES`, name -> patterns of paths.

    Args:
        model: a classifier. If it returns several tensors, the first one contains the logits.
        example: inputs (n, ...) of the network.
        num_classes: number of outputs; default: that of the logits.
        choice: "blocks", "stages" (blocks of one list together, where there are several lists), or name -> pattern or
            patterns of paths, as in {"stem": "conv1", "block {}": "layers.*"}.

    Returns:
        One row per module. Columns: module (its name); prefixes (of the names of its tensors, as `l2_distance`,
        `rewind` and `module_criticality` take them); num_parameters (number of weights; shared ones count in the
        first module that contains them); order (position, from 0; null for layers without an effect); calls (number
        of calls, in one pass, of the submodule whose output is the module's feature); output_shape (shape of that
        output, -1 for the batch; null if it is not a tensor); batch_axis (its sample axis; null if there is none);
        is_head; note (a remark, or empty). Layers without an effect on the logits are last, one row each.

    Raises:
        BadInput: the network can't process the example or has uninitialized lazy layers or layers of TorchScript; no
            head is found; or the
            patterns match nothing, overlap, or omit tensors.

    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    >>> table = modules(net, torch.zeros(2, 3))
    >>> table.select("module", "num_parameters", "output_shape", "is_head").rows()
    [('stem', 16, [-1, 4], False), ('head', 10, [-1, 2], True)]
    """
    network(model)
    if not isinstance(example, Tensor) or example.ndim == 0 or len(example) == 0:
        came = tuple(example.shape) if isinstance(example, Tensor) else f"a {type(example).__name__}"
        raise BadInput(f"Expected an example batch, a tensor (n, ...) with n >= 1, got {came}.")
    few = _samples(example, PROBE)
    some = _samples(example, max(PROBE, min(len(example), VARIED)))
    found = find_modules(model, num_classes=num_classes, choice=choice, example=some)
    passes = [trace(model, few), trace(model, _samples(example, PROBE + 1))]
    rows = []
    for order, (name, module) in enumerate(found.items()):
        shapes = [seen.shapes.get(module.output) for seen in passes]
        axis = None
        if shapes[0] is not None:
            axis = batch_axis(shapes[0], PROBE, shapes[1], PROBE + 1)
        calls = passes[0].calls.get(module.output, 0)
        inside = [path for path, _ in model.named_modules() if is_under(path, module.prefixes)]
        is_reached = not inside or any(path in passes[0].calls for path in inside)
        rows.append(
            {
                "module": name,
                "prefixes": list(module.prefixes),
                "num_parameters": _num_parameters(
                    model, module.prefixes if module.own is None else module.own
                ),
                "order": order,
                "calls": calls,
                "output_shape": None if shapes[0] is None else _with_batch(shapes[0], axis),
                "batch_axis": axis if isinstance(axis, int) else None,
                "is_head": name == HEAD,
                "note": "; ".join(_notes(module, calls, axis, is_reached=is_reached)),
            }
        )
    for place in found[HEAD].without_effect:
        calls = passes[0].calls.get(place, 0)
        rows.append(
            {
                **dict.fromkeys(SCHEMA),
                "module": place,
                "prefixes": [place],
                "num_parameters": _num_parameters(model, (place,)),
                "calls": calls,
                "is_head": False,
                "note": f"{'no effect on the logits' if calls else 'not called'} in evaluation mode; in no module",
            }
        )
    return pl.DataFrame(rows, schema=SCHEMA)


def _samples(example: Tensor, count: int) -> Tensor:
    """The requested number of samples, repeated if the example has fewer."""
    repeats = -(-count // len(example))
    return example.repeat(repeats, *(1 for _ in example.shape[1:]))[:count]


def _num_parameters(model: nn.Module, prefixes: tuple[str, ...]) -> int:
    shared = {id(each): each for name, each in _parameters(model).items() if is_under(name, prefixes)}
    return sum(each.numel() for each in shared.values())


def _parameters(model: nn.Module) -> Mapping[str, nn.Parameter]:
    return dict(model.named_parameters(remove_duplicate=False))


def _with_batch(shape: tuple[int, ...], axis: int | str | None) -> list[int]:
    return [-1 if place == axis else size for place, size in enumerate(shape)]


def _notes(module: Module, calls: int, axis: int | str | None, *, is_reached: bool) -> list[str]:
    notes = []
    if module.own is not None:
        notes.append(
            "shares weights with a module before it" if module.own else "all weights are in modules before it"
        )
    if not is_reached:
        notes.append("not called for the first samples of the example; other inputs may reach it")
    if calls > 1:
        notes.append(f"called {calls} times: its output is that of the last call")
    if calls == 0 and is_reached:
        notes.append("its feature is not the output of a call")
    elif calls and axis is None:
        notes.append("its output has no tensor")
    elif isinstance(axis, str):
        notes.append(f"{axis}: no CKA")
    elif axis:
        notes.append("the batch is not the first axis")
    return notes
