"""Means over pairs of instances with their intervals over seeds, for bands and strokes in figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import altair as alt
import polars as pl

from transferscope.analyses.findings import MIN_SEEDS, estimate

BAND_OPACITY = 0.12
BAND = "the band is the 95 % interval of the mean over seeds (jackknife, Student's t)"
"""What a band of `over_pairs` is, in a caption."""
STROKE = "the long stroke is its 95 % interval over seeds (jackknife, Student's t)"


def over_pairs(table: pl.DataFrame, by: Sequence[str], value: str) -> pl.DataFrame:
    """Mean of a column within each group of rows, with the 95 % interval from leaving out one seed at a time.

    Two pairs that share a seed are not independent, so the interval is the jackknife's over seeds, the same as that
    of the findings (`findings.estimate`). Rows without a finite value are left out first.

    Args:
        table: rows with the columns `by`, `value`, and one or more whose name starts with "seed".
        by: what makes a group; a group keeps the place of its first row.
        value: the column averaged.

    Returns:
        `by`, and mean, low, high: NaN ends with fewer than three seeds, or where all give the same number.
    """
    seeds = [name for name in table.columns if name.startswith("seed")]
    rows = []
    for keys, part in (
        table.filter(pl.col(value).is_finite())
        .select([*by, *seeds, value])
        .group_by(list(by), maintain_order=True)
    ):
        found = estimate(part, lambda some: some[value].mean() if some.height else float("nan"))  # type: ignore[return-value]
        rows.append(
            {**dict(zip(by, keys, strict=True)), "mean": found.effect, "low": found.low, "high": found.high}
        )
    numbers = dict.fromkeys(("mean", "low", "high"), pl.Float64)
    return pl.DataFrame(rows, schema={**{name: table.schema[name] for name in by}, **numbers})


def seeds_behind(table: pl.DataFrame) -> str:
    """How many seeds are behind the intervals of a table, for a caption; said too where they are too few for any."""
    count = len(
        {seed for name in table.columns if name.startswith("seed") for seed in table[name].drop_nulls()}
    )
    return f"{count} seeds" if count >= MIN_SEEDS else f"none here: {count} of at least {MIN_SEEDS} seeds"


def possible_scale(rows: pl.DataFrame, lowest: float, highest: float) -> Any:
    """An Altair scale from 0, or from below, over all numbers of the rows, but not beyond what they can be.

    A t interval knows no bounds: of a share it may end below 0. Marks on this scale are to be clipped.
    """
    numbers = [
        value for name in ("low", "high", "mean", "share") if name in rows.columns for value in rows[name]
    ]
    finite = [value for value in numbers if value is not None and math.isfinite(value)] or [0.0]
    return alt.Scale(domain=[max(lowest, min(0.0, *finite)), min(highest, max(finite))], nice=True)


def with_band(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of `over_pairs` that have an interval."""
    return rows.filter(pl.col("low").is_finite())
