"""The figures of the analysis of barriers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import polars as pl

from transferscope.analyses.barriers.planes import plane_panels
from transferscope.analyses.barriers.tables import AVERAGED, BEST, ENSEMBLE, MEAN
from transferscope.analyses.contract import Panel
from transferscope.analyses.shared.bands import BAND, BAND_OPACITY, STROKE, over_pairs, with_band
from transferscope.analyses.theme import AXIS, INK, KIND_COLORS, color_scale, dash_scale

TOGETHER_KINDS = ("P-T", "RI-T")
ROOM_ABOVE = 4.0
"""Top of a path's loss axis over the largest loss between the ends."""
FINAL, BEST_EPOCH = "final", "best"
STAR = "M0,-1L0.25,-0.35L0.95,-0.3L0.4,0.15L0.6,0.8L0,0.45L-0.6,0.8L-0.4,0.15L-0.95,-0.3L-0.25,-0.35Z"
SHAPES = {FINAL: "circle", BEST_EPOCH: STAR}
"""Of networks at the end of their training, and at their best epoch: a star, as in the paper's legends."""
PAIR_KEYS = ("target", "target_b", "pair", "a", "b")


def barriers_panels(tables: Mapping[str, pl.DataFrame]) -> Sequence[Panel]:
    """All barriers; averaging; basins; of each target, the paths; the planes. A table may be empty."""
    drawn = []
    if not tables["barriers"].is_empty():
        drawn.append(_heights(tables["barriers"]))
    drawn += _averaging(tables["barriers_averaging"])
    drawn += _basins(tables["barriers_basin"])
    drawn += _paths(tables["barriers_curves"])
    drawn += plane_panels(tables["barriers_plane"])
    return drawn


def _heights(barriers: pl.DataFrame) -> Panel:
    table = barriers.filter(pl.col("definition") == "line")
    final = table.filter(pl.col("checkpoint") == FINAL)
    scale = color_scale(table["pair"])
    x = alt.X("barrier_metric:Q", title="barrier of the metric")
    y = alt.Y("target:N", title=None, sort=None)
    offset = alt.YOffset("pair:N", sort=scale.domain)
    # one below the other: beside each other the long names would reach beyond the panel
    color = alt.Color("pair:N", scale=scale, title=None, legend=alt.Legend(columns=1))
    points = alt.Chart(table).mark_point(opacity=0.6).encode(x=x, y=y, yOffset=offset, color=color)
    mean = x.copy()
    mean.shorthand = "mean(barrier_metric):Q"
    means = alt.Chart(final).mark_tick(thickness=2, size=9).encode(x=mean, y=y, yOffset=offset, color=color)
    within = with_band(over_pairs(final, ["target", "pair"], "barrier_metric"))
    low = alt.X("low:Q", title="barrier of the metric")
    strokes = alt.Chart(within).mark_rule(strokeWidth=1.2, opacity=0.8)
    strokes = strokes.encode(x=low, x2="high:Q", y=y, yOffset=offset, color=color)
    summary = (
        f"Barrier of the metric by target and kind of pair; a point a pair, the tick is the mean, {STROKE}."
    )
    if len(final) < len(table):
        points = points.encode(
            shape=alt.Shape(
                "checkpoint:N", scale=alt.Scale(domain=list(SHAPES), range=list(SHAPES.values())), title=None
            )
        )
        summary += f" Final networks are circles, and the mean is theirs. {_said_of_best(table)}"
    return Panel(
        name="heights",
        title="Barriers: largest drop of the metric below the line between the ends",
        chart=alt.layer(strokes, points, means).properties(height=330),
        summary=summary,
    )


def _said_of_best(table: pl.DataFrame) -> str:
    """What the best networks give beside the final ones, over the pairs that have both."""
    best = table.filter(pl.col("checkpoint") == BEST_EPOCH)
    pair = [name for name in PAIR_KEYS if name in table.columns]
    both = best.join(table.filter(pl.col("checkpoint") == FINAL), on=pair, nulls_equal=True, suffix="_final")
    said = []
    for kind in both["pair"].unique(maintain_order=True):
        part = both.filter(pl.col("pair") == kind)
        means = [part[name].mean() for name in ("barrier_metric", "barrier_metric_final")]
        said.append("{}: {:.3f} and {:.3f}".format(kind, *means))
    by = " and ".join(best["best_by"].unique(maintain_order=True))
    return (
        f"Networks at their best epochs (by the metric on {by.replace('_', '-')} images) are stars. Mean barrier of "
        f"the same pairs, best and final: {'; '.join(said)}."
    )


def _averaging(averaging: pl.DataFrame) -> list[Panel]:
    """Of each target, the metric of the averaged weights beside that of the instances and of their ensemble."""
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
                secondary=True,
            )
        )
    return drawn


