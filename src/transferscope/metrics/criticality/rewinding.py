"""The cost of rewinding modules of a trained network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import polars as pl
import torch
from torch import Tensor, nn

from transferscope.metrics.criticality.module_path import module_paths
from transferscope.metrics.evaluation.evaluate import Data, Evaluation
from transferscope.metrics.evaluation.forward_checks import check_forward
from transferscope.metrics.evaluation.image_groups import metric_without
from transferscope.metrics.evaluation.repeated_passes import RepeatedPasses
from transferscope.metrics.evaluation.resampled_auc import resampled_auc
from transferscope.metrics.evaluation.states import Modules
from transferscope.metrics.inputs.guard import guarded, lent
from transferscope.metrics.inputs.state_dicts import State
from transferscope.metrics.statistics.intervals import Interval, percentile_ends, resampling_weights

REWIND_COLUMNS = {
    "to": pl.String,
    "module": pl.String,
    "loss": pl.Float64,
    "metric": pl.Float64,
    "rise_loss": pl.Float64,
    "drop_metric": pl.Float64,
    "drop_low": pl.Float64,
    "drop_high": pl.Float64,
    "final_metric": pl.Float64,
    "n": pl.Int64,
}


@guarded
def rewind(
    model: nn.Module,
    init: State,
    final: State,
    data: Data,
    *,
    modules: Modules | None = None,
    cumulative: bool = False,
    draws: int = 1000,
    level: float = 0.95,
    batch_size: int = 256,
    generator: torch.Generator | None = None,
) -> pl.DataFrame:
    """Loss and metric after resetting modules to `init`: one at a time, or all up to each module.

    `init` may also be an earlier checkpoint (the optimization path of Neyshabur, Sedghi, Zhang 2020 uses all
    checkpoints) or a new random initialization. The buffers of a module are reset with its parameters.

    Args:
        model: the architecture; it is the same afterwards, also after an exception.
        init, final: networks or state dicts; `init` needs only the tensors of the modules.
        data: inputs (n, ...) and labels (n,) int64 or (n, k) float.
        modules: as for `module_criticality`; their order is the order from the bottom up.
        cumulative: reset all modules up to this one.
        draws: number of resamples of the examples for the interval of the drop; 0 for none.
        level: coverage of the interval, inside (0, 1).
        batch_size: examples in one forward pass.
        generator: generator of the resamples; default: seed 0.

    Returns:
        One row per module. Columns: module; loss (in nats); metric; rise_loss (loss - loss of the final
        network); drop_metric (metric of the final network - metric); drop_low, drop_high (the drop's paired
        bootstrap interval over the examples, see `drop_intervals`; NaN without draws); final_metric (of the
        final network); n (examples). NaN where the network's output is.

    Raises:
        BadInput: states or modules that don't fit, data that don't match.

    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.Linear(1, 2))
    >>> final = {"0.weight": torch.tensor([[4.0], [0.0]]), "0.bias": torch.zeros(2)}
    >>> init = {"0.weight": torch.tensor([[0.0], [4.0]]), "0.bias": torch.zeros(2)}
    >>> rewind(net, init, final, (torch.ones(1, 1), torch.tensor([0]))).select("module", "drop_metric").row(0)
    ('0', 1.0)
    """
    # for one state, whole passes cost no more than shortened ones and their check
    passes = RepeatedPasses(model, data, batch_size, shortened=False)
    options = {"modules": modules, "cumulative": cumulative, "draws": draws, "level": level}
    return rewind_to(passes, {"init": init}, final, generator=generator, **options).drop("to")


@guarded
def rewind_to(
    passes: RepeatedPasses,
    states: Mapping[str, State],
    final: State,
    *,
    modules: Modules | None = None,
    cumulative: bool = False,
    draws: int = 0,
    level: float = 0.95,
    generator: torch.Generator | None = None,
    groups: Tensor | None = None,
) -> pl.DataFrame:
    """`rewind` to several states at once; the layers before a module are computed only once for all of them.

    Args:
        passes: the network and the examples; stored activations are reused from call to call.
        states: name -> network or state dict to which the modules are reset.
        final, modules, cumulative, draws, level, generator: as for `rewind`.
        groups: (n,) groups of the examples, from `image_groups`.

    Returns:
        The rows of `rewind`, state by state, behind a column `to` with the state's name; with groups also
        `drop_without`, the drops without each of them.

    Raises:
        BadInput: states or modules that don't fit.
    """
    found: dict[tuple[str, str], Evaluation] = {}
    with lent(passes.model) as live:
        ways = module_paths(passes.model, live, states, final, modules)
        check_forward(passes.model, passes.data[0])
        reference = passes.evaluate()
        if cumulative:
            for to, parts in ways.items():
                for part in parts:
                    passes.stand_before(part.tensors)
                    part.put_back()
                    found[to, part.name] = passes.evaluate()
                for part in parts:
                    part.finish()
        else:
            for same_module in zip(*ways.values(), strict=True):
                passes.stand_before(same_module[0].tensors)
                for to, part in zip(ways, same_module, strict=True):
                    part.put_back()
                    found[to, part.name] = passes.evaluate()
                same_module[0].finish()
    keys = [(to, part.name) for to, parts in ways.items() for part in parts]
    outcomes = [found[key] for key in keys]
    intervals = drop_intervals(reference, outcomes, draws=draws, level=level, generator=generator)
    rows = [
        {
            "to": to,
            "module": name,
            "loss": outcome.loss,
            "metric": outcome.metric,
            "rise_loss": outcome.loss - reference.loss,
            "drop_metric": drop.estimate,
            "drop_low": drop.low,
            "drop_high": drop.high,
            "final_metric": reference.metric,
            "n": drop.n,
        }
        for (to, name), outcome, drop in zip(keys, outcomes, intervals, strict=True)
    ]
    table = pl.DataFrame(rows, schema=REWIND_COLUMNS)
    if groups is None:
        return table
    final_without = metric_without(reference, groups)
    without = [(final_without - metric_without(outcome, groups)).tolist() for outcome in outcomes]
    return table.with_columns(pl.Series("drop_without", without, dtype=pl.List(pl.Float64)))


@guarded
def drop_intervals(
    reference: Evaluation,
    others: Sequence[Evaluation],
    *,
    draws: int = 1000,
    level: float = 0.95,
    generator: torch.Generator | None = None,
) -> list[Interval]:
    """Metric of the reference minus that of each other network, with paired percentile bootstrap intervals.

    All networks are evaluated on the same resampled examples (Efron 1979). An interval generalizes to other test
    images, not to other seeds. Several drops share the resamples, so their intervals are not independent.

    Args:
        reference, others: evaluations of networks on the same examples in the same order.
        draws: number of resamples; 0 for estimates without intervals.
        level: coverage, inside (0, 1).
        generator: of the resamples; one with seed 0 by default.

    Returns:
        One interval per network, in [-1, 1]; NaN if a metric is NaN; the ends are NaN without draws.
    """
    n = len(reference.losses)
    estimates = [reference.metric - other.metric for other in others]
    ends = torch.full((2, len(others)), math.nan, dtype=torch.float64)
    if draws and others:
        replicates = [
            _scores(reference, weights)[:, None] - torch.stack([_scores(o, weights) for o in others], 1)
            for weights in resampling_weights(n, draws, generator)
        ]
        ends = percentile_ends(torch.cat(replicates), level)
    return [
        Interval(
            estimate=estimate,
            low=math.nan if math.isnan(estimate) else float(ends[0, i]),
            high=math.nan if math.isnan(estimate) else float(ends[1, i]),
            n=n,
            level=level,
        )
        for i, estimate in enumerate(estimates)
    ]


def _scores(outcome: Evaluation, weights: torch.Tensor) -> torch.Tensor:
    """(draws,) the metric on each resample."""
    if outcome.correct is not None:
        return weights @ outcome.correct
    if outcome.logits is None:
        return torch.full((len(weights),), math.nan, dtype=torch.float64)
    counts = (weights * len(outcome.labels)).round()
    return resampled_auc(outcome.logits, outcome.labels, counts).nanmean(1)
