"""Charts and example images of feature reuse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import altair as alt
import polars as pl

from transferscope.analyses.contract import Gallery, Panel, Picture, PictureRow
from transferscope.analyses.shared.over_seeds import banded
from transferscope.analyses.theme import KIND_COLORS, KIND_DASHES, color_scale
from transferscope.core.runs import KIND_NAMES, KINDS

X_TITLE = "block size (px)"
BY_KIND = {
    "metric": ("final test metric", {"p_t": "P-T", "ri_t": "RI-T"}),
    "speed": ("optimization speed", {"p_t_speed": "P-T", "ri_t_speed": "RI-T"}),
    "drop": ("relative drop", {"p_t_relative_drop": "P-T", "ri_t_relative_drop": "RI-T"}),
}
"""Panels of each target: title of the axis, and the numbers of each kind."""


def reuse_panels(tables: Mapping[str, pl.DataFrame]) -> list[Panel]:
    """For each target: final metric, optimization speed, drop and epochs to a level; then both gains of all."""
    table = tables["feature_reuse"].with_columns(view_label=_view_label())
    summary = tables["feature_reuse_over_seeds"].with_columns(view_label=_view_label())
    order = _view_order(table)
    drawn = []
    for target in table["target"].unique(maintain_order=True):
        here = pl.col("target") == target
        is_shuffled = table.filter(here)["view"].n_unique() > 1
        for name, (title, columns) in BY_KIND.items():
            if name == "drop" and not is_shuffled:
                continue
            chart = _by_kind(table.filter(here), summary.filter(here), columns, order, title)
            drawn.append(
                Panel(
                    name=f"{name}-{target}",
                    title=f"{target}: {title}",
                    chart=chart,
                    summary=f"{title.capitalize()} of P-T and RI-T on {target} by block size; a point a seed, the line "
                    "is the mean, the bands are 95 % intervals over seeds (light) and test images (dark).",
                    group=target,
                    secondary=name == "drop",
                )
            )
        own = [label for label in order if label in set(table.filter(here)["view_label"])]
        drawn.append(_epochs(summary.filter(here), target, own))
    drawn.append(_relative_gain(table, summary, order))
    drawn.extend(_surviving(summary, order))
    return drawn


def _view_label() -> pl.Expr:
    return (
        pl.when(pl.col("view") == "pixels_and_channels")
        .then(pl.lit("p&c"))
        .otherwise(pl.col("block_size_px").cast(pl.String))
    )


def _view_order(table: pl.DataFrame) -> list[str]:
    """Largest blocks first, pixels and channels last."""
    sizes = table.select("view_label", pl.col("block_size_px").fill_null(0)).unique()
    return sizes.sort("block_size_px", descending=True)["view_label"].to_list()


def _by_kind(
    table: pl.DataFrame, summary: pl.DataFrame, columns: Mapping[str, str], order: list[str], title: str
) -> Any:
    names = pl.col("quantity").replace(columns)
    over_seeds = summary.filter(pl.col("quantity").is_in(list(columns))).with_columns(kind=names)
    points = table.unpivot(on=list(columns), index=["view_label", "seed"], variable_name="quantity")
    return banded(
        over_seeds,
        points.with_columns(kind=names),
        x=alt.X("view_label:N", sort=order, title=X_TITLE),
        color=alt.Color("kind:N", scale=color_scale(["P-T", "RI-T"], KIND_COLORS), title=None),
        title=title,
    )


def _epochs(summary: pl.DataFrame, target: str, order: list[str]) -> Panel:
    """Epochs to reach each level, where all seeds reach it."""
    names = {f"{kind}_epochs": KIND_NAMES[kind] for kind in KINDS}
    rows = summary.filter(pl.col("quantity").is_in(list(names))).with_columns(
        kind=pl.col("quantity").replace(names), reaching=pl.format("level {}", "level")
    )
    base = alt.Chart(rows.filter(pl.col("mean").is_not_nan())).encode(
        x=alt.X("view_label:N", sort=order, title=X_TITLE, scale=alt.Scale(domain=order)),
        color=alt.Color("kind:N", scale=color_scale(["P-T", "RI-T"], KIND_COLORS), title=None),
    )
    mean = alt.Y("mean:Q", title="epochs to the level of the training metric")
    shape = alt.Shape("reaching:N", title=None, legend=alt.Legend(columns=3))
    lines = [
        base.transform_filter(alt.datum.kind == kind)
        .mark_line(strokeDash=list(KIND_DASHES[kind]))
        .encode(y=mean, detail="reaching:N")
        for kind in names.values()
    ]
    chart = alt.layer(*lines, base.mark_point().encode(y=mean, shape=shape))
    return Panel(
        name=f"epochs-{target}",
        title=f"{target}: epochs to a level",
        chart=chart,
        summary=f"Epochs until the training metric on {target} reaches each level, mean over seeds, by block size; "
        "nothing stands where a seed never reaches it.",
        group=target,
        secondary=True,
    )


def _relative_gain(table: pl.DataFrame, summary: pl.DataFrame, order: list[str]) -> Panel:
    chart = banded(
        summary.filter(pl.col("quantity") == "relative_gain"),
        table.with_columns(value="relative_gain"),
        x=alt.X("view_label:N", sort=order, title=X_TITLE),
        color=alt.Color("target:N", title=None, sort=None),
        title="relative gain",
    )
    return Panel(
        name="relative-gain",
        title="Relative gain of P-T over RI-T",
        chart=chart,
        summary="Gain of P-T over RI-T divided by the metric of P-T, by block size, a line a target; the bands are "
        "95 % intervals over seeds (light) and test images (dark).",
    )


def _surviving(summary: pl.DataFrame, order: list[str]) -> Iterator[Panel]:
    """The shares of the unshuffled gain, where there is one to share."""
    for name, what in (("surviving_gain", "final metric"), ("surviving_speed_gain", "optimization speed")):
        rows = summary.filter((pl.col("quantity") == name) & pl.col("mean").is_not_nan())
        if rows.is_empty():
            continue
        base = alt.Chart(rows).encode(
            x=alt.X("view_label:N", sort=order, title=X_TITLE),
            color=alt.Color("target:N", title=None, sort=None),
            xOffset=alt.XOffset("target:N", sort=None),
        )
        title = f"share of the gain in {what}"
        chart = alt.layer(
            alt.Chart(pl.DataFrame({"share": [0.0, 1.0]})).mark_rule(strokeDash=[3, 3]).encode(y="share:Q"),
            base.mark_rule(strokeWidth=2).encode(y=alt.Y("low:Q", title=title), y2="high:Q"),
            base.mark_point(size=60).encode(y=alt.Y("mean:Q", title=title)),
        )
        yield Panel(
            name=name.replace("_", "-"),
            title=f"What survives of the gain in {what}",
            chart=chart,
            summary=f"Gain in {what} on shuffled blocks over that on unshuffled images, by block size, with Fieller's "
            "95 % interval over seeds; a target whose gain is not clearly above 0 is left out.",
        )


def reuse_galleries(table: pl.DataFrame) -> Sequence[Gallery]:
    """The same images of each target at every block size, as the first seed shuffles them."""
    first = table.filter(pl.col("seed") == pl.col("seed").min().over("target"))
    return [
        Gallery(
            name=target,
            title=f"{target}: what the networks see",
            summary="The first test images, shuffled as for the first seed: the same permutation for all images of "
            "the data set."
            if set(own["view"]) != {"unshuffled"}
            else "The first test images, none of which is shuffled.",
            group=target,
            rows=[
                PictureRow(
                    title=_view_title(*view), pictures=[_picture(row) for row in part.iter_rows(named=True)]
                )
                for view, part in own.group_by(["view", "block_size_px"], maintain_order=True)
            ],
        )
        for (target,), own in first.group_by(["target"], maintain_order=True)
    ]


def _view_title(view: Any, block_size_px: Any) -> str:
    if view == "unshuffled":
        return "as is"
    return "p&c" if view == "pixels_and_channels" else f"{block_size_px} px"


def _picture(row: Mapping[str, Any]) -> Picture:
    return Picture(
        png=row["picture"], alt=f"Test image {row['image_id']}: {row['label']}", caption=[row["label"]]
    )
