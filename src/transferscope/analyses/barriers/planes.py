"""The figures of the planes in the analysis of barriers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import altair as alt
import polars as pl

from transferscope.analyses.contract import Panel
from transferscope.analyses.shared.contours import regions_above
from transferscope.analyses.theme import ON_DARK, ON_LIGHT, SEQUENTIAL_SCHEME

NUM_CONTOURS = 12
LOUDEST = 30.0
"""Losses on a plane beyond so many times the smallest one are drawn as this: far outside they explode."""
PLANE_SIDE_PX = 250


def plane_panels(planes: pl.DataFrame) -> list[Panel]:
    """The loss on every plane, with the instances at their places."""
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
                "equal loss, interpolated between the places measured (dots); distances are L2 distances of the "
                "weights.",
            )
        )
    return drawn


def _plane(grid: pl.DataFrame, marked: pl.DataFrame) -> Any:
    xs, ys = grid["x"].unique().sort().to_list(), grid["y"].unique().sort().to_list()
    losses = grid["loss"].to_list()
    low = min(loss for loss in losses if loss > 0)
    high = min(max(loss for loss in losses if math.isfinite(loss)), LOUDEST * low)
    x_scale, y_scale = (
        alt.Scale(domain=[places[0], places[-1]], nice=False, zero=False) for places in (xs, ys)
    )
    x = alt.X("x:Q", scale=x_scale, title="L2 distance along the first two")
    y = alt.Y("y:Q", scale=y_scale, title="at right angles")
    shades = alt.Scale(type="log", domain=[low, high], clamp=True, scheme=SEQUENTIAL_SCHEME)
    color = alt.Color(
        "level:Q",
        title="test loss (nats, logarithmic)",
        scale=shades,
        legend=alt.Legend(values=_round_numbers(low, high)),
    )
    # made once: Altair reads its whole schema for each channel that is given as text or as a dict
    fill, order, level = _as_fill(color), alt.Order("order:Q"), alt.Detail("level:N")
    # the higher a region, the later it is drawn, over the one it lies in
    regions = [
        alt.Chart(rows)
        .mark_line(clip=True, stroke=ON_DARK, strokeWidth=0.6, strokeOpacity=0.7)
        .encode(x=x, y=y, order=order, fill=fill, detail=level)
        for rows in _regions(xs, ys, losses, low, high)
    ]
    places = (
        alt.Chart(grid.filter(pl.col("loss").is_finite()))
        .mark_point(color=ON_DARK, size=3, opacity=0.55)
        .encode(x=x, y=y, detail=alt.Detail("loss:Q", title="test loss (nats)"))
    )
    own = alt.Chart(marked).encode(x=x, y=y)
    on_it, off_it = pl.col("loss").is_not_null(), pl.col("loss").is_null()
    filled = alt.Chart(marked.filter(on_it)).mark_point(
        color=ON_DARK, stroke=ON_LIGHT, strokeWidth=1, opacity=1, size=60
    )
    hollow = alt.Chart(marked.filter(off_it)).mark_point(
        filled=False, stroke=ON_DARK, strokeWidth=2, opacity=1, size=60
    )
    halo = own.mark_text(dy=-11, stroke=ON_LIGHT, strokeWidth=3, color=ON_LIGHT, fontWeight="bold")
    names = own.mark_text(dy=-11, color=ON_DARK, fontWeight="bold")
    said = [alt.Detail("instance:N"), alt.Detail("loss:Q", title="test loss (nats)")]
    return alt.layer(
        *regions,
        places,
        filled.encode(x=x, y=y, detail=said),
        hollow.encode(x=x, y=y, detail="instance:N"),
        halo.encode(text="instance:N"),
        names.encode(text="instance:N"),
    ).properties(
        # equal lengths must look equal, so the plot itself is square
        width=PLANE_SIDE_PX,
        height=PLANE_SIDE_PX,
        autosize=alt.AutoSizeParams(type="pad", contains="padding"),
    )


def _as_fill(color: Any) -> Any:
    return alt.Fill.from_dict(color.to_dict())


def _regions(
    xs: Sequence[float], ys: Sequence[float], losses: Sequence[float], low: float, high: float
) -> list[pl.DataFrame]:
    """Where the loss is above each of some levels, evenly spaced on a logarithmic scale, as rows of a path.

    The first region is the whole plane. A row without a place ends a ring.
    """
    top = math.log(high)
    logs = [min(math.log(loss), top) if loss > 0 else math.nan for loss in losses]
    rows = [logs[start : start + len(xs)] for start in range(0, len(logs), len(xs))]
    bottom, step = math.log(low), (top - math.log(low)) / NUM_CONTOURS
    levels = [bottom - 1.0, *(bottom + step * index for index in range(1, NUM_CONTOURS))]
    drawn = []
    for region in regions_above(xs, ys, rows, levels):
        places: list[tuple[float | None, float | None]] = []
        for ring in region.rings:
            places += [*ring, (None, None)]
        shade = math.exp(max(bottom, region.level) + step / 2)
        drawn.append(
            pl.DataFrame(places, schema=["x", "y"], orient="row")
            .with_row_index("order")
            .with_columns(level=pl.lit(shade))
        )
    return drawn


def _round_numbers(low: float, high: float) -> list[float]:
    """1, 2, 5 and their tens between these."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    candidates = [digit * 10.0**exponent for exponent in exponents for digit in (1, 2, 5)]
    return [number for number in candidates if low <= number <= high]
