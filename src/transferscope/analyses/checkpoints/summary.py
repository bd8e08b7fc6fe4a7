"""Checkpoints over seeds: means by epoch, which checkpoint to take, and whether jumps carry over."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from transferscope.analyses.contract import Row
from transferscope.analyses.findings import SCALE, Estimate
from transferscope.analyses.shared.over_seeds import OVER_SEEDS, over_seeds
from transferscope.core.tables import Column

if TYPE_CHECKING:
    import polars as pl

QUANTITIES = ("source_metric", "target_metric", "speed", "distance")
SUMMARIES = {
    "checkpoints_over_seeds": (
        Column("target", "str", "Name of the target"),
        Column("pretrain_epoch", "int", "Epochs of pre-training before the fine-tuning"),
        Column("quantity", "str", "A number of checkpoints"),
        *OVER_SEEDS,
        Column("is_best", "bool", "Whether the mean target metric is the highest here"),
        Column(
            "is_recommended", "bool", "Whether this is the earliest within one standard error of the best"
        ),
    ),
    "checkpoints_choice": (
        Column("target", "str", "Name of the target"),
        Column(
            "best_epoch",
            "int",
            "Pre-training epoch with the highest mean target metric, the earliest of equals",
        ),
        Column("best_metric", "float", "Its mean target metric", "0 to 1"),
        Column("standard_error", "float", "Standard error of that mean over seeds; NaN with one seed"),
        Column(
            "recommended_epoch",
            "int",
            "Earliest pre-training epoch whose mean target metric is within one standard error of the best (Breiman "
            "et al. 1984); null with one seed",
        ),
        Column("recommended_metric", "float", "Its mean target metric; NaN where there is none", "0 to 1"),
        Column("difference", "float", "Recommended minus best, paired by seed, mean over seeds"),
        Column("difference_low", "float", "Lower end of its 95 % Student t interval over seeds"),
        Column("difference_high", "float", "Upper end"),
        Column("last_epoch", "int", "Last pre-training epoch looked at"),
        Column(
            "jump_correlation",
            "float",
            "Pearson correlation, over steps from one checkpoint to the next, of the change of the source metric and "
            "the mean change of the target metric; NaN with fewer than three steps",
            "-1 to 1",
        ),
        Column(
            "jump_correlation_low", "float", "Lower end of its 95 % interval over seeds, by leaving out one"
        ),
        Column("jump_correlation_high", "float", "Upper end"),
        Column("num_steps", "int", "Steps from one checkpoint to the next"),
        Column("num_seeds", "int", "Seeds with all checkpoints, on which all of this rests"),
    ),
}


def summary_rows(table: pl.DataFrame) -> dict[str, list[Row]]:
    """Both tables, from the rows of checkpoints."""
    choices = list(_choices(table))
    by_target = {choice["target"]: choice for choice in choices}
    rows: list[Row] = []
    for (target, epoch), part in table.group_by(["target", "pretrain_epoch"], maintain_order=True):
        choice = by_target.get(target, {})
        chosen = {
            "is_best": epoch == choice.get("best_epoch"),
            "is_recommended": epoch == choice.get("recommended_epoch"),
        }
        for name in QUANTITIES:
            ends = ()
            if name == "target_metric":
                ends = (part["target_metric_low"].to_list(), part["target_metric_high"].to_list())
            numbers = over_seeds(part[name].to_list(), *ends)
            rows.append({"target": target, "pretrain_epoch": epoch, "quantity": name, **numbers, **chosen})
    return {"checkpoints_over_seeds": rows, "checkpoints_choice": choices}


def _choices(table: pl.DataFrame) -> Iterator[Row]:
    for (target,), part in table.group_by(["target"], maintain_order=True):
        metrics = _by_seed(part, "target_metric")
        if not metrics or any(math.isnan(value) for own in metrics.values() for value in own.values()):
            continue
        sources = next(iter(_by_seed(part, "source_metric").values()))
        yield {"target": target, **_choice(metrics), **_jumps(metrics, sources), "num_seeds": len(metrics)}


def _by_seed(part: pl.DataFrame, name: str) -> dict[int, dict[int, float]]:
    """Seed -> pre-training epoch -> number, of the seeds that have all epochs."""
    found: dict[int, dict[int, float]] = {}
    for row in part.sort("pretrain_epoch").iter_rows(named=True):
        found.setdefault(row["seed"], {})[row["pretrain_epoch"]] = row[name]
    num_epochs = part["pretrain_epoch"].n_unique()
    return {seed: own for seed, own in found.items() if len(own) == num_epochs}


def _choice(metrics: Mapping[int, Mapping[int, float]]) -> Row:
    """The best epoch and the earliest that is about as good."""
    from transferscope.metrics.statistics.intervals import t_interval

    seeds = list(metrics)
    epochs = list(metrics[seeds[0]])
    # exact sums: in another order, rounding would make equal means unequal
    means = {epoch: math.fsum(metrics[seed][epoch] for seed in seeds) / len(seeds) for epoch in epochs}
    best = max(epochs, key=lambda epoch: (means[epoch], -epoch))
    row: Row = {"best_epoch": best, "best_metric": means[best], "last_epoch": epochs[-1]}
    if len(seeds) < 2:
        nothing = dict.fromkeys(("standard_error", "recommended_metric", "difference"), math.nan)
        ends = {"difference_low": math.nan, "difference_high": math.nan}
        return {**row, **nothing, **ends, "recommended_epoch": None}
    squares = math.fsum((metrics[seed][best] - means[best]) ** 2 for seed in seeds)
    error = math.sqrt(squares / (len(seeds) - 1) / len(seeds))
    recommended = next(epoch for epoch in epochs if means[epoch] >= means[best] - error)
    differences = [metrics[seed][recommended] - metrics[seed][best] for seed in seeds]
    difference = t_interval(differences, scale=SCALE)
    return {
        **row,
        "standard_error": error,
        "recommended_epoch": recommended,
        "recommended_metric": means[recommended],
        "difference": difference.estimate,
        "difference_low": difference.low,
        "difference_high": difference.high,
    }


def _jumps(metrics: Mapping[int, Mapping[int, float]], sources: Mapping[int, float]) -> Row:
    """How the steps of the target metric go with those of the source metric."""
    from transferscope.metrics.statistics.variance import jackknife_variance

    seeds = list(metrics)
    without = [_step_correlation([metrics[s] for s in seeds if s != seed], sources) for seed in seeds]
    correlation = _step_correlation([metrics[seed] for seed in seeds], sources)
    found = Estimate(effect=correlation, seeds=jackknife_variance(without), images=None, num_seeds=len(seeds))
    return {
        "jump_correlation": correlation,
        "jump_correlation_low": found.low,
        "jump_correlation_high": found.high,
        "num_steps": len(sources) - 1,
    }


def _step_correlation(metrics: Sequence[Mapping[int, float]], sources: Mapping[int, float]) -> float:
    import numpy as np

    if not metrics or len(sources) < 4 or any(value is None for value in sources.values()):
        return math.nan
    means = {epoch: sum(own[epoch] for own in metrics) / len(metrics) for epoch in sources}
    steps = np.array([[own[b] - own[a] for a, b in pairwise(sources)] for own in (sources, means)])
    # steps of one size, but for their last bits, go with nothing
    if not np.isfinite(steps).all() or (np.ptp(steps, axis=1) <= 1e-12 * np.abs(steps).max(axis=1)).any():
        return math.nan
    return float(np.corrcoef(steps)[0, 1])
