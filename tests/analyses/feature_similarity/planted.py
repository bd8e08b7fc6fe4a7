"""Studies in which the claims about feature_similarity are true, false and in between; their statistics anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from planted_studies import (
    FAIL,
    HOLD,
    NULL,
    THREE,
    Draw,
    Rows,
    Scenario,
    Statistics,
    Tables,
    all_of,
    frame,
    of,
    over_targets,
    pair_noise,
    slope,
)

CLAIMS = ("p_t_features_are_similar", "p_t_similarity_falls_with_depth", "ri_t_features_are_dissimilar")


def similarity(first: Sequence[float], last: Sequence[float]) -> Callable[[Draw], Tables]:
    """CKA at the first and last of three layers of P-T & P-T, P-T & RI-T, RI-T & RI-T and RI & RI."""
    kinds = (*THREE, "RI & RI")

    def simulate(draw: Draw) -> Tables:
        rows = [
            {**row, "depth_a": depth, "depth_b": depth, "n": 100, "linear_cka": float(mean) + row["noise"]}
            for depth, means in enumerate((first, np.add(first, last) / 2, last))
            for kind, mean in zip(kinds, means, strict=True)
            for row in pair_noise(draw, [kind], 0.01)
        ]
        return {"feature_similarity": frame(rows)}

    return simulate


def cka(rows: Rows, pair: str) -> float:
    return over_targets(
        [row for row in of(rows, pair=pair) if row["depth_a"] == row["depth_b"]], "linear_cka"
    )


def most_like_ri_t(rows: Rows) -> float:
    return max(cka(rows, "P-T & RI-T"), cka(rows, "RI-T & RI-T"))


def fall(rows: Rows) -> float:
    same = [row for row in of(rows, pair="P-T & P-T") if row["depth_a"] == row["depth_b"]]
    return -slope(same, "depth_a", lambda row: row["linear_cka"], "a", "b")


SCENARIOS = (
    Scenario(
        NULL,
        similarity((0.6, 0.6, 0.3, 0.6), (0.6, 0.6, 0.3, 0.6)),
        all_of(CLAIMS, NULL),
    ),
    Scenario(
        HOLD,
        similarity((0.95, 0.4, 0.4, 0.3), (0.75, 0.4, 0.4, 0.3)),
        all_of(CLAIMS, HOLD),
    ),
    Scenario(
        FAIL,
        similarity((0.4, 0.9, 0.5, 0.3), (0.6, 0.9, 0.5, 0.3)),
        all_of(CLAIMS, FAIL),
    ),
    Scenario(
        "a tie",
        similarity((0.6, 0.6, 0.6, 0.6), (0.6, 0.6, 0.6, 0.6)),
        {CLAIMS[0]: "not favoured", CLAIMS[2]: "not favoured"},
    ),
)
STATISTICS: Statistics = {
    "p_t_features_are_similar": (
        "feature_similarity",
        lambda rows: cka(rows, "P-T & P-T") - most_like_ri_t(rows),
    ),
    "p_t_similarity_falls_with_depth": (
        "feature_similarity",
        fall,
    ),
    "ri_t_features_are_dissimilar": (
        "feature_similarity",
        lambda rows: most_like_ri_t(rows) - (cka(rows, "RI & RI") + cka(rows, "P-T & P-T")) / 2,
    ),
}
