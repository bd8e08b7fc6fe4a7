"""Studies in which the claims about feature_reuse are true, false and in between; their statistics anew."""

from __future__ import annotations

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
    groups,
    mean,
    of,
    over_targets,
)

CLAIMS = (
    "gain_shrinks_with_blocks",
    "gain_shrinks_most_near_source",
    "gain_survives_shuffling",
    "statistics_help_speed_most",
)


def reuse(near: tuple[float, float], far: tuple[float, float], speed: float) -> Callable[[Draw], Tables]:
    """Gains of two targets unshuffled and at 1 px, and the gain in speed; P-T is at 0.8 everywhere."""

    def simulate(draw: Draw) -> Tables:
        rows = []
        for rank, (target, gains) in enumerate((("near", near), ("far", far)), start=1):
            for view, size, gain in zip(("unshuffled", "blocks"), (32, 1), gains, strict=True):
                for seed in draw.seeds:
                    keys = {"target": target, "likeness_rank": rank, "view": view, "block_size_px": size}
                    own = {"relative_gain": (gain + draw.noise(0.01)) / 0.8, "p_t_speed": 0.8}
                    own["speed_gain"] = speed + draw.noise(0.01)
                    rows.append({**keys, "seed": seed, "n_test": 100, **own})
        return {"feature_reuse": frame(rows)}

    return simulate


def shrinkage(rows: Rows, rank: int | None = None) -> float:
    of_rank = groups(rows if rank is None else of(rows, likeness_rank=rank), "target").values()
    return mean(
        mean(row["relative_gain"] for row in of(part, view="unshuffled"))
        - mean(row["relative_gain"] for row in of(part, view="blocks", block_size_px=1))
        for part in of_rank
    )


def small(rows: Rows) -> Rows:
    return of(rows, view="blocks", block_size_px=1)


SCENARIOS = (
    Scenario(NULL, reuse((0, 0), (0, 0), 0), all_of(CLAIMS, NULL)),
    Scenario(HOLD, reuse((0.3, 0.05), (0.1, 0.05), 0.2), all_of(CLAIMS, HOLD)),
    Scenario(FAIL, reuse((-0.3, -0.05), (-0.1, -0.05), -0.2), all_of(CLAIMS, FAIL)),
)
STATISTICS: Statistics = {
    "gain_shrinks_with_blocks": ("feature_reuse", shrinkage),
    "gain_shrinks_most_near_source": (
        "feature_reuse",
        lambda rows: shrinkage(rows, 1) - shrinkage(rows, 2),
    ),
    "gain_survives_shuffling": ("feature_reuse", lambda rows: over_targets(small(rows), "relative_gain")),
    "statistics_help_speed_most": (
        "feature_reuse",
        lambda rows: over_targets(
            small(rows), lambda row: row["speed_gain"] / row["p_t_speed"] - row["relative_gain"]
        ),
    ),
}
WRONG_CHOICES = (("block_sizes_px", (5,)),)
"""Options that the tiny study can't have."""
