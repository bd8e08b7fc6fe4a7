"""The claims about feature reuse, and what its tables say of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from transferscope.analyses.findings import (
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


GAIN_SHRINKS_WITH_BLOCKS = Claim(
    id="gain_shrinks_with_blocks",
    analysis="feature_reuse",
    statement="The gain of P-T over RI-T shrinks as the blocks shrink.",
    statistic="relative gain on unshuffled images minus that at the smallest blocks, mean over targets",
)
GAIN_SHRINKS_MOST_NEAR_SOURCE = Claim(
    id="gain_shrinks_most_near_source",
    analysis="feature_reuse",
    statement="The gain shrinks most where the target looks like the source.",
    statistic="that difference on the target most like the source minus that on the one least like it",
)
GAIN_SURVIVES_SHUFFLING = Claim(
    id="gain_survives_shuffling",
    analysis="feature_reuse",
    statement="The gain does not vanish at the smallest blocks: low-level statistics transfer too.",
    statistic="relative gain at the smallest blocks, mean over targets",
)
STATISTICS_HELP_SPEED_MOST = Claim(
    id="statistics_help_speed_most",
    analysis="feature_reuse",
    statement="What survives the shuffling shows most in optimization speed.",
    statistic="relative gain in optimization speed minus that in the final metric, at the smallest blocks, "
    "mean over targets",
)
CLAIMS = (
    GAIN_SHRINKS_WITH_BLOCKS,
    GAIN_SHRINKS_MOST_NEAR_SOURCE,
    GAIN_SURVIVES_SHUFFLING,
    STATISTICS_HELP_SPEED_MOST,
)


def findings(tables: Mapping[str, pl.DataFrame], study: Study) -> Sequence[Finding]:
    """The four claims about shuffled blocks."""
    import polars as pl

    table = tables["feature_reuse"]
    blocks = table.filter(pl.col("view") == "blocks")
    if blocks.is_empty():
        return [not_measured(claim, "No blocks were shuffled.") for claim in CLAIMS]
    smallest = blocks["block_size_px"].min()
    speed_over_final = pl.col("speed_gain") / pl.col("p_t_speed") - pl.col("relative_gain")
    statistics: tuple[Callable[[pl.DataFrame], float], ...] = (
        lambda rows: _mean([shrinkage for _, shrinkage in _shrinkages(rows, smallest)]),
        lambda rows: _shrinks_most(rows, smallest),
        lambda rows: _at_smallest(rows, smallest, pl.col("relative_gain")),
        lambda rows: _at_smallest(rows, smallest, speed_over_final),
    )
    n = largest(table, "n_test")
    note = f"Smallest blocks: {smallest} px."
    found = []
    for claim, statistic in zip(CLAIMS, statistics, strict=True):
        if claim is GAIN_SHRINKS_MOST_NEAR_SOURCE and table["likeness_rank"].drop_nulls().n_unique() < 2:
            found.append(not_measured(claim, "Fewer than two targets have a likeness_rank."))
        else:
            found.append(judge(claim, table, statistic, num_images=n, note=note))
    return found


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _shrinkages(rows: pl.DataFrame, smallest: Any) -> list[tuple[int | None, float]]:
    """Likeness rank, and relative gain unshuffled minus at the smallest blocks, of each target that has both."""
    import polars as pl

    found = []
    for _, part in rows.group_by(["target"], maintain_order=True):
        whole = part.filter(pl.col("view") == "unshuffled")
        small = part.filter((pl.col("view") == "blocks") & (pl.col("block_size_px") == smallest))
        if not (whole.is_empty() or small.is_empty()):
            gains = [mean_over_targets(shown, "relative_gain") for shown in (whole, small)]
            found.append((part["likeness_rank"][0], gains[0] - gains[1]))
    return found


def _shrinks_most(rows: pl.DataFrame, smallest: Any) -> float:
    ranked = [(rank, shrinkage) for rank, shrinkage in _shrinkages(rows, smallest) if rank is not None]
    ranks = {rank for rank, _ in ranked}
    if len(ranks) < 2:
        return math.nan
    ends = [_mean([value for rank, value in ranked if rank == end]) for end in (min(ranks), max(ranks))]
    return ends[0] - ends[1]


def _at_smallest(rows: pl.DataFrame, smallest: Any, value: pl.Expr) -> float:
    import polars as pl

    part = rows.filter((pl.col("view") == "blocks") & (pl.col("block_size_px") == smallest))
    return mean_over_targets(part, value)
