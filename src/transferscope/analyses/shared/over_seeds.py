"""Means, shares and bands over seeds: what several analyses make of their own tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from transferscope.analyses.contract import Row
from transferscope.analyses.findings import SCALE
from transferscope.core.tables import Column

if TYPE_CHECKING:
    import polars as pl

OVER_SEEDS = (
    Column("mean", "float", "Mean over seeds; for a share, the ratio of two means"),
    Column("low", "float", "Lower end of its 95 % interval over seeds: Student's t, for a share Fieller's"),
    Column("high", "float", "Upper end"),
    Column(
        "images_low",
        "float",
        "Mean over seeds of the lower ends of the 95 % bootstrap intervals over test images, which is at least as "
        "wide as the interval of the mean; null where test images play no part",
    ),
    Column("images_high", "float", "The same of the upper ends"),
    Column("num_seeds", "int", "Seeds behind it"),
    Column("note", "str", "Why there is no number"),
)
"""Columns of a table of numbers over seeds."""

SAME_OVER_SEEDS = "all seeds give the same: no interval can be had from their spread"

Values = Sequence[float | None]


def over_seeds(values: Values, lows: Values | None = None, highs: Values | None = None) -> Row:
    """The mean of one number a seed with its intervals, as `OVER_SEEDS`.

    Args:
        values: one number a seed; None where a seed has none, and then there is no mean.
        lows, highs: ends of each seed's interval over test images.
    """
    from transferscope.metrics.statistics.intervals import t_interval

    present = [value for value in values if value is not None]
    if len(present) < len(values):
        return {**_EMPTY, "num_seeds": len(values), "note": f"{len(present)} of {len(values)} seeds have one"}
    interval = t_interval(present, scale=SCALE)
    return {
        "mean": interval.estimate,
        "low": interval.low,
        "high": interval.high,
        "images_low": _mean(lows),
        "images_high": _mean(highs),
        "num_seeds": interval.n,
        "note": _why_no_interval(present, interval.low),
    }


def share_over_seeds(parts: Sequence[float], wholes: Sequence[float]) -> Row:
    """Mean part over mean whole with Fieller's interval, as `OVER_SEEDS`: NaN unless the whole is above 0.

    Args:
        parts, wholes: one number a seed each, in the same order.
    """
    from transferscope.metrics.statistics.ratio import fieller_interval

    share = fieller_interval(parts, wholes)
    row = {**_EMPTY, "mean": share.estimate, "low": share.low, "high": share.high, "num_seeds": share.n}
    if len(wholes) < 2:
        return {**row, "note": "one seed does not show whether there is a gain"}
    if math.isnan(share.estimate):
        return {**row, "note": "the gain itself is not clearly above 0"}
    if sum(wholes) < 0:
        return {**_EMPTY, "num_seeds": share.n, "note": "P-T is worse than RI-T: there is no gain to share"}
    return {**row, "note": SAME_OVER_SEEDS if math.isnan(share.low) else ""}


def _why_no_interval(values: Sequence[float], low: float) -> str:
    if len(values) < 2:
        return "one seed has no interval"
    return SAME_OVER_SEEDS if math.isnan(low) and all(map(math.isfinite, values)) else ""


_EMPTY: Mapping[str, Any] = {
    "mean": math.nan,
    "low": math.nan,
    "high": math.nan,
    "images_low": None,
    "images_high": None,
    "note": "",
}


def _mean(values: Values | None) -> float | None:
    present = [value for value in values or () if value is not None]
    return sum(present) / len(present) if present else None


def banded(summary: pl.DataFrame, points: pl.DataFrame, x: Any, color: Any, title: str) -> Any:
    """Lines of means with a wide, light band over seeds, a narrow, dark one over test images, and a point a seed.

    What has a colour of its own has a dash and a symbol of its own too.

    Args:
        summary: `OVER_SEEDS`, with the columns that `x` and `color` encode.
        points: a column `value` a seed, with the same columns.
        x, color: Altair encodings.
        title: of the y axis.
    """
    import altair as alt
    import polars as pl

    from transferscope.analyses.theme import CATEGORY_COLORS, CATEGORY_DASHES, CATEGORY_SHAPES

    scale = alt.Scale(zero=False)
    y = {
        name: alt.Y(f"{name}:Q", title=title, scale=scale) for name in ("mean", "low", "images_low", "value")
    }
    names = _names(color, points)
    if (
        "scale" not in color.to_dict()
    ):  # the legends of colours and of symbols are one where the names are given
        color = color.copy(deep=False)
        color.scale = alt.Scale(domain=names, range=_cycled(CATEGORY_COLORS, len(names)))
    base = alt.Chart(summary).encode(x=x, color=color)
    shapes = alt.Scale(domain=names, range=_cycled(CATEGORY_SHAPES, len(names)))
    own: dict[str, Any] = {"legend": None} if len(names) == 1 else {}
    shape = alt.Shape(color.shorthand, scale=shapes, title=None, sort=None, **own)
    seeds = alt.Chart(points).mark_point(opacity=0.6).encode(x=x, color=color, shape=shape, y=y["value"])
    if summary[x.shorthand.partition(":")[0]].n_unique() == 1:  # lines and areas of one place can't be seen
        beside = alt.XOffset(color.shorthand, sort=None)
        rules = base.mark_rule(strokeWidth=2).encode(y=y["low"], y2="high:Q", xOffset=beside)
        return alt.layer(rules, seeds.encode(xOffset=beside))
    # a layer a line: a scale of dashes would take the legend of colours away
    lines = [
        alt.Chart(summary.filter(pl.col(_field(color)) == name))
        .mark_line(strokeDash=dash)
        .encode(x=x, color=color, y=y["mean"])
        for name, dash in zip(names, _cycled(CATEGORY_DASHES, len(names)), strict=True)
    ]
    layers = [*lines, seeds]
    for low, high, opacity in (("images_low", "images_high", 0.3), ("low", "high", 0.13)):
        if summary[low].is_not_null().any() and not summary[low].is_nan().all():
            layers.insert(0, base.mark_area(opacity=opacity, line=False).encode(y=y[low], y2=f"{high}:Q"))
    return alt.layer(*layers)


def _names(color: Any, points: pl.DataFrame) -> list[str]:
    """What the colours stand for, in their order."""
    given = color.to_dict().get("scale", {})
    return given.get("domain") or points[_field(color)].unique(maintain_order=True).to_list()


def _field(color: Any) -> str:
    return color.shorthand.partition(":")[0]


def _cycled(styles: Sequence[Any], count: int) -> list[Any]:
    return [styles[place % len(styles)] for place in range(count)]
