"""The claims about barriers, basins and averages, and what its tables say of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from transferscope.analyses.barriers.tables import AVERAGED
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
from transferscope.core.instances import SAME_INIT

if TYPE_CHECKING:
    import polars as pl


NO_BARRIER_BETWEEN_P_T = Claim(
    id="no_barrier_between_p_t",
    analysis="barriers",
    statement="There is no performance barrier between two P-T.",
    statistic="largest drop of the metric below the line between the ends, P-T & P-T, mean over targets",
    threshold=SMALL_METRIC,
    side="below",
    reason="two points, as in Frankle et al. (2020)",
)
BARRIER_P_T_RI_T = Claim(
    id="barrier_p_t_ri_t",
    analysis="barriers",
    statement="There is a barrier between a P-T and an RI-T.",
    statistic="largest drop of the metric below the line between the ends, P-T & RI-T, mean over targets",
    threshold=SMALL_METRIC,
    reason="two points, as in Frankle et al. (2020)",
)
BARRIER_RI_T_RI_T = Claim(
    id="barrier_ri_t_ri_t",
    analysis="barriers",
    statement="There is a barrier between two RI-T.",
    statistic="largest drop of the metric below the line between the ends, RI-T & RI-T, mean over targets",
    threshold=SMALL_METRIC,
    reason="two points, as in Frankle et al. (2020)",
)
BARRIER_RI_T_SAME_INIT = Claim(
    id="barrier_ri_t_same_init",
    analysis="barriers",
    statement="There is a barrier even between two RI-T from the same random initialization.",
    statistic="largest drop of the metric below the line between the ends, RI-T & RI-T, same init, mean over "
    "targets",
    threshold=SMALL_METRIC,
    reason="two points, as in Frankle et al. (2020)",
)
P_T_SHARE_A_BASIN = Claim(
    id="p_t_share_a_basin",
    analysis="barriers",
    statement="Two P-T lie in one basin of the loss.",
    statistic="largest epsilon with walls around the segment between the two minus the smallest with a flat floor "
    "on it, mean over targets",
    reason="zero: above it there is an epsilon with which the segment is an (epsilon, delta)-basin",
    unit="nats",
)
P_T_CAN_BE_AVERAGED = Claim(
    id="p_t_can_be_averaged",
    analysis="barriers",
    origin="transferscope",
    statement="The weights of two P-T can be averaged: that is as good as one of them.",
    statistic="test metric of the averaged weights of two P-T minus the mean of the two, mean over targets",
    threshold=-SMALL_METRIC,
    reason="two points below the mean of the two, the same as for barriers",
)
CLAIMS = (
    NO_BARRIER_BETWEEN_P_T,
    BARRIER_P_T_RI_T,
    BARRIER_RI_T_RI_T,
    BARRIER_RI_T_SAME_INIT,
    P_T_SHARE_A_BASIN,
    P_T_CAN_BE_AVERAGED,
)


def findings(tables: Mapping[str, pl.DataFrame], study: Study) -> Sequence[Finding]:
    """The claims about barriers between final networks, over the line; about basins; about averaging."""
    import polars as pl

    line = tables["barriers"].filter((pl.col("definition") == "line") & (pl.col("checkpoint") == "final"))
    averaged = tables["barriers_averaging"].filter(pl.col("what") == AVERAGED)
    room = pl.col("largest_epsilon") - pl.col("deviation")
    return [
        _finding(NO_BARRIER_BETWEEN_P_T, line, "P-T & P-T", pl.col("barrier_metric")),
        _finding(BARRIER_P_T_RI_T, line, "P-T & RI-T", pl.col("barrier_metric")),
        _finding(BARRIER_RI_T_RI_T, line, "RI-T & RI-T", pl.col("barrier_metric")),
        _finding(BARRIER_RI_T_SAME_INIT, line, SAME_INIT, pl.col("barrier_metric")),
        _finding(P_T_SHARE_A_BASIN, tables["barriers_basin"], "P-T & P-T", room),
        _finding(P_T_CAN_BE_AVERAGED, averaged, "P-T & P-T", pl.col("metric_gain")),
    ]


def _finding(claim: Claim, table: pl.DataFrame, pair: str, value: pl.Expr) -> Finding:
    """The mean over targets of a number of every pair of a kind."""
    import polars as pl

    rows = table.filter(pl.col("pair") == pair)
    if rows.is_empty():
        return not_measured(claim, f"The study has no pair {pair}.")
    return judge(claim, rows, lambda part: mean_over_targets(part, value), num_images=largest(rows, "n"))
