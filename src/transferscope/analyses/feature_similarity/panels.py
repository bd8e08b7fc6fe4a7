"""The figures of the analysis of features."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import polars as pl

from transferscope.analyses.contract import Panel
from transferscope.analyses.shared.bands import BAND, BAND_OPACITY, over_pairs, with_band
from transferscope.analyses.theme import MUTED, color_scale, dash_scale
from transferscope.core.instances import PAIR_KINDS

MAP_SIDE_PX = 76
"""Side of one of three maps beside each other."""
MAX_MAPS = 15
"""Pairs of trained instances up to which each has a map of its own: those of three seeds."""
OF_TRAINED = ("P-T & P-T", "P-T & RI-T", "RI-T & RI-T")
MAX_NAMED = 6
"""Layers up to which all names fit beside such a map."""


def feature_similarity_panels(table: pl.DataFrame) -> Sequence[Panel]:
    """For all targets the similarity by layer, a line a kind of pair; then of every layer with every layer."""
    known = table.filter(pl.col("status") == "ok")
    if known.is_empty():
        return []
    lowest = min(0.0, *known["linear_cka"].to_list())
    targets = known["target"].unique(maintain_order=True)
    parts = {target: known.filter(pl.col("target") == target) for target in targets}
    lines = [
        _by_layer(part.filter(pl.col("depth_a") == pl.col("depth_b")), target)
        for target, part in parts.items()
    ]
    maps = [_maps(part, target, lowest) for target, part in parts.items()]
    every = [_every_pair(part, target, lowest) for target, part in parts.items()]
    return [*lines, *maps, *(panel for panel in every if panel is not None)]


def _by_layer(table: pl.DataFrame, target: str) -> Panel:
    kinds = [kind for kind in PAIR_KINDS if kind in set(table["pair"])]
    order = _layers(table)
    title = "linear CKA (debiased)"
    lowest = min(0.0, *table["linear_cka"].to_list())
    scale = alt.Scale(domain=[lowest, 1.0], nice=False)
    legend = alt.Legend(symbolType="stroke", columns=3)
    means = over_pairs(table, ["pair", "layer_a"], "linear_cka")
    x = alt.X("layer_a:N", sort=order, title=None)
    color = alt.Color("pair:N", scale=color_scale(kinds), sort=kinds, title=None, legend=legend)
    chance = table.group_by("layer_a", maintain_order=True).agg(pl.col("null").mean())
    dash = alt.StrokeDash("pair:N", scale=dash_scale(kinds), sort=kinds, title=None, legend=legend)
    chart = alt.layer(
        alt.Chart(with_band(means))
        .mark_area(opacity=BAND_OPACITY, line=False, clip=True)
        .encode(x=x, color=color, y=alt.Y("low:Q", title=title, scale=scale), y2="high:Q"),
        alt.Chart(chance)
        .mark_line(color=MUTED, strokeWidth=1.5)
        .encode(x=x, y=alt.Y("null:Q", title=title, scale=scale)),
        alt.Chart(chance.head(1))
        .mark_text(color=MUTED, dy=-7, fontSize=10, text="chance")
        .encode(x=x, y=alt.Y("null:Q", title=title, scale=scale)),
        alt.Chart(means)
        .mark_line()
        .encode(x=x, color=color, y=alt.Y("mean:Q", title=title, scale=scale), strokeDash=dash),
        alt.Chart(table)
        .mark_point(opacity=0.5, size=18)
        .encode(x=x, color=color, y=alt.Y("linear_cka:Q", title=title, scale=scale)),
    )
    return Panel(
        name=target,
        title=f"{target}: similarity by layer",
        chart=chart,
        summary=f"Linear CKA at each layer on {target}; a point a pair, the line is the mean of a kind, and {BAND}. "
        "P-T & P-T and RI-T & RI-T are the ceilings of pairs with one of theirs, RI & RI the baseline; the grey line "
        "is the null, what chance gives (95 % quantile with permuted images).",
    )


def _maps(table: pl.DataFrame, target: str, lowest: float) -> Panel:
    """Every layer of the one with every layer of the other, a map a kind of pair, on one scale."""
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


def _every_pair(table: pl.DataFrame, target: str, lowest: float) -> Panel | None:
    """A map for each pair of trained instances, on the scale of the maps of the kinds; none where there are many."""
    rows = table.filter(pl.col("pair").is_in(OF_TRAINED)).with_columns(
        name=pl.concat_str("a", "b", separator=" & ")
    )
    names = rows["name"].unique(maintain_order=True).to_list()
    if not 1 < len(names) <= MAX_MAPS:
        return None
    order = _layers(table)
    bare = alt.Axis(labels=False, ticks=False, domain=False)
    chart = (
        alt.Chart(rows, width=MAP_SIDE_PX, height=MAP_SIDE_PX)
        .mark_rect(aria=False)  # the maps of the kinds say their numbers, the table those of every pair
        .encode(
            x=alt.X("layer_b:N", sort=order, title=None, axis=bare),
            y=alt.Y("layer_a:N", sort=order, title=None, axis=bare),
            color=alt.Color(
                "linear_cka:Q", title="linear CKA (debiased)", scale=alt.Scale(domain=[lowest, 1])
            ),
        )
        .facet(
            facet=alt.Facet("name:N", sort=names, title=None, header=alt.Header(labelFontSize=10)),
            columns=3,
            spacing=8,
        )
    )
    return Panel(
        name=f"pairs-{target}",
        title=f"{target}: every layer with every layer, every pair",
        chart=chart,
        summary=f"Linear CKA on {target} of each layer of the first network (up the side, {order[0]} at the top) with "
        f"each layer of the second (along the bottom, {order[0]} at the left), a map a pair, on one scale with the "
        "maps of the kinds.",
        secondary=True,
    )


def _layers(table: pl.DataFrame) -> list[str]:
    return table.sort("depth_a")["layer_a"].unique(maintain_order=True).to_list()
