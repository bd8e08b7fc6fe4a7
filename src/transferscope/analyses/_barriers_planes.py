"""The figures of the planes in the analysis of barriers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from transferscope.analyses._contours import contour_segments
from transferscope.analysis import Panel

if TYPE_CHECKING:
    import polars as pl

NUM_CONTOURS = 8
LOUDEST = 30.0
"""Losses on a plane beyond so many times the smallest one are drawn as this: far outside they explode."""
PLANE_SIDE_PX = 250


def plane_panels(planes: pl.DataFrame) -> list[Panel]:
    """The loss on every plane, with the instances at their places."""
    import polars as pl

    drawn = []
    for (target, kind), part in planes.group_by(["target", "pair"], maintain_order=True):
        grid = part.filter(pl.col("instance").is_null())
        usable = grid.filter(pl.col("loss").is_finite() & (pl.col("loss") > 0))
        if usable.is_empty():
            continue
        names = part["instance"].drop_nulls().to_list()
        drawn.append(
            Panel(
                name=f"plane-{target}-{kind}",
                title=f"{target}: loss on the plane through three {kind}",
                chart=_plane(grid, part.filter(pl.col("instance").is_not_null())),
                summary=f"Mean test loss on the plane through {', '.join(names[:3])} on {target}, with lines of "
                "equal loss; distances in the drawing are L2 distances of the weights.",
            )
        )
    return drawn


def _plane(grid: pl.DataFrame, marked: pl.DataFrame) -> Any:
    import altair as alt
    import polars as pl

    from transferscope.figures import ON_DARK, ON_LIGHT, SEQUENTIAL_SCHEME

    xs, ys = grid["x"].unique().sort().to_list(), grid["y"].unique().sort().to_list()
    step = (xs[1] - xs[0]) / 2
    losses = grid["loss"].to_list()
    low = min(loss for loss in losses if loss > 0)
    high = min(max(loss for loss in losses if math.isfinite(loss)), LOUDEST * low)
    cells = grid.filter(pl.col("loss").is_finite()).with_columns(
        x0=pl.col("x") - step, x1=pl.col("x") + step, y0=pl.col("y") - step, y1=pl.col("y") + step
    )
    x_scale, y_scale = (
        alt.Scale(domain=[places[0], places[-1]], nice=False, zero=False) for places in (xs, ys)
    )
    x_title, y_title = "L2 distance along the first two", "at right angles"
    heat = (
        alt.Chart(cells)
        .mark_rect(clip=True)
        .encode(
            x=alt.X("x0:Q", scale=x_scale, title=x_title),
            x2="x1:Q",
            y=alt.Y("y0:Q", scale=y_scale, title=y_title),
            y2="y1:Q",
            color=alt.Color(
                "loss:Q",
                title="test loss (nats, logarithmic)",
                scale=alt.Scale(type="log", domain=[low, high], clamp=True, scheme=SEQUENTIAL_SCHEME),
                legend=alt.Legend(values=_round_numbers(low, high)),
            ),
        )
    )
    lines = (
        alt.Chart(_contours(xs, ys, losses, low, high))
        .mark_rule(color=ON_DARK, opacity=0.6, strokeWidth=0.8)
        .encode(x="x:Q", y="y:Q", x2="x2:Q", y2="y2:Q")
    )
    own = alt.Chart(marked).encode(x="x:Q", y="y:Q")
    on_it, off_it = pl.col("loss").is_not_null(), pl.col("loss").is_null()
    filled = alt.Chart(marked.filter(on_it)).mark_point(
        color=ON_DARK, stroke=ON_LIGHT, strokeWidth=1, opacity=1, size=60
    )
    hollow = alt.Chart(marked.filter(off_it)).mark_point(
        filled=False, stroke=ON_DARK, strokeWidth=2, opacity=1, size=60
    )
    halo = own.mark_text(dy=-11, stroke=ON_LIGHT, strokeWidth=3, color=ON_LIGHT, fontWeight="bold")
    names = own.mark_text(dy=-11, color=ON_DARK, fontWeight="bold")
    return alt.layer(
        heat,
        lines,
        filled.encode(x="x:Q", y="y:Q"),
        hollow.encode(x="x:Q", y="y:Q"),
        halo.encode(text="instance:N"),
        names.encode(text="instance:N"),
    ).properties(
        # equal lengths must look equal, so the plot itself is square
        width=PLANE_SIDE_PX,
        height=PLANE_SIDE_PX,
        autosize=alt.AutoSizeParams(type="pad", contains="padding"),
    )


def _round_numbers(low: float, high: float) -> list[float]:
    """1, 2, 5 and their tens between these."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    candidates = [digit * 10.0**exponent for exponent in exponents for digit in (1, 2, 5)]
    return [number for number in candidates if low <= number <= high]


def _contours(
    xs: Sequence[float], ys: Sequence[float], losses: Sequence[float], low: float, high: float
) -> pl.DataFrame:
    """Lines of equal loss, evenly spaced on a logarithmic scale."""
    import polars as pl

    logs = [math.log(loss) if loss > 0 else math.nan for loss in losses]
    rows = [logs[start : start + len(xs)] for start in range(0, len(logs), len(xs))]
    bottom, top = math.log(low), math.log(high)
    segments = [
        segment
        for index in range(1, NUM_CONTOURS + 1)
        for segment in contour_segments(xs, ys, rows, bottom + (top - bottom) * index / (NUM_CONTOURS + 1))
    ]
    return pl.DataFrame(segments, schema=["x", "y", "x2", "y2"], orient="row")
