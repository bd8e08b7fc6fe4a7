"""Studies in which the claims about feature_similarity are true, false and in between; their statistics anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
)

CLAIMS = ("p_t_features_are_similar", "p_t_similarity_falls_with_depth", "ri_t_features_are_dissimilar")


def similarity(first: Sequence[float], last: Sequence[float]) -> Callable[[Draw], Tables]:
    """CKA at two layers of P-T & P-T, P-T & RI-T, RI-T & RI-T and RI & RI."""
    kinds = (*THREE, "RI & RI")

    def simulate(draw: Draw) -> Tables:
        rows = [
            {**row, "depth_a": depth, "depth_b": depth, "n": 100, "linear_cka": mean + row["noise"]}
            for depth, means in enumerate((first, last))
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


def at_depth(rows: Rows, depth: int) -> float:
    return over_targets(of(rows, pair="P-T & P-T", depth_a=depth, depth_b=depth), "linear_cka")


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
        lambda rows: at_depth(rows, 0) - at_depth(rows, max(row["depth_a"] for row in rows)),
    ),
    "ri_t_features_are_dissimilar": (
        "feature_similarity",
        lambda rows: most_like_ri_t(rows) - (cka(rows, "RI & RI") + cka(rows, "P-T & P-T")) / 2,
    ),
}
