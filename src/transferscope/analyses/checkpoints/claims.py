"""The claims about pre-training checkpoints, and what its tables say of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from transferscope.analyses.findings import (
    SMALL_METRIC,
    Claim,
    Finding,
    judge,
    largest,
    mean_over_targets,
    not_measured,
)
from transferscope.core.config import Study

if TYPE_CHECKING:
    import polars as pl


LATER_CHECKPOINTS_ARE_BETTER = Claim(
    id="later_checkpoints_are_better",
    analysis="checkpoints",
    statement="Later pre-training checkpoints transfer better.",
    statistic="target metric from the last checkpoint minus that from the first trained one, mean over targets",
)
LATE_CHECKPOINTS_DIFFER_LITTLE = Claim(
    id="late_checkpoints_differ_little",
    analysis="checkpoints",
    statement="After a while, later checkpoints are only slightly better.",
    statistic="target metric from the last checkpoint minus that from the one in the middle of the "
    "pre-training, mean over targets",
    threshold=SMALL_METRIC,
    side="below",
    reason="two points, the same as for barriers",
)
SOURCE_JUMPS_DO_NOT_CARRY_OVER = Claim(
    id="source_jumps_do_not_carry_over",
    analysis="checkpoints",
    statement="Sudden jumps of the source accuracy, where the rate drops, do not carry over to the target.",
    statistic="change of the target metric over the change of the source metric, each a mean over targets, "
    "summed over the drops of the pre-training rate",
    threshold=0.5,
    side="below",
    reason="half of the jump; the paper says that they do not correlate",
)
CLAIMS = (
    LATER_CHECKPOINTS_ARE_BETTER,
    LATE_CHECKPOINTS_DIFFER_LITTLE,
    SOURCE_JUMPS_DO_NOT_CARRY_OVER,
)


def findings(tables: Mapping[str, pl.DataFrame], study: Study) -> Sequence[Finding]:
    """The three claims about checkpoints."""
    import polars as pl

    table = tables["checkpoints"]
    n = largest(table, "n_test")
    trained = sorted(set(table["pretrain_epoch"].to_list()) - {0})
    if len(trained) < 3:
        return [not_measured(claim, "Fewer than three trained checkpoints.") for claim in CLAIMS]
    last = trained[-1]
    middle = min(trained, key=lambda epoch: (abs(epoch - last / 2), epoch))

    def at(rows: pl.DataFrame, epoch: int) -> float:
        return mean_over_targets(rows.filter(pl.col("pretrain_epoch") == epoch), "target_metric")

    found = [
        judge(
            LATER_CHECKPOINTS_ARE_BETTER,
            table,
            lambda rows: at(rows, last) - at(rows, trained[0]),
            num_images=n,
        ),
        judge(
            LATE_CHECKPOINTS_DIFFER_LITTLE,
            table,
            lambda rows: at(rows, last) - at(rows, middle),
            num_images=n,
            note=f"Middle: epoch {middle} of {last}.",
        ),
    ]
    drops = sorted(set(table.filter("after_rate_drop")["pretrain_epoch"].to_list()))
    if not drops:
        found.append(
            not_measured(SOURCE_JUMPS_DO_NOT_CARRY_OVER, "The rate of the pre-training never drops at once.")
        )
    else:
        note = f"Drops before epoch {', '.join(map(str, drops))}."
        found.append(
            judge(
                SOURCE_JUMPS_DO_NOT_CARRY_OVER,
                table,
                lambda rows: _carried_over(rows, drops),
                num_images=n,
                note=note,
            )
        )
    return found


def _carried_over(rows: pl.DataFrame, drops: Sequence[Any]) -> float:
    """Change of the target over change of the source, each a mean over targets, summed over the rate drops."""
    import polars as pl

    epochs = sorted(set(rows["pretrain_epoch"].to_list()))
    changes = {"source_metric": 0.0, "target_metric": 0.0}
    for epoch in drops:
        before = epochs[epochs.index(epoch) - 1]
        for name in changes:
            after_before = [
                mean_over_targets(rows.filter(pl.col("pretrain_epoch") == e), name) for e in (epoch, before)
            ]
            changes[name] += after_before[0] - after_before[1]
    return (
        changes["target_metric"] / changes["source_metric"] if changes["source_metric"] > 0 else float("nan")
    )
