"""Studies in which the claims about feature_reuse are true, false and in between; their statistics anew."""

from __future__ import annotations

import math
from collections.abc import Callable

from planted_studies import (
    FAIL,
    HOLD,
    NULL,
    Draw,
    Rows,
    Scenario,
    Statistics,
    Tables,
    all_of,
    frame,
    of,
    over_targets,
    slope,
)

CLAIMS = (
    "gain_shrinks_with_blocks",
    "gain_falls_along_block_sizes",
    "gain_shrinks_most_near_source",
    "gain_survives_shuffling",
    "statistics_help_speed_most",
)


SIZES_PX = (32, 8, 2, 1)


def reuse(near: tuple[float, float], far: tuple[float, float], speed: float) -> Callable[[Draw], Tables]:
    """Gains unshuffled and at 1 px, on the target most like the source and on the others; the gain in speed."""

    def simulate(draw: Draw) -> Tables:
        whole, smallest = near if draw.place == 0 else far
        rows = []
        for size in SIZES_PX:
            gain = smallest + (whole - smallest) * math.log(size) / math.log(SIZES_PX[0])
            keys = {"target": "t", "likeness_rank": draw.place + 1, "block_size_px": size, "n_test": 100}
            rows += [
                {**keys, "view": "unshuffled" if size == SIZES_PX[0] else "blocks", "seed": seed}
                | {"gain": gain + draw.noise(0.01), "speed_gain": speed + draw.noise(0.01)}
                for seed in draw.seeds
            ]
        return {"feature_reuse": frame(rows)}

    return simulate


def shrinkage(rows: Rows) -> float:
    return over_targets(of(rows, view="unshuffled"), "gain") - over_targets(small(rows), "gain")


def small(rows: Rows) -> Rows:
    return of(rows, view="blocks", block_size_px=1)


SCENARIOS = (
    Scenario(NULL, reuse((0, 0), (0, 0), 0), all_of(CLAIMS, NULL)),
    Scenario(HOLD, reuse((0.3, 0.05), (0.1, 0.05), 0.2), all_of(CLAIMS, HOLD)),
    Scenario(FAIL, reuse((-0.3, -0.05), (-0.1, -0.05), -0.2), all_of(CLAIMS, FAIL)),
)
STATISTICS: Statistics = {
    "gain_shrinks_with_blocks": ("feature_reuse", shrinkage),
    "gain_falls_along_block_sizes": (
        "feature_reuse",
        lambda rows: slope(
            [row | {"log_size": math.log(row["block_size_px"])} for row in rows],
            "log_size",
            lambda row: row["gain"],
            "seed",
        ),
    ),
    "gain_shrinks_most_near_source": ("feature_reuse", shrinkage),
    "gain_survives_shuffling": ("feature_reuse", lambda rows: over_targets(small(rows), "gain")),
    "statistics_help_speed_most": (
        "feature_reuse",
        lambda rows: over_targets(small(rows), lambda row: row["speed_gain"] - row["gain"]),
    ),
}
WRONG_CHOICES = (("block_sizes_px", (5,)),)
"""Options that the tiny study can't have."""
