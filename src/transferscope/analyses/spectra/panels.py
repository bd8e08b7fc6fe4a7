"""The figures of the analysis of spectra."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import polars as pl

from transferscope.analyses.contract import Panel
from transferscope.analyses.shared.bands import BAND, BAND_OPACITY, over_pairs, seeds_behind
from transferscope.analyses.theme import KIND_COLORS, KIND_DASHES, color_scale, dash_scale

VALUE_OVER = "singular value over the largest"


def spectra_panels(tables: Mapping[str, pl.DataFrame]) -> Sequence[Panel]:
    """For each target: the mean spectrum by kind, its mean by depth, and three convolutions' own spectra."""
    drawn = []
    for target in tables["spectra"]["target"].unique(maintain_order=True):
        drawn += [
            _by_share(tables["spectra_quantiles"], target),
            _by_depth(tables["spectra"], target),
            _chosen(tables["spectra_quantiles"], target),
        ]
    return drawn


def _by_share(quantiles: pl.DataFrame, target: str) -> Panel:
    part = quantiles.filter((pl.col("target") == target) & pl.col("relative").is_not_nan())
    means = over_pairs(part, ["kind", "share"], "relative")
    return Panel(
        name=f"shape-{target}",
        title=f"{target}: spectrum",
        chart=_lines(means, "share:Q", "share of singular values that are larger", VALUE_OVER),
        summary=f"Singular value over the largest on {target}, mean over instances and convolutions, a line a kind; "
        f"{BAND}: {seeds_behind(part)}.",
    )


def _by_depth(spectra: pl.DataFrame, target: str) -> Panel:
    part = spectra.filter((pl.col("target") == target) & pl.col("mean_relative").is_not_nan())
    means = over_pairs(part, ["kind", "depth"], "mean_relative")
    chart = _lines(means, "depth:O", "convolution, from the first", "mean over the largest", True)
    return Panel(
        name=f"depth-{target}",
        title=f"{target}: spectrum by depth",
        chart=chart,
        summary=f"Mean singular value over the largest on {target} by convolution, mean over instances, a line a "
        f"kind; {BAND}: {seeds_behind(part)}.",
        secondary=True,
    )


def _chosen(quantiles: pl.DataFrame, target: str) -> Panel:
    """The spectra of the first, the middle and the last convolution, one above the other."""
    part = quantiles.filter(pl.col("target") == target)
    names = part.sort("depth")["convolution"].unique(maintain_order=True).to_list()
    chosen = list(dict.fromkeys([names[0], names[len(names) // 2], names[-1]]))
    part = part.filter(pl.col("convolution").is_in(chosen) & pl.col("value").is_not_nan())
    means = over_pairs(part, ["convolution", "kind", "share"], "value")
    lines = _lines(means, "share:Q", "share of singular values that are larger", "singular value")
    return Panel(
        name=f"chosen-{target}",
        title=f"{target}: spectra of three convolutions",
        chart=lines.properties(width=250, height=85)
        .facet(
            row=alt.Row(
                "convolution:N",
                sort=chosen,
                title=None,
                header=alt.Header(orient="top", labelOrient="top", labelAnchor="start"),
            )
        )
        .resolve_scale(y="independent"),
        summary=f"Singular values of {', '.join(chosen)} on {target}, mean over instances, a line a kind; "
        f"{BAND}: {seeds_behind(part)}.",
        secondary=True,
    )


def _lines(means: pl.DataFrame, x: str, x_title: str, y_title: str, points: bool = False) -> Any:
    """A line a kind, with its band over seeds where it has several."""
    colors, dashes = color_scale(means["kind"], KIND_COLORS), dash_scale(means["kind"], KIND_DASHES)
    legend = alt.Legend(symbolType="stroke")  # dashed outlines of points would look like gears
    # one table for both layers: a facet takes no other
    base = alt.Chart(means.with_columns(pl.col("low", "high").fill_nan(None))).encode(
        x=alt.X(x, title=x_title), color=alt.Color("kind:N", scale=colors, title=None, legend=legend)
    )
    bands = base.transform_filter("isValid(datum.low)").mark_area(opacity=BAND_OPACITY, line=False)
    lines = base.mark_line(point=alt.OverlayMarkDef(strokeWidth=0) if points else False)
    return alt.layer(
        bands.encode(y=alt.Y("low:Q", title=y_title), y2="high:Q"),
        lines.encode(
            y=alt.Y("mean:Q", title=y_title),
            strokeDash=alt.StrokeDash("kind:N", scale=dashes, title=None, legend=legend),
        ),
    )
