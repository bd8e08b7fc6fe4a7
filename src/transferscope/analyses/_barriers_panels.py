"""The figures of the analysis of barriers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from transferscope.analyses._barriers_columns import AVERAGED, BEST, ENSEMBLE, MEAN
from transferscope.analyses._contours import contour_segments
from transferscope.analysis import Panel

if TYPE_CHECKING:
    import polars as pl

TOGETHER_KINDS = ("P-T", "RI-T")
NUM_CONTOURS = 8
ROOM_ABOVE = 4.0
"""Top of a path's loss axis over the largest loss between the ends."""
LOUDEST = 30.0
"""Losses on a plane beyond so many times the smallest one are drawn as this: far outside they explode."""
PLANE_SIDE_PX = 250


def barriers_panels(tables: Mapping[str, pl.DataFrame]) -> Sequence[Panel]:
    """All barriers; averaging; basins; of each target, the paths; the planes. A table may be empty."""
    drawn = []
    if not tables["barriers"].is_empty():
        drawn.append(_heights(tables["barriers"]))
    drawn += _averaging(tables["barriers_averaging"])
    drawn += _basins(tables["barriers_basin"])
    drawn += _paths(tables["barriers_curves"])
    drawn += _planes(tables["barriers_plane"])
    return drawn


def _heights(barriers: pl.DataFrame) -> Panel:
    import altair as alt
    import polars as pl

    from transferscope.figures import color_scale

    table = barriers.filter(pl.col("definition") == "line")
    scale = color_scale(table["pair"])
    base = alt.Chart(table).encode(
        y=alt.Y("target:N", title=None, sort=None), yOffset=alt.YOffset("pair:N", sort=scale.domain)
    )
    # one below the other: beside each other the long names would reach beyond the panel
    color = alt.Color("pair:N", scale=scale, title=None, legend=alt.Legend(columns=1))
    title = "barrier of the metric"
    points = base.mark_point(opacity=0.6).encode(x=alt.X("barrier_metric:Q", title=title), color=color)
    means = base.mark_tick(thickness=2, size=9).encode(
        x=alt.X("mean(barrier_metric):Q", title=title), color=color
    )
    return Panel(
        name="heights",
        title="Barriers: largest drop of the metric below the line between the ends",
        chart=alt.layer(points, means).properties(height=330),
        summary="Barrier of the metric by target and kind of pair; a point a pair, the stroke is the mean.",
    )


def _averaging(averaging: pl.DataFrame) -> list[Panel]:
    """Of each target, the metric of the averaged weights beside that of the instances and of their ensemble."""
    import altair as alt
    import polars as pl

    from transferscope.figures import INK, KIND_COLORS, color_scale

    together = averaging.filter(pl.col("a").is_null())
    drawn = []
    for target in together["target"].unique(maintain_order=True):
        part = together.filter(pl.col("target") == target)
        mean = pl.col("metric") - pl.col("metric_gain")
        part = part.with_columns(low=mean + pl.col("metric_gain_low"), high=mean + pl.col("metric_gain_high"))
        base = alt.Chart(part).encode(
            y=alt.Y("what:N", sort=[AVERAGED, MEAN, BEST, ENSEMBLE], title=None), yOffset="pair:N"
        )
        bars = base.mark_bar().encode(
            x=alt.X("metric:Q", title="test metric"),
            color=alt.Color("pair:N", scale=color_scale(TOGETHER_KINDS, KIND_COLORS), title=None),
        )
        intervals = base.mark_rule(color=INK).encode(x=alt.X("low:Q", title="test metric"), x2="high:Q")
        count = part["num_instances"][0]
        drawn.append(
            Panel(
                name=f"averaging-{target}",
                title=f"{target}: averaging {count} instances",
                chart=alt.layer(bars, intervals),
                summary=f"Test metric on {target} of the averaged weights of {count} instances, of the mean and of "
                "the best instance, and of their ensemble; strokes are 95 % intervals of the difference from the "
                "mean instance.",
            )
        )
    return drawn


