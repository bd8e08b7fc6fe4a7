"""How the first page states numbers: differences in points of a hundred, each with its interval or number of seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

from transferscope.analyses.claims import REPEAT_RATES, SMALL_METRIC, Evidence
from transferscope.analyses.findings import Estimate, estimate, mean_over_targets, why_open

MINUS = "−"


def points(difference: float, *, signed: bool = True) -> str:
    """A difference of metrics in points of a hundred."""
    if not math.isfinite(difference):
        return "an unknown number of points"
    text = f"{100 * difference:+.1f}" if signed else f"{100 * difference:.1f}"
    if float(text) == 0:
        text = "0.0"
    return f"{text.replace('-', MINUS)} points"


def counted(number: int, noun: str) -> str:
    """Such as 1 seed, 3 seeds."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def interval(found: Estimate) -> str:
    """What stands in brackets behind an estimate in points: its interval, or why there is none."""
    if math.isfinite(found.low):
        ends = [f"{100 * end:+.1f}".replace("-", MINUS) for end in (found.low, found.high)]
        over = " over test images" if found.seeds is None else ""
        return f"[{ends[0]}, {ends[1]}{over}]"
    why = "all the same, no interval" if found.standard_error == 0 else "no interval"
    return f"({counted(found.num_seeds, 'seed')}, {why})"


def estimated(found: Estimate) -> str:
    """An estimate in points with its interval."""
    return f"{points(found.effect)} {interval(found)}"


def side(found: Estimate, threshold: float = 0.0) -> int:
    """1 where the evidence that it lies above the threshold is strong or some, -1 below, 0 where seeds can't tell."""
    return {"holds": 1, "does not hold": -1, "undecided": 0}[found.result(threshold).verdict]


def listed(names: Sequence[str]) -> str:
    """Such as: a, b and c; none for no name."""
    if not names:
        return "none"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def mean_estimate(table: pl.DataFrame, value: pl.Expr | str, images: pl.DataFrame | None = None) -> Estimate:
    """Mean of a column over targets, with its variance; `images` as of `findings.estimate`."""
    return estimate(table, lambda rows: mean_over_targets(rows, value), images=images)


def targets_of(table: pl.DataFrame) -> list[str]:
    """The targets of a table in its order."""
    return table["target"].unique(maintain_order=True).to_list()


def evidence_of(found: Estimate, threshold: float = 0.0) -> tuple[Evidence, str]:
    """The evidence that an estimate lies on its side of the threshold, and what that means."""
    result = found.result(threshold)
    if result.verdict != "undecided":
        return result.evidence, f"{10 * REPEAT_RATES[result.evidence]:.0f} in 10 such verdicts came out again"
    if result.evidence == "shown to be negligible":
        return result.evidence, f"its 90 % interval lies within {100 * SMALL_METRIC:g} points of 0"
    why = why_open(result, [found], threshold).removesuffix(".")
    return result.evidence, f"{why[:1].lower()}{why[1:]}"


def rows_of(
    tables: Mapping[str, pl.DataFrame], name: str, where: pl.Expr | None = None
) -> pl.DataFrame | None:
    """The rows of a table where `where` is true; None if there are none."""
    if name not in tables:
        return None
    rows = tables[name] if where is None else tables[name].filter(where)
    return None if rows.is_empty() else rows
