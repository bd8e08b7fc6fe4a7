"""The claims about barriers, basins and averages, and what its tables say of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from transferscope.analyses.barriers.tables import AVERAGED
from transferscope.analyses.claims import SMALL_METRIC, Claim, Finding
from transferscope.analyses.findings import Rows, judge, largest, mean_of
from transferscope.core.config import Study
from transferscope.core.instances import SAME_INIT

if TYPE_CHECKING:
    import polars as pl

_TWO_POINTS = "two points, as in Frankle et al. (2020)"
_DROP = "largest drop of the metric below the line, strictly between the ends"
OTHER_P = "P-T & P-T, other P"
"""The kind of pair of two P-T whose pre-trainings differ; a study with one P has none."""


def _barrier(id: str, statement: str, pair: str, **other: Any) -> Claim:
    """A claim about the barriers between the pairs of a kind."""
    return Claim(
        id=id,
        analysis="barriers",
        statement=statement,
        table="barriers",
        statistic=f"{_DROP}, mean over {pair}",
        threshold=SMALL_METRIC,
        reason=_TWO_POINTS,
        **other,
    )


NO_BARRIER_BETWEEN_P_T = _barrier(
    "no_barrier_between_p_t",
    "There is no performance barrier between two P-T.",
    "P-T & P-T",
    across="each",
    side="below",
)
BARRIER_P_T_RI_T = _barrier("barrier_p_t_ri_t", "There is a barrier between a P-T and an RI-T.", "P-T & RI-T")
BARRIER_RI_T_RI_T = _barrier("barrier_ri_t_ri_t", "There is a barrier between two RI-T.", "RI-T & RI-T")
BARRIER_RI_T_SAME_INIT = _barrier(
    "barrier_ri_t_same_init",
    "There is a barrier even between two RI-T from the same random initialization.",
    SAME_INIT,
)
BARRIER_BETWEEN_SEVERAL_P = _barrier(
    "barrier_between_several_p",
    "There is a barrier between two P-T that start from different pre-trainings.",
    OTHER_P,
    origin="transferscope",
)
P_T_SHARE_A_BASIN = Claim(
    id="p_t_share_a_basin",
    analysis="barriers",
    statement="Two P-T lie in one basin of the loss.",
    table="barriers_basin",
    statistic="margin with which the segment between the two is a basin, mean over P-T & P-T",
    across="each",
    reason="zero: above it the segment is an (epsilon, delta)-basin",
    unit="nats",
)
RI_T_DO_NOT_SHARE_A_BASIN = Claim(
    id="ri_t_do_not_share_a_basin",
    analysis="barriers",
    statement="Two RI-T do not lie in one basin of the loss.",
    table="barriers_basin",
    statistic="margin with which the segment between the two is a basin, mean over RI-T & RI-T",
    across="each",
    side="below",
    reason="zero: below it the segment is not an (epsilon, delta)-basin",
    unit="nats",
)
P_T_CAN_BE_AVERAGED = Claim(
    id="p_t_can_be_averaged",
    analysis="barriers",
    origin="transferscope",
    statement="The weights of two P-T can be averaged: that is as good as one of them.",
    table="barriers_averaging",
    statistic="test metric of the averaged weights of two P-T minus the mean of the two, mean over P-T & P-T",
    across="each",
    threshold=-SMALL_METRIC,
    reason="two points below the mean of the two, the same as for barriers",
)
CLAIMS = (
    NO_BARRIER_BETWEEN_P_T,
    BARRIER_P_T_RI_T,
    BARRIER_RI_T_RI_T,
    BARRIER_RI_T_SAME_INIT,
    BARRIER_BETWEEN_SEVERAL_P,
    P_T_SHARE_A_BASIN,
    RI_T_DO_NOT_SHARE_A_BASIN,
    P_T_CAN_BE_AVERAGED,
)


def findings(tables: Mapping[str, pl.DataFrame], study: Study) -> Sequence[Finding]:
    """The claims about barriers between final networks, over the line; about basins; about averaging."""
    import polars as pl

    line = (pl.col("definition") == "line") & (pl.col("checkpoint") == "final")
    averaged = pl.col("what") == AVERAGED
    drop = "interior_drop_metric"
    one_p = (
        "All P-T of this study start from one P. Run it again with another source.pretraining.seed, and compare "
        "the two studies with transferscope report --compare."
    )
    return [
        _finding(claim, tables, value, pair, where, missing)
        for claim, pair, where, value, missing in (
            (NO_BARRIER_BETWEEN_P_T, "P-T & P-T", line, drop, ""),
            (BARRIER_P_T_RI_T, "P-T & RI-T", line, drop, ""),
            (BARRIER_RI_T_RI_T, "RI-T & RI-T", line, drop, ""),
            (BARRIER_RI_T_SAME_INIT, SAME_INIT, line, drop, ""),
            (BARRIER_BETWEEN_SEVERAL_P, OTHER_P, line, drop, one_p),
            (P_T_SHARE_A_BASIN, "P-T & P-T", pl.lit(True), "margin", ""),
            (RI_T_DO_NOT_SHARE_A_BASIN, "RI-T & RI-T", pl.lit(True), "margin", ""),
            (P_T_CAN_BE_AVERAGED, "P-T & P-T", averaged, "metric_gain", ""),
        )
    ]


def _finding(
    claim: Claim,
    tables: Mapping[str, pl.DataFrame],
    value: str,
    pair: str,
    where: pl.Expr,
    missing: str,
) -> Finding:
    """The mean of a number of every pair of a kind."""
    import polars as pl

    rows: Rows = lambda table: table.filter((pl.col("pair") == pair) & where)  # noqa: E731
    n = largest(rows(tables[claim.table]), "n")
    why = missing or f"The study has no pair {pair}."
    return judge(claim, tables, mean_of(value), rows=rows, num_images=n, missing=why)
