"""Studies in which the claims about low_level_statistics are true, false and in between; their statistics anew."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
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
)

CLAIMS = (
    "weight_statistics_speed_up",
    "features_give_more_than_statistics",
    "features_survive_shuffling",
)


def controls(gain: float, statistics: float, speed: float, shuffled: float = 0.0) -> Callable[[Draw], Tables]:
    """One target with a gain, what weight statistics give, and what features give on shuffled blocks."""

    def simulate(draw: Draw) -> Tables:
        rows = []
        for seed in draw.seeds:
            whole, part = gain + draw.noise(0.01), statistics + draw.noise(0.01)
            own = {"gain": whole, "weight statistics": part, "beyond weight statistics": whole - part}
            own["features on shuffled blocks"] = shuffled + draw.noise(0.01)
            keys = {"target": "t", "block_size_px": 1, "seed": seed}
            rows += [
                {**keys, "quantity": "final metric", "part": name, "value": value}
                for name, value in own.items()
            ]
            faster = {"part": "weight statistics", "value": speed + draw.noise(0.01)}
            rows.append({**keys, "quantity": "optimization speed", **faster})
        networks = pl.DataFrame({"n_test": [100]})
        return {"low_level_statistics": frame(rows), "low_level_statistics_networks": networks}

    return simulate


def part_of(rows: Rows, part: str, quantity: str = "final metric") -> float:
    return over_targets(of(rows, part=part, quantity=quantity), "value")


SCENARIOS = (
    Scenario(NULL, controls(0.3, 0.15, 0), all_of(CLAIMS, NULL)),
    Scenario(HOLD, controls(0.3, 0, 0.15, 0.1), all_of(CLAIMS, HOLD)),
    Scenario(FAIL, controls(0.3, 0.35, -0.15, -0.1), all_of(CLAIMS, FAIL)),
    Scenario(
        "no gain",
        controls(-0.3, -0.3, 0),
        {"features_give_more_than_statistics": "no claim"},
    ),
)
STATISTICS: Statistics = {
    "weight_statistics_speed_up": (
        "low_level_statistics",
        lambda rows: part_of(rows, "weight statistics", "optimization speed"),
    ),
    "features_give_more_than_statistics": (
        "low_level_statistics",
        lambda rows: part_of(rows, "beyond weight statistics") - part_of(rows, "weight statistics"),
    ),
    "features_survive_shuffling": (
        "low_level_statistics",
        lambda rows: part_of(rows, "features on shuffled blocks"),
    ),
}
WITHOUT_TEST_IMAGES = {"weight_statistics_speed_up"}
WRONG_CHOICES = (("block_size_px", 5),)
"""Options that the tiny study can't have."""
