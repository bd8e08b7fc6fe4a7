"""The figures of the analysis of features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from transferscope.analysis import Panel
from transferscope.pairs import PAIR_KINDS

if TYPE_CHECKING:
    import polars as pl

MAP_SIDE_PX = 76
"""Side of one of three maps beside each other."""
MAX_NAMED = 6
"""Layers up to which all names fit beside such a map."""


def feature_similarity_panels(table: pl.DataFrame) -> Sequence[Panel]:
    """For each target, the similarity by layer, a line a kind of pair; then of every layer with every layer."""
    import polars as pl

    known = table.filter(pl.col("status") == "ok")
    if known.is_empty():
        return []
    lowest = min(0.0, *known["linear_cka"].to_list())
    drawn = []
    for target in known["target"].unique(maintain_order=True):
        part = known.filter(pl.col("target") == target)
        drawn.append(_by_layer(part.filter(pl.col("depth_a") == pl.col("depth_b")), target))
        drawn.append(_maps(part, target, lowest))
    return drawn


def _by_layer(table: pl.DataFrame, target: str) -> Panel:
    import altair as alt

    from transferscope.figures import AXIS, color_scale, dash_scale

    kinds = [kind for kind in PAIR_KINDS if kind in set(table["pair"])]
    order = _layers(table)
    title = "linear CKA (debiased)"
    legend = alt.Legend(symbolType="stroke", columns=3)
    base = alt.Chart(table).encode(x=alt.X("layer_a:N", sort=order, title=None))
    colored = base.encode(
        color=alt.Color("pair:N", scale=color_scale(kinds), sort=kinds, title=None, legend=legend)
    )
    dash = alt.StrokeDash("pair:N", scale=dash_scale(kinds), sort=kinds, title=None, legend=legend)
    chart = alt.layer(
        base.mark_area(color=AXIS, opacity=0.3).encode(y=alt.Y("mean(null):Q", title=title)),
        colored.mark_line().encode(y=alt.Y("mean(linear_cka):Q", title=title), strokeDash=dash),
        colored.mark_point(opacity=0.5, size=18).encode(y=alt.Y("linear_cka:Q", title=title)),
    )
    return Panel(
        name=target,
        title=f"{target}: similarity by layer",
        chart=chart,
        summary=f"Linear CKA at each layer on {target}; a point a pair, the line is the mean of a kind. RI & RI is "
        "the baseline, P-T & P-T and RI-T & RI-T are the ceilings of pairs with one of theirs; the grey band at the "
        "bottom, often no thicker than a line, is what chance gives.",
    )


def _maps(table: pl.DataFrame, target: str, lowest: float) -> Panel:
    """Every layer of the one with every layer of the other, a map a kind of pair, on one scale."""
    import altair as alt
    import polars as pl

    turned = table.filter(pl.col("pair").is_in(["P-T & P-T", "RI-T & RI-T", "RI & RI"])).with_columns(
        layer_a="layer_b", layer_b="layer_a"
    )
    both = pl.concat([table, turned])
    means = both.group_by("pair", "layer_a", "layer_b", maintain_order=True).agg(pl.col("linear_cka").mean())
    kinds = [kind for kind in PAIR_KINDS if kind in set(table["pair"])]
    order = _layers(table)
    overlap = False if len(order) <= MAX_NAMED else "greedy"
    below = alt.Axis(labelAngle=-90, labelAlign="right", labelBaseline="middle", labelOverlap=overlap)
    chart = (
        alt.Chart(means, width=MAP_SIDE_PX, height=MAP_SIDE_PX)
        .mark_rect()
        .encode(
            x=alt.X("layer_b:N", sort=order, title=None, axis=below),
            y=alt.Y("layer_a:N", sort=order, title=None, axis=alt.Axis(labelOverlap=overlap)),
            color=alt.Color(
                "linear_cka:Q", title="linear CKA (debiased)", scale=alt.Scale(domain=[lowest, 1])
            ),
        )
        .facet(facet=alt.Facet("pair:N", sort=kinds, title=None), columns=3, spacing=8)
    )
    return Panel(
        name=f"layers-{target}",
        title=f"{target}: every layer with every layer",
        chart=chart,
        summary=f"Linear CKA on {target} of each layer of the first network (up the side) with each layer of the "
        "second (along the bottom), a map a kind of pair, mean over the pairs.",
    )


def _layers(table: pl.DataFrame) -> list[str]:
    return table.sort("depth_a")["layer_a"].unique(maintain_order=True).to_list()
