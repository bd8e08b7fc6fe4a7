"""What checkpoints says on the first page: which checkpoint to start from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from transferscope.analyses.contract import Advice
from transferscope.analyses.shared.phrases import (
    counted,
    points,
    rows_of,
)

if TYPE_CHECKING:
    import polars as pl


def advice(tables: Mapping[str, pl.DataFrame]) -> Iterator[Advice]:
    """The earliest checkpoint that is as good as the best one, by target."""
    table = rows_of(tables, "checkpoints_choice")
    if table is None:
        return
    for row in table.iter_rows(named=True):
        best = f"epoch {row['best_epoch']}, {row['best_metric']:.3f}"
        seeds = counted(row["num_seeds"], "seed")
        certainty, why = "indirect", f"by the rule of one standard error over {seeds}, from one pre-training"
        if row["recommended_epoch"] is None:
            text = f"Which checkpoint to take for {row['target']} is undecided with {seeds}."
            evidence = f"The best is {best}, of {row['last_epoch']} epochs."
            certainty, why = "open", f"{seeds} give no standard error"
        elif row["recommended_epoch"] == row["best_epoch"]:
            text = f"For {row['target']}, start from pre-training epoch {row['best_epoch']} of {row['last_epoch']}."
            evidence = (
                f"There is no earlier one within one standard error of its {row['best_metric']:.3f} (standard error "
                f"{row['standard_error']:.4f} over {seeds})."
            )
        else:
            of = f"{row['recommended_epoch']} of {row['last_epoch']}"
            text = f"For {row['target']}, pre-training epoch {of} is enough."
            evidence = (
                f"It is the earliest within one standard error of the best ({best}, standard error "
                f"{row['standard_error']:.4f} over {seeds}); the difference is {points(row['difference'])}"
                f"{_ends(row)}."
            )
        yield Advice(text=text, evidence=evidence, certainty=certainty, why=why, analysis="checkpoints")


def _ends(row: Mapping[str, Any]) -> str:
    if not math.isfinite(row["difference_low"]):
        return ""
    ends = [f"{100 * row[name]:+.1f}".replace("-", "−") for name in ("difference_low", "difference_high")]
    return f" [{ends[0]}, {ends[1]}]"
