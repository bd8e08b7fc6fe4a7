"""Studies in which the claims about spectra are true, false and in between; their statistics anew."""

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
    frame,
    groups,
    mean,
    of,
    over_targets,
)


def singular_values(difference: float) -> Callable[[Draw], Tables]:
    """Two convolutions: P-T's mean singular value minus RI-T's."""

    def simulate(draw: Draw) -> Tables:
        rows = [
            {"target": "t", "kind": kind, "seed": seed, "convolution": name, "starts_at_zero": False}
            | {"mean": mean + draw.noise(0.01), "mean_relative": 0.3}
            for name in ("conv1", "conv2")
            for kind, mean in (("P-T", 0.4 + difference), ("RI-T", 0.4))
            for seed in draw.seeds
        ]
        return {"spectra": frame(rows)}

    return simulate


def spectra(rows: Rows) -> float:
    differences: Rows = []
    for (target, _), part in groups(rows, "target", "convolution").items():
        means = [mean(math.log(row["mean"]) for row in of(part, kind=kind)) for kind in ("P-T", "RI-T")]
        differences.append({"target": target, "difference": means[0] - means[1]})
    return over_targets(differences, "difference")


SCENARIOS = (
    Scenario(NULL, singular_values(0), {"ri_t_spectra_are_smaller": NULL}),
    Scenario(HOLD, singular_values(0.1), {"ri_t_spectra_are_smaller": HOLD}),
    Scenario(FAIL, singular_values(-0.1), {"ri_t_spectra_are_smaller": FAIL}),
)
STATISTICS: Statistics = {
    "ri_t_spectra_are_smaller": ("spectra", spectra),
}
WITHOUT_TEST_IMAGES = {"ri_t_spectra_are_smaller"}
