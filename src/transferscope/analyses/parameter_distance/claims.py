"""The claims about distances of weights, and what its tables say of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from transferscope.analyses.claims import Claim, Finding
from transferscope.analyses.findings import judge, largest, log_ratio, mean_over_targets, mean_slope
from transferscope.analyses.parameter_distance.tables import WHOLE
from transferscope.core.config import Study

if TYPE_CHECKING:
    import polars as pl

P_T_ARE_CLOSE = Claim(
    id="p_t_are_close",
    analysis="parameter_distance",
    statement="Two P-T lie far closer to each other than two RI-T.",
    table="parameter_distance",
    statistic="L2 distance of P-T & P-T over that of RI-T & RI-T, without the head, each a mean over pairs",
    threshold=1.0,
    side="below",
    reason="one: closer at all; the ratio itself says how far",
    unit="x",
)
DISTANCE_GROWS_TOWARD_HEAD = Claim(
    id="distance_grows_toward_head",
    analysis="parameter_distance",
    statement="The distance per module grows toward the head.",
    table="parameter_distance",
    statistic="slope of the logarithm of the L2 distance of P-T & P-T on a module's place, without the head, as the "
    "factor from the first module to the last, mean over pairs",
    threshold=1.0,
    reason="one: any growth; the factor itself says how much",
    unit="x",
)
CLAIMS = (P_T_ARE_CLOSE, DISTANCE_GROWS_TOWARD_HEAD)


def findings(tables: Mapping[str, pl.DataFrame], study: Study) -> Sequence[Finding]:
    """The two claims about distances."""
    import polars as pl

    head = largest(tables["parameter_distance"], "depth")

    def body(table: pl.DataFrame) -> pl.DataFrame:
        return table.filter((pl.col("pair") == "P-T & P-T") & (pl.col("depth") < head))

    def of_kind(rows: pl.DataFrame, kind: str) -> float:
        return mean_over_targets(rows.filter(pl.col("pair") == kind), "distance")

    return [
        judge(
            P_T_ARE_CLOSE,
            tables,
            lambda rows: log_ratio(of_kind(rows, "P-T & P-T"), of_kind(rows, "RI-T & RI-T")),
            rows=lambda table: table.filter(pl.col("module") == WHOLE),
        ),
        judge(
            DISTANCE_GROWS_TOWARD_HEAD,
            tables,
            lambda rows: mean_slope(rows, "depth", pl.col("distance").log(), by=("seed_a", "seed_b")),
            rows=body,
            missing="The study has no pair P-T & P-T.",
        ),
    ]
