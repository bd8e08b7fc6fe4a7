"""The claims about pre-training checkpoints, and what its tables say of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from transferscope.analyses.claims import SMALL_METRIC, Claim, Finding, not_measured
from transferscope.analyses.findings import judge, largest, mean_over_targets
from transferscope.core.config import Study

if TYPE_CHECKING:
    import polars as pl

LATER_CHECKPOINTS_ARE_BETTER = Claim(
    id="later_checkpoints_are_better",
    analysis="checkpoints",
    statement="Later pre-training checkpoints transfer better.",
    table="checkpoints",
    statistic="target metric from the last checkpoint minus that from the first trained one",
)
LATE_CHECKPOINTS_DIFFER_LITTLE = Claim(
    id="late_checkpoints_differ_little",
    analysis="checkpoints",
    statement="After a while, later checkpoints are only slightly better.",
    table="checkpoints",
    statistic="target metric from the last checkpoint minus that from the one in the middle of the pre-training",
    across="each",
    threshold=SMALL_METRIC,
    side="below",
    reason="two points, the same as for barriers",
)
SOURCE_JUMPS_DO_NOT_CARRY_OVER = Claim(
    id="source_jumps_do_not_carry_over",
    analysis="checkpoints",
    statement="Sudden jumps of the source accuracy, where the rate drops, do not carry over to the target.",
    table="checkpoints",
    statistic="change of the target metric over the change of the source metric, each summed over the drops of the "
    "pre-training rate",
    threshold=0.5,
    side="below",
    reason="half of the jump; the paper says that they do not correlate",
)
CLAIMS = (LATER_CHECKPOINTS_ARE_BETTER, LATE_CHECKPOINTS_DIFFER_LITTLE, SOURCE_JUMPS_DO_NOT_CARRY_OVER)


def findings(tables: Mapping[str, pl.DataFrame], study: Study) -> Sequence[Finding]:
    """The three claims about checkpoints."""
    import polars as pl

    table = tables["checkpoints"]
    n = largest(table, "n_test")
    trained = sorted(set(table["pretrain_epoch"].to_list()) - {0})
    if len(trained) < 3:
        why = "Fewer than three trained checkpoints; see analyses.checkpoints.pretrain_epochs."
        return [not_measured(claim, why) for claim in CLAIMS]
    last = trained[-1]
    middle = min(trained, key=lambda epoch: (abs(epoch - last / 2), epoch))
    drops = sorted(set(table.filter("after_rate_drop")["pretrain_epoch"].to_list()))

    def gain_since(epoch: int, rows: pl.DataFrame) -> float:
        ends = (rows.filter(pl.col("pretrain_epoch") == one) for one in (last, epoch))
        after, before = (mean_over_targets(end, "target_metric") for end in ends)
        return after - before

    found = [
        judge(LATER_CHECKPOINTS_ARE_BETTER, tables, lambda rows: gain_since(trained[0], rows), num_images=n),
        judge(
            LATE_CHECKPOINTS_DIFFER_LITTLE,
            tables,
            lambda rows: gain_since(middle, rows),
            num_images=n,
            note=f"Middle: epoch {middle} of {last}.",
        ),
    ]
    steps = [(before, after) for before, after in pairwise([0, *trained]) if after in drops]
    return [*found, _jumps(tables, steps, (middle, last), n)]


def _jumps(
    tables: Mapping[str, pl.DataFrame], steps: Sequence[tuple[int, int]], late: tuple[int, int], n: int
) -> Finding:
    """Whether what the source gained where the rate dropped shows on the target."""
    claim = SOURCE_JUMPS_DO_NOT_CARRY_OVER
    if not steps:
        return not_measured(claim, "The rate of the pre-training never drops at once.")
    if (steps[0][0], steps[-1][1]) == late:
        why = (
            f"The rate drops between epochs {late[0]} and {late[1]} only, so that this claim is the one about "
            "late checkpoints in other words; source.pretraining.keep_epochs: all tells them apart."
        )
        return not_measured(claim, why)
    note = f"Drops before epoch {', '.join(str(after) for _, after in steps)}."
    return judge(claim, tables, lambda rows: _carried_over(rows, steps), num_images=n, note=note)


def _carried_over(rows: pl.DataFrame, steps: Sequence[tuple[int, int]]) -> float:
    """Change of the target metric over that of the source, summed over the steps; NaN unless the source gained."""
    import polars as pl

    def change(column: str) -> float:
        return sum(
            mean_over_targets(rows.filter(pl.col("pretrain_epoch") == after), column)
            - mean_over_targets(rows.filter(pl.col("pretrain_epoch") == before), column)
            for before, after in steps
        )

    source = change("source_metric")
    return change("target_metric") / source if source > 0 else math.nan
