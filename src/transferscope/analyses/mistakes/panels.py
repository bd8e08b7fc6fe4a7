"""The figures of the analysis of mistakes, and its images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import polars as pl

from transferscope.analyses.contract import Gallery, Panel, Picture, PictureRow
from transferscope.analyses.findings import estimate
from transferscope.analyses.shared.bands import (
    BAND,
    BAND_OPACITY,
    STROKE,
    over_pairs,
    possible_scale,
    seeds_behind,
    with_band,
)
from transferscope.analyses.theme import INK, ON_DARK, ON_LIGHT, color_scale, dash_scale
from transferscope.core.instances import PAIR_KINDS

MAX_WRITTEN = 8
"""Instances up to which a matrix has room for its numbers."""
SETS = {
    "only P-T": "Only P-T is wrong",
    "only RI-T": "Only RI-T is wrong",
    "both": "Both are wrong",
}


def mistakes_panels(tables: Mapping[str, pl.DataFrame]) -> Sequence[Panel]:
    """Uncommon mistakes and kappa of all targets; of each target, kappa of all pairs, and by difficulty."""
    table = tables["mistakes"].filter(pl.col("scope") == "all")
    table = table.with_columns(expected_share=pl.col("expected_uncommon") / pl.col("n"))
    matrix = tables["mistakes_matrix"]
    lowest = min([0.0, *matrix["kappa"].drop_nans().to_list()])
    drawn = [
        _by_kind(table, "uncommon_share", "expected_share", "share of decisions that only one gets wrong"),
        _by_kind(table, "kappa", "kappa_stratified", "kappa of the errors"),
    ]
    for target in table["target"].unique(maintain_order=True):
        of_target = pl.col("target") == target
        drawn.append(_matrix(matrix.filter(of_target), target, lowest))
        drawn.append(_by_difficulty(tables["mistakes_by_difficulty"].filter(of_target), target))
    return drawn


_BY_KIND = {
    "uncommon_share": (
        "uncommon",
        "Uncommon mistakes",
        "The dark tick is what pairs of the same accuracies would have if they erred independently "
        "(mean of a kind of pair). Left of it, mistakes are shared.",
    ),
    "kappa": (
        "kappa",
        "Kappa of the errors",
        "The dark tick is the kappa stratified by difficulty (mean of a kind of pair): agreement that "
        "goes beyond what is hard for everybody.",
    ),
}


def _by_kind(table: pl.DataFrame, value: str, beside: str, title: str) -> Panel:
    """Each kind of pair has a row of its own within its target."""
    name, heading, summary = _BY_KIND[value]
    kinds = _kinds(table)
    x_scale = (
        alt.Scale(zero=True, domainMin=0) if value == "uncommon_share" else alt.Scale(zero=True, domainMax=1)
    )
    said = f"A point a pair; the tick is the mean, {STROKE}: {seeds_behind(table)}. {summary}"
    base = alt.Chart(table).encode(
        y=alt.Y("target:N", title=None, sort=None),
        yOffset=alt.YOffset("pair:N", sort=kinds, scale=alt.Scale(paddingOuter=0.2)),
    )
    color = alt.Color("pair:N", scale=color_scale(kinds), title=None)
    x = alt.X(f"{value}:Q", title=title, scale=x_scale)
    points = base.mark_point(opacity=0.6).encode(x=x, color=color)
    strokes = base.mark_tick(thickness=2, size=11, color=INK).encode(x=alt.X(f"mean({beside}):Q"))
    mean = x.copy()
    mean.shorthand = f"mean({value}):Q"
    means = base.mark_tick(thickness=2, size=9).encode(x=mean, color=color)
    within = base.properties(data=with_band(over_pairs(table, ["target", "pair"], value)))
    low = alt.X("low:Q", title=title, scale=x_scale)
    rules = within.mark_rule(strokeWidth=1.2, opacity=0.8, clip=True).encode(x=low, x2="high:Q", color=color)
    return Panel(name=name, title=heading, chart=alt.layer(rules, strokes, points, means), summary=said)


def _matrix(matrix: pl.DataFrame, target: str, lowest: float) -> Panel:
    """Kappa of each instance with each other one, on one scale for all targets."""
    mirrored = pl.concat([matrix, matrix.rename({"a": "b", "b": "a"}).select(matrix.columns)])
    order = pl.concat([matrix["a"], matrix["b"]]).unique(maintain_order=True).to_list()
    base = alt.Chart(mirrored).encode(
        x=alt.X("a:N", sort=order, title=None), y=alt.Y("b:N", sort=order, title=None)
    )
    color = alt.Color("kappa:Q", title="kappa of the errors", scale=alt.Scale(domain=[lowest, 1]))
    chart: Any = base.mark_rect().encode(color=color)
    if len(order) <= MAX_WRITTEN:
        # the scale is dark at its low end
        middle = lowest + 0.6 * (1 - lowest)
        shade = alt.condition(f"datum.kappa < {middle}", alt.value(ON_DARK), alt.value(ON_LIGHT))
        chart += base.mark_text(fontSize=10).encode(text=alt.Text("kappa:Q", format=".2f"), color=shade)
    return Panel(
        name=f"matrix-{target}",
        title=f"{target}: kappa of every two instances",
        chart=chart,
        summary=f"Kappa of the errors on {target} of every instance with every other one.",
    )


def _by_difficulty(table: pl.DataFrame, target: str) -> Panel:
    """Share of uncommon mistakes by how many others err, a line a kind of pair."""
    rows = []
    for (pair, others), part in table.group_by("pair", "others_wrong", maintain_order=True):
        found = estimate(part.select("n", "only_a", "only_b", "^seed.*$"), _uncommon_share)
        ends = {"low": found.low, "high": found.high}
        rows.append({"pair": pair, "others_wrong": others, "share": found.effect, **ends})
    schema = {
        "pair": pl.String,
        "others_wrong": pl.Int64,
        **dict.fromkeys(("share", "low", "high"), pl.Float64),
    }
    shares = pl.DataFrame(rows, schema=schema).filter(pl.col("share").is_finite())
    title, scale = "share that only one of the pair gets wrong", possible_scale(shares, 0, 1)
    kinds = _kinds(table)
    legend = alt.Legend(symbolType="stroke")
    base = alt.Chart(shares).encode(
        x=alt.X("others_wrong:O", title="other instances that err (0: easy)"),
        y=alt.Y("share:Q", title=title, scale=scale),
        color=alt.Color("pair:N", scale=color_scale(kinds), title=None, legend=legend),
    )
    dash = alt.StrokeDash("pair:N", scale=dash_scale(kinds), title=None, legend=legend)
    band = base.properties(data=with_band(shares)).mark_area(opacity=BAND_OPACITY, line=False, clip=True)
    chart = alt.layer(
        band.encode(y=alt.Y("low:Q", title=title, scale=scale), y2="high:Q"),
        base.mark_line().encode(strokeDash=dash),
        base.mark_point(size=20),
    )
    return Panel(
        name=f"difficulty-{target}",
        title=f"{target}: uncommon mistakes by difficulty",
        chart=chart,
        summary=f"Share of decisions on {target} that only one of a pair gets wrong, by how many of the other "
        f"instances err there; all pairs of a kind together, and {BAND}: "
        f"{seeds_behind(table)}.",
        secondary=True,
    )


def _uncommon_share(rows: pl.DataFrame) -> float:
    """Uncommon mistakes over decisions, all pairs together; NaN without a decision."""
    count, only_a, only_b = (int(rows[name].sum()) for name in ("n", "only_a", "only_b"))
    return (only_a + only_b) / count if count else math.nan


def _kinds(table: pl.DataFrame) -> list[str]:
    """The kinds of pairs that occur, in the order of legends."""
    present = set(table["pair"])
    return [kind for kind in PAIR_KINDS if kind in present]


def mistakes_galleries(table: pl.DataFrame) -> Sequence[Gallery]:
    """The images of each target that only P-T, only RI-T, and both get wrong."""
    rule = (
        "A kind is wrong where more than half of its instances are, and right where more than half are right. It "
        "says the label with the highest mean probability over its instances (of the wrong ones where it is wrong), "
        "and that mean stands behind it. The most confident mistakes come first."
    )
    return [
        Gallery(
            name=target,
            title=f"{target}: misclassified images",
            summary=rule,
            rows=[
                PictureRow(
                    title=title,
                    pictures=[
                        _picture(row)
                        for row in table.filter(
                            (pl.col("target") == target) & (pl.col("set") == name)
                        ).iter_rows(named=True)
                    ],
                    empty="No image.",
                )
                for name, title in SETS.items()
            ],
        )
        for target in table["target"].unique(maintain_order=True)
    ]


def _picture(row: Mapping[str, Any]) -> Picture:
    said = [
        f"{kind}: {row[f'{name}_label']} ({100 * row[f'{name}_confidence']:.0f} %)"
        for kind, name in (("P-T", "p_t"), ("RI-T", "ri_t"))
    ]
    return Picture(
        png=row["picture"],
        alt=f"Test image {row['image_id']}: {row['label']}",
        caption=[f"{row['label']}", *said],
    )
