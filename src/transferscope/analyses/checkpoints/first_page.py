"""What checkpoints says on the first page: which checkpoint to start from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from transferscope.analyses.contract import Advice
from transferscope.analyses.findings import Estimate
from transferscope.analyses.shared.phrases import (
    estimated,
    evidence_of,
    mean_estimate,
    rows_of,
    side,
    targets_of,
)

if TYPE_CHECKING:
    import polars as pl


def advice(tables: Mapping[str, pl.DataFrame]) -> Iterator[Advice]:
    """The last checkpoint, unless an earlier one is better in a paired comparison over seeds; by target."""
    import polars as pl

    table = rows_of(tables, "checkpoints", pl.col("pretrain_epoch") > 0)
    if table is None:
        return
    for target in targets_of(table):
        own = table.filter(pl.col("target") == target)
        last = own["pretrain_epoch"].max()
        best = _best_earlier(own, last)
        text = f"For {target}, start from the last checkpoint, epoch {last}."
        if best is None:
            yield Advice(
                text=text,
                numbers="",
                evidence="indirect",
                why="there is no other one",
                analysis="checkpoints",
            )
            continue
        epoch, gain = best
        numbers = f"Epoch {epoch}, the best of the earlier ones, gives {estimated(gain)} against it."
        evidence, why = evidence_of(gain)
        if side(gain) > 0:
            text = f"For {target}, pre-training epoch {epoch} is better than the last one, {last}."
            why = f"{why}; test images chose the epoch, so it looks better than it is"
        else:
            evidence, why = "indirect", "it is the default: no earlier one is better beyond the noise"
        yield Advice(text=text, numbers=numbers, evidence=evidence, why=why, analysis="checkpoints")


def _best_earlier(own: pl.DataFrame, last: Any) -> tuple[int, Estimate] | None:
    """The earlier checkpoint with the highest mean metric, and what it gives over the last one, seed by seed."""
    import polars as pl

    after = own.filter(pl.col("pretrain_epoch") == last).select("seed", pl.col("target_metric").alias("last"))
    paired = own.filter(pl.col("pretrain_epoch") < last).join(after, on="seed")
    if paired.is_empty():
        return None
    means = paired.group_by("pretrain_epoch").agg(pl.col("target_metric").mean()).sort("target_metric")
    epoch = means["pretrain_epoch"][-1]
    rows = paired.filter(pl.col("pretrain_epoch") == epoch)
    return epoch, mean_estimate(rows, pl.col("target_metric") - pl.col("last"))