def _basins(basins: pl.DataFrame) -> list[Panel]:
    """Every set by how flat its floor is and how high its walls are, in units of what a basin needs."""
    rows = basins.filter(pl.col("margin").is_finite() & (pl.col("epsilon") > 0))
    if rows.is_empty():
        return []
    rows = rows.select(
        "target",
        kind=pl.col("pair").str.split(" & ").list.first(),
        floor=pl.col("deviation") / pl.col("epsilon"),
        wall=pl.col("wall") / (2 * pl.col("epsilon")),
    )
    x_scale, y_scale = (alt.Scale(type="symlog", nice=False, padding=8) for _ in range(2))
    x = alt.X("floor:Q", scale=x_scale, title="deviation on the set over epsilon")
    y = alt.Y("wall:Q", scale=y_scale, title="rise outside over 2 epsilon")
    needed = alt.Chart(pl.DataFrame({"floor": [1.0], "wall": [1.0]}))
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
            title="Basins: left of and above the lines",
            chart=alt.layer(
                needed.mark_rule(color=AXIS).encode(x=x), needed.mark_rule(color=AXIS).encode(y=y), points
            ),
            summary="For every two and for all P-T and RI-T of each target, how far the loss on the set deviates from "
            "its mean, over epsilon, and how much it rises outside, over 2 epsilon; a set is a basin where the first "
            "is at most 1 and the second at least 1.",
        )
    ]


def _paths(curves: pl.DataFrame) -> list[Panel]:
    """Of each target, metric and loss along the path of every pair: of final networks, then of best ones."""
    drawn = []
    for (target, checkpoint), part in curves.group_by(["target", "checkpoint"], maintain_order=True):
        part = part.filter(pl.col("loss").is_finite())
        part = part.with_columns(line=pl.concat_str("a", "b", "target_b", separator=" & "))
        is_best = checkpoint == BEST_EPOCH
        values = {"metric": "test metric", "loss": "test loss (nats, logarithmic)"}
        if is_best:
            del values["loss"]  # much the same as the final ones': in the table
        for value, title in values.items():
            short = title.split(" (")[0]
            which = ", networks at their best epochs" if is_best else ""
            drawn.append(
                Panel(
                    name=f"{value}-{target}{'-best' if is_best else ''}",
                    title=f"{target}: {short} along the paths{which}",
                    chart=_path(part, value, title),
                    summary=f"{title} on the straight path between two instances on {target}{which}; a thin line a "
                    f"pair, the thick one is the mean of a kind, and {BAND}.",
                    secondary=is_best or value == "loss",
                )
            )
    return sorted(drawn, key=lambda panel: panel.name.endswith("-best"))


def _path(curves: pl.DataFrame, value: str, title: str) -> Any:
    rows, bottom = curves, 0.0
    if value == "loss":
        rows = curves.filter(pl.col("loss") > 0)
        scale = _loss_scale(rows)
        bottom = min(rows["loss"])
    else:
        seen = rows[value].drop_nans()
        scale = alt.Scale(domain=[min(seen), max(seen)], nice=True, zero=False)
    means = over_pairs(rows, ["pair", "alpha"], value)
    # an interval that goes on beyond the axis ends at it
    within = with_band(means).with_columns(low=pl.max_horizontal("low", pl.lit(bottom)))
    x = alt.X("alpha:Q", title="alpha (0: a, 1: b)")
    legend = alt.Legend(symbolType="stroke")
    color = alt.Color("pair:N", scale=color_scale(curves["pair"]), title=None, legend=legend)
    dash = alt.StrokeDash("pair:N", scale=dash_scale(curves["pair"]), title=None, legend=legend)
    y = {name: alt.Y(f"{name}:Q", title=title, scale=scale) for name in (value, "mean", "low")}
    bands = alt.Chart(within).mark_area(opacity=BAND_OPACITY, line=False, clip=True)
    lines = alt.Chart(rows).mark_line(opacity=0.45, strokeWidth=0.8, clip=True)
    thick = alt.Chart(means).mark_line(strokeWidth=2, clip=True)
    return alt.layer(
        bands.encode(x=x, color=color, y=y["low"], y2="high:Q"),
        lines.encode(x=x, color=color, strokeDash=dash, y=y[value], detail="line:N"),
        thick.encode(x=x, color=color, strokeDash=dash, y=y["mean"]),
    )


def _loss_scale(curves: pl.DataFrame) -> Any:
    """Logarithmic, with room for what lies between the ends: beyond them losses can explode."""
    losses, inside = curves["loss"], curves.filter(pl.col("alpha").is_between(0, 1))["loss"]
    if inside.is_empty():
        return alt.Scale(type="log")
    top = min(max(losses), ROOM_ABOVE * max(inside))
    return alt.Scale(type="log", domain=[min(losses), top], nice=False)
