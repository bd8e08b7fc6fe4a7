"""The figure of the first page: the gain of P-T over RI-T, split by what it rests on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from transferscope.analyses.contract import Panel
from transferscope.analyses.shared.phrases import targets_of
from transferscope.analyses.theme import CATEGORY_COLORS, INK, KIND_COLORS

if TYPE_CHECKING:
    import polars as pl

MAX_TARGETS = 4
"""Targets shown; the tables have all."""
WIDTH_PX, BAR_PX = 195, 21
"""Width of the bars' plot, and height of a bar with its share of the gaps."""
STATISTICS, SURVIVES, INTACT, WHOLE = (
    "weight statistics",
    "survives shuffling",
    "intact features",
    "whole gain",
)
"""What the bars are called, whichever way they were measured."""
COLORS = {
    STATISTICS: CATEGORY_COLORS[2],
    SURVIVES: CATEGORY_COLORS[4],
    INTACT: CATEGORY_COLORS[1],
    WHOLE: KIND_COLORS["P-T"],
}
QUANTITIES = {"final metric": "gain", "optimization speed": "speed_gain"}
"""The two quantities, and their column in the table of feature reuse."""
Way = Mapping[str, tuple[str, str]]
"""How the gain was split: bar -> part of the gain, and what it means."""


def split_panels(rows: Sequence[Mapping[str, Any]], way: Way) -> list[Panel]:
    """For each quantity: of each target the parts of the gain from RI-T on, one bar after the other.

    Args:
        rows: from `steps`; none give no panel.
        way: what the bars are.
    """
    if not rows:
        return []
    meaning = "; ".join(f"{name}: {words}" for name, (_, words) in way.items())
    summary = (
        "Parts of the gain of P-T over RI-T in points of a hundred, mean over seeds, each beginning where the one "
        f"before it ends; strokes are 95 % intervals of each part. {meaning[0].upper()}{meaning[1:]}."
    )
    return [
        Panel(
            name=f"split-{name}",
            title=f"What the gain in {quantity} rests on",
            chart=_chart([row for row in rows if row["quantity"] == quantity]),
            summary=summary if name == "speed" else "",
        )
        for quantity, name in (("final metric", "final"), ("optimization speed", "speed"))
    ]


def steps(
    target: str,
    quantity: str,
    parts: Mapping[str, tuple[float, float, float]],
    gain: tuple[float, float, float],
) -> list[dict[str, Any]]:
    """One row a part, in points, beginning where the one before it ends; the whole gain begins at 0."""
    rows, height = [], 0.0
    for name, (mean, low, high) in {**parts, WHOLE: gain}.items():
        start = 0.0 if name == WHOLE else height
        height = start + mean
        rows.append(
            {
                "target": target,
                "quantity": quantity,
                "part": name,
                "start": 100 * start,
                "end": 100 * height,
                "low": 100 * (start + low),
                "high": 100 * (start + high),
                "points": f"{100 * mean:+.1f}".replace("-", "−"),
                "right": 100 * max(start, height, *(part for part in (start + high,) if math.isfinite(part))),
            }
        )
    return rows


def _chart(rows: Sequence[Mapping[str, Any]]) -> Any:
    """A block of bars a target, all on one scale."""
    import altair as alt
    import polars as pl

    frame = pl.DataFrame(rows, infer_schema_length=None)
    order = list(dict.fromkeys(frame["part"].to_list()))
    colors = alt.Scale(domain=order, range=[COLORS[name] for name in order])
    scale = alt.Scale(domain=_domain(frame), nice=False)
    targets = targets_of(frame)
    blocks = []
    for target in targets:
        here, is_last = frame.filter(pl.col("target") == target), target == targets[-1]
        x = alt.X(
            "start:Q",
            title="points above RI-T" if is_last else None,
            scale=scale,
            axis=alt.Axis(labels=is_last, ticks=is_last, tickCount=4),
        )
        base = alt.Chart(here).encode(y=alt.Y("part:N", sort=order, title=None, axis=alt.Axis(ticks=False)))
        bars = base.mark_bar(height=13).encode(
            x=x, x2="end:Q", color=alt.Color("part:N", scale=colors, legend=None)
        )
        strokes = (
            base.transform_filter("isFinite(datum.low) && datum.low !== null")
            .mark_rule(color=INK, strokeWidth=1.5)
            .encode(x=alt.X("low:Q", title="points above RI-T"), x2="high:Q")
        )
        numbers = base.mark_text(align="left", dx=4, fontSize=11).encode(x="right:Q", text="points:N")
        zero = alt.Chart(pl.DataFrame({"zero": [0.0]})).mark_rule().encode(x="zero:Q")
        title = alt.TitleParams(target, fontSize=11, offset=3, frame="group", limit=WIDTH_PX)
        blocks.append(
            alt.layer(bars, zero, strokes, numbers).properties(
                width=WIDTH_PX, height=BAR_PX * here.height, title=title
            )
        )
    return alt.vconcat(*blocks, spacing=8)


def _domain(rows: pl.DataFrame) -> list[float]:
    """From the lowest end to the highest, with room for the numbers."""
    places = [
        place
        for name in ("start", "end", "low", "high")
        for place in rows[name].to_list()
        if place is not None and math.isfinite(place)
    ]
    low, high = min(0.0, *places), max(0.0, *places)
    width = high - low or 1.0
    return [low - 0.03 * width, high + 0.3 * width]
