"""Charts of the parts of the gain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import altair as alt
import polars as pl

from transferscope.analyses.contract import Panel
from transferscope.analyses.low_level_statistics.tables import (
    FINAL,
    PERMUTED,
    SPEED,
    SPLIT,
    SPLIT_CONTROLLED,
    SPLIT_UNSHUFFLED,
)
from transferscope.analyses.theme import CATEGORY_COLORS, INK, KIND_COLORS

AXES = {FINAL: ("final", "final test metric"), SPEED: ("speed", "optimization speed")}
"""Part of a panel's name, and what is on its axis."""


def statistics_panels(tables: Mapping[str, pl.DataFrame]) -> list[Panel]:
    """For each target and quantity: the steps from RI-T to P-T; then the shares of all."""
    shares = tables["low_level_statistics_shares"]
    drawn = []
    for target in shares["target"].unique(maintain_order=True):
        for quantity, (name, title) in AXES.items():
            here = shares.filter((pl.col("target") == target) & (pl.col("quantity") == quantity))
            drawn.append(
                Panel(
                    name=f"{name}-{target}",
                    title=f"{target}: parts of the gain in {title}",
                    chart=_waterfall(here, title),
                    summary=f"Steps of the {title} on {target} from RI-T, at 0, by way of weight statistics to the "
                    "whole gain of P-T, mean over seeds; strokes are 95 % intervals of each step over seeds."
                    + (
                        " The diamond is the control of permuted weights." if PERMUTED in here["part"] else ""
                    ),
                )
            )
    return drawn + _shares(shares)


def _waterfall(shares: pl.DataFrame, title: str) -> Any:
    parts = {row["part"]: row for row in shares.iter_rows(named=True)}
    split = next(own for own in (SPLIT_CONTROLLED, SPLIT, SPLIT_UNSHUFFLED) if set(own) <= set(parts))
    rows, height = [], 0.0
    for name in (*split, "gain"):
        part = parts[name]
        start = 0.0 if name == "gain" else height
        height = start + part["mean"]
        ends = {"low": start + part["low"], "high": start + part["high"]}
        rows.append({"step": name, "start": start, "end": height, **ends})
    order = [row["step"] for row in rows]
    colors = [*(CATEGORY_COLORS[i] for i in (2, 4, 1)[: len(split)]), KIND_COLORS["P-T"]]
    base = alt.Chart(pl.DataFrame(rows)).encode(y=alt.Y("step:N", sort=order, title=None))
    color = alt.Color("step:N", scale=alt.Scale(domain=order, range=colors), legend=None)
    bars = base.mark_bar().encode(x=alt.X("start:Q", title=f"{title} above RI-T"), x2="end:Q", color=color)
    strokes = base.mark_rule(color=INK, strokeWidth=2).encode(x="low:Q", x2="high:Q")
    layers = [bars, alt.Chart(pl.DataFrame({"zero": [0.0]})).mark_rule().encode(x="zero:Q"), strokes]
    if PERMUTED in parts:
        permuted = pl.DataFrame([{"step": "weight statistics", "end": parts[PERMUTED]["mean"]}])
        beside = alt.Chart(permuted).encode(y=alt.Y("step:N", sort=order), x="end:Q")
        layers.append(beside.mark_point(shape="diamond", color=INK, filled=False, size=90))
    return alt.layer(*layers)


def _shares(shares: pl.DataFrame) -> list[Panel]:
    """Shares of the gain of all targets, where there is a gain to share."""
    order = list(dict.fromkeys((*SPLIT_CONTROLLED, *SPLIT, *SPLIT_UNSHUFFLED, PERMUTED)))
    drawn = []
    for quantity, (name, title) in AXES.items():
        rows = shares.filter(
            (pl.col("quantity") == quantity) & pl.col("part").is_in(order) & pl.col("share").is_not_nan()
        )
        if rows.is_empty():
            continue
        base = alt.Chart(rows).encode(
            y=alt.Y("part:N", sort=order, title=None),
            color=alt.Color("target:N", title=None, sort=None),
            yOffset=alt.YOffset("target:N", sort=None),
        )
        axis = f"share of the gain in {title}"
        chart = alt.layer(
            alt.Chart(pl.DataFrame({"share": [0.0]})).mark_rule(strokeDash=[3, 3]).encode(x="share:Q"),
            base.mark_rule(strokeWidth=2).encode(x=alt.X("share_low:Q", title=axis), x2="share_high:Q"),
            base.mark_point(size=60).encode(x=alt.X("share:Q", title=axis)),
        )
        drawn.append(
            Panel(
                name=f"shares-{name}",
                title=f"Shares of the gain in {title}",
                chart=chart,
                summary=f"Each part over the gain in {title}, by target, with Fieller's 95 % interval over seeds.",
            )
        )
    return drawn
