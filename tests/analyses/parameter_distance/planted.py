"""Studies in which the claims about parameter_distance are true, false and in between; their statistics anew."""

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
    pair_noise,
    slope,
)

CLAIMS = ("p_t_are_close", "distance_grows_toward_head")


def distances(ratio: float, growth: float) -> Callable[[Draw], Tables]:
    """P-T lie `ratio` times as far apart as RI-T; distances of six modules and the head rise by `growth`."""

    def simulate(draw: Draw) -> Tables:
        rows = []
        for kind, center in (("P-T & P-T", 10.0 * ratio), ("RI-T & RI-T", 10.0)):
            for row in pair_noise(draw, [kind], 0.01):
                rows.append({**row, "module": "all", "depth": None, "distance": center * (1 + row["noise"])})
        for depth in range(7):
            for row in pair_noise(draw, ["P-T & P-T"], 1.0):
                distance = 100 + growth * depth + row["noise"]
                rows.append({**row, "module": f"m{depth}", "depth": depth, "distance": distance})
        return {"parameter_distance": frame(rows)}

    return simulate


def whole_distance(rows: Rows, pair: str) -> float:
    return over_targets(of(rows, pair=pair, module="all"), "distance")


SCENARIOS = (
    Scenario(NULL, distances(1, 0), all_of(CLAIMS, NULL)),
    Scenario(HOLD, distances(0.3, 4), all_of(CLAIMS, HOLD)),
    Scenario(FAIL, distances(3, -4), all_of(CLAIMS, FAIL)),
)
STATISTICS: Statistics = {
    "p_t_are_close": (
        "parameter_distance",
        lambda rows: math.log(whole_distance(rows, "P-T & P-T") / whole_distance(rows, "RI-T & RI-T")),
    ),
    "distance_grows_toward_head": (
        "parameter_distance",
        lambda rows: slope(
            [
                row
                for row in of(rows, pair="P-T & P-T")
                if row["module"] != "all" and row["depth"] < max(own["depth"] or 0 for own in rows)
            ],
            "depth",
            lambda row: math.log(row["distance"]),
            "a",
            "b",
        ),
    ),
}
WITHOUT_TEST_IMAGES = {"distance_grows_toward_head", "p_t_are_close"}
