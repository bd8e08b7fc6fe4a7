"""The claims about distances of weights, and what its tables say of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from transferscope.analyses.findings import (
    Claim,
    Finding,
    judge,
    mean_order_p,
    mean_over_targets,
    mean_rank_correlation,
)
from transferscope.analyses.parameter_distance.tables import WHOLE
from transferscope.core.config import Study

if TYPE_CHECKING:
    import polars as pl


P_T_ARE_CLOSE = Claim(
    id="p_t_are_close",
    analysis="parameter_distance",
    statement="Two P-T lie far closer to each other than two RI-T.",
    statistic="L2 distance of P-T & P-T over that of RI-T & RI-T, without the head, each a mean over targets",
    threshold=1.0,
    side="below",
    reason="one: closer at all; the ratio itself says how far",
    unit="x",
)
DISTANCE_GROWS_TOWARD_HEAD = Claim(
    id="distance_grows_toward_head",
    analysis="parameter_distance",
    statement="The distance per module grows toward the head.",
    statistic="rank correlation of a module's place and the L2 distance of P-T & P-T there, without the head, "
    "mean over pairs and targets",
)
CLAIMS = (
    P_T_ARE_CLOSE,
    DISTANCE_GROWS_TOWARD_HEAD,
)


def findings(tables: Mapping[str, pl.DataFrame], study: Study) -> Sequence[Finding]:
    """The two claims about distances."""
    import polars as pl

    table = tables["parameter_distance"]
    depth = pl.col("depth")
    body = table.filter((pl.col("pair") == "P-T & P-T") & (depth < depth.max()))  # the last is the head
    return [
        judge(P_T_ARE_CLOSE, table.filter(pl.col("module") == WHOLE), _closeness),
        judge(DISTANCE_GROWS_TOWARD_HEAD, body, _growth, order_p=_growth_p),
    ]


def _closeness(rows: pl.DataFrame) -> float:
    import polars as pl

    distances = [
        mean_over_targets(rows.filter(pl.col("pair") == kind), "distance")
        for kind in ("P-T & P-T", "RI-T & RI-T")
    ]
    return distances[0] / distances[1] if distances[1] > 0 else math.nan


def _growth(rows: pl.DataFrame) -> float:
    return mean_rank_correlation(rows, "depth", "distance", by=("seed_a", "seed_b"))


def _growth_p(rows: pl.DataFrame) -> float:
    return mean_order_p(rows, "depth", "distance", by=("seed_a", "seed_b"))
