"""The claims about features, and what its tables say of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from transferscope.analyses.claims import Claim, Finding
from transferscope.analyses.findings import judge, largest, mean_over_targets, mean_slope
from transferscope.core.config import Study

if TYPE_CHECKING:
    import polars as pl

P_T_FEATURES_ARE_SIMILAR = Claim(
    id="p_t_features_are_similar",
    analysis="feature_similarity",
    statement="The features of two P-T are more similar than those of any pair with an RI-T.",
    table="feature_similarity",
    statistic="linear CKA of P-T & P-T minus the larger of P-T & RI-T and RI-T & RI-T, each a mean over layers",
)
P_T_SIMILARITY_FALLS_WITH_DEPTH = Claim(
    id="p_t_similarity_falls_with_depth",
    analysis="feature_similarity",
    statement="The similarity of two P-T falls with depth.",
    table="feature_similarity",
    statistic="slope of the linear CKA of P-T & P-T on depth, as the fall from the first layer to the last one "
    "before the head, mean over pairs",
)
RI_T_FEATURES_ARE_DISSIMILAR = Claim(
    id="ri_t_features_are_dissimilar",
    analysis="feature_similarity",
    statement="Every pair with an RI-T has a low similarity.",
    table="feature_similarity",
    statistic="linear CKA of the more similar of P-T & RI-T and RI-T & RI-T, minus the middle between RI & RI "
    "(untrained networks) and P-T & P-T, each a mean over layers",
    side="below",
    reason="zero: nearer to what the architecture and the images alone give than to two P-T; the paper names no "
    "number, and an absolute one would judge the images, on some of which untrained networks are near 1",
)
CLAIMS = (P_T_FEATURES_ARE_SIMILAR, P_T_SIMILARITY_FALLS_WITH_DEPTH, RI_T_FEATURES_ARE_DISSIMILAR)


def findings(tables: Mapping[str, pl.DataFrame], study: Study) -> Sequence[Finding]:
    """The three claims about features."""
    import polars as pl

    def same_layer(table: pl.DataFrame) -> pl.DataFrame:
        return table.filter(pl.col("depth_a") == pl.col("depth_b"))

    def of_p_t(table: pl.DataFrame) -> pl.DataFrame:
        return same_layer(table).filter(pl.col("pair") == "P-T & P-T")

    table = same_layer(tables["feature_similarity"])
    n = largest(table, "n")
    return [
        judge(
            P_T_FEATURES_ARE_SIMILAR,
            tables,
            lambda rows: _mean_cka(rows, "P-T & P-T") - _with_ri_t(rows),
            rows=same_layer,
            num_images=n,
        ),
        judge(
            P_T_SIMILARITY_FALLS_WITH_DEPTH,
            tables,
            lambda rows: -mean_slope(rows, "depth_a", "linear_cka", by=("seed_a", "seed_b")),
            rows=of_p_t,
            num_images=n,
            missing="The study has no pair P-T & P-T.",
        ),
        judge(
            RI_T_FEATURES_ARE_DISSIMILAR,
            tables,
            lambda rows: _with_ri_t(rows) - (_mean_cka(rows, "RI & RI") + _mean_cka(rows, "P-T & P-T")) / 2,
            rows=same_layer,
            num_images=n,
            note=_room(table),
        ),
    ]


def _mean_cka(rows: pl.DataFrame, kind: str) -> float:
    import polars as pl

    return mean_over_targets(rows.filter(pl.col("pair") == kind), "linear_cka")


def _room(table: pl.DataFrame) -> str:
    """The two ends of the scale, in words."""
    floor, ceiling = (_mean_cka(table, kind) for kind in ("RI & RI", "P-T & P-T"))
    ends = (("RI & RI", floor), ("P-T & P-T", ceiling))
    named = (f"{kind} {'not measured' if math.isnan(end) else f'{end:.2f}'}" for kind, end in ends)
    text = f"{', '.join(named)}."
    return f"{text} Two P-T are no more alike than two untrained networks." if ceiling <= floor else text


def _with_ri_t(rows: pl.DataFrame) -> float:
    import numpy as np

    # unlike max, NaN where one of them is
    return float(np.maximum(_mean_cka(rows, "P-T & RI-T"), _mean_cka(rows, "RI-T & RI-T")))
