"""Sets of modules that could keep their initial values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import polars as pl
import torch

from transferscope.core.errors import BadInput
from transferscope.metrics.criticality.module_path import ModulePath, module_paths
from transferscope.metrics.criticality.rewinding import drop_intervals
from transferscope.metrics.evaluation.evaluate import Evaluation
from transferscope.metrics.evaluation.forward_checks import check_forward
from transferscope.metrics.evaluation.repeated_passes import RepeatedPasses
from transferscope.metrics.evaluation.states import Modules
from transferscope.metrics.inputs.arguments import names, real_number
from transferscope.metrics.inputs.guard import guarded, lent
from transferscope.metrics.inputs.state_dicts import State

Order = Literal["bottom up", "greedy"]
ORDERS: tuple[Order, ...] = ("bottom up", "greedy")
NOTHING = "none"
"""Name of the empty set of modules."""
ROUNDING = 1e-9
"""Tolerance of the acceptable drop, because 0.99 - 0.98 is more than 0.01 in floating point."""

FREEZE_COLUMNS = {
    "order": pl.String,
    "num_modules": pl.Int64,
    "modules": pl.String,
    "num_parameters": pl.Int64,
    "share": pl.Float64,
    "train_drop": pl.Float64,
    "test_drop": pl.Float64,
    "test_drop_low": pl.Float64,
    "test_drop_high": pl.Float64,
    "acceptable": pl.Boolean,
    "chosen": pl.Boolean,
}


@guarded
def freezable(
    train: RepeatedPasses,
    test: RepeatedPasses,
    init: State,
    final: State,
    *,
    acceptable_drop: float = 0.01,
    candidates: Sequence[str] | None = None,
    modules: Modules | None = None,
    draws: int = 1000,
    level: float = 0.95,
    generator: torch.Generator | None = None,
) -> pl.DataFrame:
    """Metric drops after resetting growing sets of modules to `init`, in two orders.

    "bottom up" adds the next module from the bottom. "greedy" adds the module that keeps the highest training metric
    (ties: the lowest training loss, then the lowest module). An order ends with the first set that lowers the training
    metric by more than `acceptable_drop`, or with all candidates; the previous set is chosen. Test examples don't
    affect
    the choice: each set is evaluated on them once, with all its modules reset together.

    Resetting modules after the training measures what their training contributed to this network. In a training with
    frozen modules, the others could adapt; only such a training can measure its metric.

    Args:
        train, test: the same network on the examples that choose the set, and on those that evaluate it.
        init, final: networks or state dicts.
        acceptable_drop: largest acceptable drop of the metric (accuracy or mean AUC, 0 to 1).
        candidates: names of the modules that may be reset; default: all.
        modules: as for `module_criticality`; their order is the order from the bottom up.
        draws, level, generator: options of the paired bootstrap over the test examples; 0 draws for no interval.

    Returns:
        One row per set, for each order, starting with the empty set. Columns: order; num_modules; modules (names in the
        order in which they were added, joined by ", "; "none"); num_parameters and share (of them in the
        whole network, 0 to 1); train_drop, test_drop (metric of the final network minus this one's);
        test_drop_low, test_drop_high; acceptable (by train_drop; false for NaN); chosen.

    Raises:
        BadInput: two networks, unknown candidates, states or modules that don't fit.

    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.Linear(1, 2))
    >>> final = {"0.weight": torch.ones(1, 1), "0.bias": torch.zeros(1)}
    >>> final |= {"1.weight": torch.tensor([[0.0], [1.0]]), "1.bias": torch.zeros(2)}
    >>> init = final | {"0.weight": 2 * torch.ones(1, 1), "1.weight": torch.tensor([[1.0], [0.0]])}
    >>> data = torch.tensor([[1.0], [-1.0]]), torch.tensor([1, 0])
    >>> table = freezable(RepeatedPasses(net, data), RepeatedPasses(net, data), init, final)
    >>> table.filter(chosen=True).select("order", "modules", "num_parameters", "test_drop").rows()
    [('bottom up', '0', 2, 0.0), ('greedy', '0', 2, 0.0)]
    """
    if not all(isinstance(passes, RepeatedPasses) for passes in (train, test)):
        raise BadInput("train and test are RepeatedPasses(model, (inputs, labels)) of one network.")
    if train.model is not test.model:
        raise BadInput("Expected one network on two sets of examples, got two networks.")
    acceptable_drop = real_number(acceptable_drop, "acceptable_drop")
    candidates = None if candidates is None else names(candidates, "candidates")
    with lent(train.model) as live:
        ways = module_paths(train.model, live, {"init": init}, final, modules)["init"]
        parts = {part.name: part for part in ways}
        check_forward(train.model, train.data[0])
        allowed = list(parts) if candidates is None else [name for name in parts if name in candidates]
        unknown = set(candidates or ()) - parts.keys()
        if unknown:
            raise BadInput(f"Unknown modules {sorted(unknown)}. Valid: {list(parts)}.")
        on_train, on_test = _Outcomes(train, parts), _Outcomes(test, parts)
        chains = {order: _chain(allowed, order, acceptable_drop, on_train) for order in ORDERS}
        judged = [(order, members, on_test.of(members)) for order in ORDERS for members in chains[order]]
    total = sum(parameter.numel() for parameter in train.model.parameters())
    drops = drop_intervals(
        on_test.of(()), [outcome for *_, outcome in judged], draws=draws, level=level, generator=generator
    )
    rows = []
    for (order, members, _), drop in zip(judged, drops, strict=True):
        num_parameters = sum(parts[name].num_parameters for name in members)
        train_drop = on_train.drop(members)
        within = [each for each in chains[order] if _is_acceptable(on_train.drop(each), acceptable_drop)]
        rows.append(
            {
                "order": order,
                "num_modules": len(members),
                "modules": ", ".join(members) or NOTHING,
                "num_parameters": num_parameters,
                "share": num_parameters / total,
                "train_drop": train_drop,
                "test_drop": drop.estimate,
                "test_drop_low": drop.low,
                "test_drop_high": drop.high,
                "acceptable": _is_acceptable(train_drop, acceptable_drop),
                "chosen": within[-1:] == [members],
            }
        )
    return pl.DataFrame(rows, schema=FREEZE_COLUMNS)


class _Outcomes:
    """Evaluations of the network with sets of modules reset; each set is evaluated once."""

    def __init__(self, passes: RepeatedPasses, parts: Mapping[str, ModulePath]) -> None:
        self._passes = passes
        self._parts = parts
        self._found: dict[frozenset[str], Evaluation] = {}

    def of(self, members: Sequence[str]) -> Evaluation:
        key = frozenset(members)
        if key not in self._found:
            back = [self._parts[name] for name in members]
            if back:
                self._passes.stand_before([tensor for part in back for tensor in part.tensors])
            for part in back:
                part.put_back()
            self._found[key] = self._passes.evaluate()
            for part in back:
                part.finish()
        return self._found[key]

    def drop(self, members: Sequence[str]) -> float:
        return self.of(()).metric - self.of(members).metric

    def cost(self, members: Sequence[str]) -> tuple[float, float]:
        """Sort key, lower is better: the drop of the metric, then the loss; NaN is worst."""
        drop, loss = self.drop(members), self.of(members).loss
        return math.inf if math.isnan(drop) else drop, math.inf if math.isnan(loss) else loss


def _chain(names: Sequence[str], order: Order, limit: float, on_train: _Outcomes) -> list[tuple[str, ...]]:
    """Growing sets, from the empty set to the first unacceptable or the last possible one."""
    sets: list[tuple[str, ...]] = [()]
    while len(sets[-1]) < len(names) and _is_acceptable(on_train.drop(sets[-1]), limit):
        larger = [(*sets[-1], name) for name in names if name not in sets[-1]]
        sets.append(min(larger, key=on_train.cost) if order == "greedy" else larger[0])
    return sets


def _is_acceptable(drop: float, limit: float) -> bool:
    return drop <= limit + ROUNDING