def _basins(basins: pl.DataFrame) -> list[Panel]:
    """Every set by the epsilons for which it is flat, and those for which it has walls."""
    import altair as alt
    import polars as pl

    from transferscope.figures import AXIS, KIND_COLORS, color_scale

    rows = basins.filter(pl.col("deviation").is_finite() & pl.col("largest_epsilon").is_finite())
    if rows.is_empty():
        return []
    rows = rows.with_columns(kind=pl.col("pair").str.split(" & ").list.first())
    top = 1.2 * max(*rows["deviation"], *rows["largest_epsilon"])
    bottom = min(0.0, 1.2 * min(rows["largest_epsilon"]))
    x_scale, y_scale = (
        alt.Scale(type="symlog", constant=0.02, domain=[low, top], nice=False) for low in (0.0, bottom)
    )
    x = alt.X("deviation:Q", scale=x_scale, title="smallest epsilon of a flat floor (nats)")
    y = alt.Y("largest_epsilon:Q", scale=y_scale, title="largest epsilon of walls (nats)")
    equal = [top * (step / 50) ** 3 for step in range(51)]
    diagonal = (
        alt.Chart(pl.DataFrame({"deviation": equal, "largest_epsilon": equal}))
        .mark_line(color=AXIS, strokeWidth=1)
        .encode(x=x, y=y)
    )
    points = (
        alt.Chart(rows)
        .mark_point(opacity=0.8)
        .encode(
            x=x,
            y=y,
            color=alt.Color("kind:N", scale=color_scale(TOGETHER_KINDS, KIND_COLORS), title=None),
            shape=alt.Shape("target:N", sort=None, title=None),
        )
    )
    return [
        Panel(
            name="basin",
            title="Basins: above the line, a set is a basin for some epsilon",
            chart=alt.layer(diagonal, points),
            summary="For every two and for all P-T and RI-T of each target, the smallest epsilon with which the loss "
            "on the set is flat, and the largest with which there are walls around it; a set is a basin where the "
            "second is larger.",
        )
    ]


def _paths(curves: pl.DataFrame) -> list[Panel]:
    """Of each target, metric and loss along the path of every pair."""
    import altair as alt
    import polars as pl

    from transferscope.figures import color_scale, dash_scale

    drawn = []
    for target in curves["target"].unique(maintain_order=True):
        part = curves.filter((pl.col("target") == target) & pl.col("loss").is_finite())
        part = part.with_columns(line=pl.concat_str("a", "b", "target_b", separator=" & "))
        positive = part.filter(pl.col("loss") > 0)
        for value, title, rows, scale in (
            ("metric", "test metric", part, alt.Scale(zero=False)),
            ("loss", "test loss (nats, logarithmic)", positive, _loss_scale(positive)),
        ):
            chart = (
                alt.Chart(rows)
                .mark_line(opacity=0.75, strokeWidth=1.5, clip=True)
                .encode(
                    x=alt.X("alpha:Q", title="alpha (0: a, 1: b)"),
                    y=alt.Y(f"{value}:Q", title=title, scale=scale),
                    color=alt.Color("pair:N", scale=color_scale(part["pair"]), title=None),
                    strokeDash=alt.StrokeDash("pair:N", scale=dash_scale(part["pair"]), title=None),
                    detail="line:N",
                )
            )
            drawn.append(
                Panel(
                    name=f"{value}-{target}",
                    title=f"{target}: {title.split(' (')[0]} along the paths",
                    chart=chart,
                    summary=f"{title} on the straight path between two instances on {target}, a line a pair.",
                )
            )
    return drawn


def _loss_scale(curves: pl.DataFrame) -> Any:
    """Logarithmic, with room for what lies between the ends: beyond them losses can explode."""
    import altair as alt
    import polars as pl

    losses, inside = curves["loss"], curves.filter(pl.col("alpha").is_between(0, 1))["loss"]
    if inside.is_empty():
        return alt.Scale(type="log")
    top = min(max(losses), ROOM_ABOVE * max(inside))
    return alt.Scale(type="log", domain=[min(losses), top], nice=False)


def _planes(planes: pl.DataFrame) -> list[Panel]:
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
