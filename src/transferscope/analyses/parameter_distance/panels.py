"""The figures of the analysis of distances."""

from __future__ import annotations

import math
from collections.abc import Sequence

import altair as alt
import polars as pl

from transferscope.analyses.contract import Panel
from transferscope.analyses.parameter_distance.tables import WHOLE
from transferscope.analyses.shared.bands import (
    BAND,
    BAND_OPACITY,
    STROKE,
    over_pairs,
    possible_scale,
    with_band,
)
from transferscope.analyses.theme import color_scale, dash_scale


def distance_panels(table: pl.DataFrame) -> Sequence[Panel]:
    """The whole network by kind of pair; then each target's modules."""
    trained = table.filter(pl.col("cosine").is_not_null())
    drawn = [
        _whole(table, "distance", "L2 distance", "Distance of the whole network, without the head"),
        _whole(
            trained,
            "relative_to_travelled",
            "L2 distance over the mean distance travelled",
            "Distance over the distance travelled",
        ),
        _whole(trained, "cosine", "cosine of the updates", "Direction of the updates, without the head"),
    ]
    for target in table["target"].unique(maintain_order=True):
        drawn.append(_by_module(table, target, "distance", "L2 distance"))
        drawn.append(_by_module(trained, target, "cosine", "cosine of the updates"))
    return drawn


def _whole(table: pl.DataFrame, value: str, axis: str, title: str) -> Panel:
    whole = table.filter((pl.col("module") == WHOLE) & pl.col(value).is_not_nan())
    scale = color_scale(whole["pair"])
    color = alt.Color("pair:N", scale=scale, title=None)
    place = {
        "y": alt.Y("target:N", title=None, sort=None),
        "yOffset": alt.YOffset("pair:N", sort=scale.domain),
    }
    base = alt.Chart(whole).encode(**place)
    within = with_band(over_pairs(whole, ["target", "pair"], value))
    strokes = alt.Chart(within).mark_rule(strokeWidth=1.2, opacity=0.8)
    strokes = strokes.encode(x=alt.X("low:Q", title=axis), x2="high:Q", color=color, **place)
    points = base.mark_point(opacity=0.6).encode(x=alt.X(f"{value}:Q", title=axis), color=color)
    means = base.mark_tick(thickness=2, size=7).encode(x=alt.X(f"mean({value}):Q", title=axis), color=color)
    return Panel(
        name=f"whole-{value.replace('_', '-')}",
        title=title,
        chart=alt.layer(strokes, points, means).properties(height=360),
        summary=f"{axis.capitalize()} of every pair, by target and kind of pair; the tick is the mean of a kind, "
        f"{STROKE}.",
    )


def _by_module(table: pl.DataFrame, target: str, value: str, axis: str) -> Panel:
    modules = table.filter((pl.col("target") == target) & (pl.col("module") != WHOLE))
    modules = modules.filter(pl.col(value).is_not_nan())
    legend = alt.Legend(symbolType="stroke")  # dashed outlines of points would look like gears
    order = modules.sort("depth")["module"].unique(maintain_order=True).to_list()
    x = alt.X("module:N", sort=order, title=None)
    color = alt.Color("pair:N", scale=color_scale(modules["pair"]), title=None, legend=legend)
    means = over_pairs(modules, ["pair", "module"], value)
    bands = alt.Chart(with_band(means)).mark_area(opacity=BAND_OPACITY, line=False, clip=True)
    title = f"{axis}, mean over pairs"
    scale = possible_scale(means, -1, 1) if value == "cosine" else possible_scale(means, 0, math.inf)
    lines = alt.Chart(means).mark_line(point=alt.OverlayMarkDef(strokeWidth=0))
    dash = alt.StrokeDash("pair:N", scale=dash_scale(modules["pair"]), title=None, legend=legend)
    chart = alt.layer(
        bands.encode(x=x, color=color, y=alt.Y("low:Q", title=title, scale=scale), y2="high:Q"),
        lines.encode(x=x, color=color, y=alt.Y("mean:Q", title=title, scale=scale), strokeDash=dash),
    )
    return Panel(
        name=f"{value}-{target}",
        title=f"{target}: {axis} per module",
        chart=chart,
        summary=f"{axis} per module on {target}, from the stem to the head, a line a kind of pair; {BAND}.",
        secondary=value != "distance",
    )
