"""Studies in which the claims about checkpoints are true, false and in between; their statistics anew."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

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
    "later_checkpoints_are_better",
    "late_checkpoints_differ_little",
    "source_jumps_do_not_carry_over",
)


def sweep(*metrics: float) -> Callable[[Draw], Tables]:
    """Target metric from epochs 1 to 4; the source jumps by 0.2 at the drop of the rate before epoch 4."""

    def simulate(draw: Draw) -> Tables:
        rows = [
            {"target": "t", "pretrain_epoch": epoch, "seed": seed, "n_test": 100, "source_metric": source}
            | {"after_rate_drop": epoch == 4, "target_metric": metric + draw.noise(0.002)}
            for epoch, (metric, source) in enumerate(
                zip(metrics, (0.4, 0.5, 0.55, 0.75), strict=True), start=1
            )
            for seed in draw.seeds
        ]
        return {"checkpoints": frame(rows)}

    return simulate


def at_epoch(rows: Rows, epoch: int, name: str = "target_metric") -> float:
    return over_targets(of(rows, pretrain_epoch=epoch), name)


def carried_over(rows: Rows) -> float:
    epochs = sorted({row["pretrain_epoch"] for row in rows})
    drops = [(a, b) for a, b in pairwise(epochs) if of(rows, pretrain_epoch=b, after_rate_drop=True)]
    change = {
        name: sum(at_epoch(rows, b, name) - at_epoch(rows, a, name) for a, b in drops)
        for name in ("target_metric", "source_metric")
    }
    return change["target_metric"] / change["source_metric"]


def middle(rows: Rows) -> tuple[int, int, int]:
    """First trained, middle and last checkpoint."""
    trained = sorted({row["pretrain_epoch"] for row in rows} - {0})
    return trained[0], min(trained, key=lambda epoch: abs(epoch - trained[-1] / 2)), trained[-1]


SCENARIOS = (
    Scenario(NULL, sweep(0.8, 0.78, 0.7, 0.8), all_of(CLAIMS, NULL)),
    Scenario(HOLD, sweep(0.5, 0.8, 0.8, 0.8), all_of(CLAIMS, HOLD)),
    Scenario(FAIL, sweep(0.8, 0.5, 0.5, 0.7), all_of(CLAIMS, FAIL)),
)
STATISTICS: Statistics = {
    "later_checkpoints_are_better": (
        "checkpoints",
        lambda rows: at_epoch(rows, middle(rows)[2]) - at_epoch(rows, middle(rows)[0]),
    ),
    "late_checkpoints_differ_little": (
        "checkpoints",
        lambda rows: at_epoch(rows, middle(rows)[2]) - at_epoch(rows, middle(rows)[1]),
    ),
    "source_jumps_do_not_carry_over": ("checkpoints", carried_over),
}
WRONG_CHOICES = (("pretrain_epochs", (99,)),)
"""Options that the tiny study can't have."""
