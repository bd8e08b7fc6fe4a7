"""Studies in which the claims about criticality are true, false and in between; their statistics anew."""

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
    groups,
    mean,
    of,
    over_targets,
    slope,
)

CLAIMS = (
    "p_t_low_modules_not_critical",
    "ri_t_low_modules_critical",
    "p_t_criticality_grows_toward_head",
    "ri_t_becomes_critical_in_training",
    "ri_t_becomes_critical_suddenly",
)


def modules(p_t: float, ri_t: float, growth: float, early: float, jump: float) -> Callable[[Draw], Tables]:
    """Drops of the lower modules; how P-T's rises grow; RI-T's first drop; the share of .4 at epoch 5."""

    def simulate(draw: Draw) -> Tables:
        rows, course = [], []
        for kind, drop in (("P-T", p_t), ("RI-T", ri_t)):
            for seed in draw.seeds:
                own = {"target": "t", "kind": kind, "seed": seed, "n_test": 100}
                shift = draw.noise(0.001)
                rows += [
                    {**own, "module": f"m{depth}", "depth": depth, "is_head": depth == 6}
                    | {
                        "test_drop": drop + shift,
                        "train_rise_loss": 0.1 * math.exp(growth * depth + draw.noise(0.3)),
                    }
                    for depth in range(7)
                ]
        for seed in draw.seeds:
            first = early + draw.noise(0.001)
            sudden = first + 0.4 * jump + draw.noise(0.01)
            keys = {
                "target": "t",
                "kind": "RI-T",
                "seed": seed,
                "module": "m0",
                "is_head": False,
                "n_test": 100,
            }
            for epoch in range(1, 21):
                # slow from epoch 8 on, for what is left of 0.4
                drop = (sudden if epoch >= 5 else first) + (0.4 - sudden) * max(0, epoch - 8) / 12
                course.append({**keys, "epoch": epoch, "test_drop": drop})
        return {"criticality": frame(rows), "criticality_training": frame(course)}

    return simulate


def low_drop(kind: str) -> Callable[[Rows], float]:
    def statistic(rows: Rows) -> float:
        body = of(rows, kind=kind, is_head=False)
        count = 1 + max(row["depth"] for row in body)
        return over_targets([row for row in body if row["depth"] < count / 2], "test_drop")

    return statistic


def suddenness(rows: Rows) -> float:
    shares = []
    for part in groups(of(rows, kind="RI-T", is_head=False), "target").values():
        drops = {
            epoch: mean(row["test_drop"] for row in own) for (epoch,), own in groups(part, "epoch").items()
        }
        epochs = sorted(drops)
        highest = {0: 0.0} | {last: max(0.0, *(drops[e] for e in epochs if e <= last)) for last in epochs}
        near = [(a, b) for a in highest for b in highest if a < b <= a + epochs[-1] / 10]
        shares.append(max(highest[b] - highest[a] for a, b in near) / highest[epochs[-1]])
    return mean(shares)


def passes_two_points(rows: Rows) -> float:
    body = of(rows, kind="RI-T", is_head=False)
    first, last = (
        over_targets(of(body, epoch=choose(row["epoch"] for row in body)), "test_drop")
        for choose in (min, max)
    )
    return min(0.02 - first, last - 0.02)


SCENARIOS = (
    Scenario(NULL, modules(0.02, 0.02, 0, 0.02, 0.5), all_of(CLAIMS, NULL)),
    Scenario(HOLD, modules(0.0, 0.3, 0.5, 0.0, 0.8), all_of(CLAIMS, HOLD)),
    Scenario(FAIL, modules(0.3, 0.0, -0.5, 0.1, 0.1), all_of(CLAIMS, FAIL)),
)
STATISTICS: Statistics = {
    "p_t_low_modules_not_critical": ("criticality", low_drop("P-T")),
    "ri_t_low_modules_critical": ("criticality", low_drop("RI-T")),
    "p_t_criticality_grows_toward_head": (
        "criticality",
        lambda rows: slope(
            of(rows, kind="P-T", is_head=False),
            "depth",
            lambda row: math.log(max(row["train_rise_loss"], 1e-3)),
            "seed",
        ),
    ),
    "ri_t_becomes_critical_in_training": ("criticality_training", passes_two_points),
    "ri_t_becomes_critical_suddenly": ("criticality_training", suddenness),
}
WITHOUT_TEST_IMAGES = {"p_t_criticality_grows_toward_head"}
WRONG_CHOICES = (("sigmas", (0.0,)),)
"""Options that the tiny study can't have."""
