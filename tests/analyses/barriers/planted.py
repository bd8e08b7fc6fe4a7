"""Studies in which the claims about barriers are true, false and in between; their statistics anew."""

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

CLAIMS = (
    "no_barrier_between_p_t",
    "barrier_p_t_ri_t",
    "barrier_ri_t_ri_t",
    "barrier_ri_t_same_init",
    "barrier_between_several_p",
    "p_t_share_a_basin",
    "ri_t_do_not_share_a_basin",
    "p_t_can_be_averaged",
)


def barriers(heights: Sequence[float], margin: float, gain: float) -> Callable[[Draw], Tables]:
    """Drops of P-T & P-T, P-T & RI-T, RI-T & RI-T, these from the same init, and P-T from another P; margins of basins,
    of the other sign for RI-T."""
    kinds = (*THREE, "RI-T & RI-T, same init", "P-T & P-T, other P")

    def simulate(draw: Draw) -> Tables:
        lines = [
            {
                **row,
                "definition": "line",
                "n": 100,
                "checkpoint": name,
                "interior_drop_metric": height + row["noise"],
            }
            for kind, height in zip(kinds, heights, strict=True)
            for row in pair_noise(draw, [kind], 0.001)
            for name in ("final", "best")
        ]
        basin = [
            {**row, "n": 100, "margin": sign * margin + row["noise"]}
            for kind, sign in (("P-T & P-T", 1), ("RI-T & RI-T", -1))
            for row in pair_noise(draw, [kind], 0.001)
        ]
        averaged = [
            {**row, "n": 100, "what": "averaged weights", "metric_gain": gain + row["noise"]}
            for row in pair_noise(draw, ["P-T & P-T"], 0.001)
        ]
        tables = {"barriers": lines, "barriers_basin": basin, "barriers_averaging": averaged}
        return {name: frame(rows) for name, rows in tables.items()}

    return simulate


def barrier(pair: str) -> Callable[[Rows], float]:
    return lambda rows: over_targets(
        of(rows, pair=pair, checkpoint="final", definition="line"), "interior_drop_metric"
    )


SCENARIOS = (
    Scenario(NULL, barriers((0.02, 0.02, 0.02, 0.02, 0.02), 0, -0.02), all_of(CLAIMS, NULL)),
    Scenario(HOLD, barriers((0.005, 0.3, 0.4, 0.1, 0.1), 0.05, 0.01), all_of(CLAIMS, HOLD)),
    Scenario(FAIL, barriers((0.2, 0.005, 0.005, 0.005, 0.005), -0.05, -0.1), all_of(CLAIMS, FAIL)),
)
STATISTICS: Statistics = {
    "no_barrier_between_p_t": ("barriers", barrier("P-T & P-T")),
    "barrier_p_t_ri_t": ("barriers", barrier("P-T & RI-T")),
    "barrier_ri_t_ri_t": ("barriers", barrier("RI-T & RI-T")),
    "barrier_ri_t_same_init": ("barriers", barrier("RI-T & RI-T, same init")),
    "barrier_between_several_p": ("barriers", barrier("P-T & P-T, other P")),
    "p_t_share_a_basin": ("barriers_basin", lambda rows: over_targets(of(rows, pair="P-T & P-T"), "margin")),
    "ri_t_do_not_share_a_basin": (
        "barriers_basin",
        lambda rows: over_targets(of(rows, pair="RI-T & RI-T"), "margin"),
    ),
    "p_t_can_be_averaged": (
        "barriers_averaging",
        lambda rows: over_targets(of(rows, pair="P-T & P-T", what="averaged weights"), "metric_gain"),
    ),
}
WRONG_CHOICES = (
    ("alphas", (0.5,)),
    ("alphas", (0.0, 0.0, 0.5, 1.0)),
    ("across", (("digits", "scans"),)),
    ("plane_targets", ("numbers",)),
)
"""Options that the tiny study can't have."""
