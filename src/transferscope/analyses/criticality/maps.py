"""The heat maps of module criticality."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import polars as pl

from transferscope.analyses.contract import Panel
from transferscope.analyses.theme import PANEL_WIDTH_PX
from transferscope.core.instances import name_of

COLUMNS = 3
"""Maps side by side."""
SCALE_NAMES = {"absolute": "units of the weights", "relative": "units of the move"}


def module_order(table: pl.DataFrame) -> list[str]:
    """The modules from the bottom up."""
    return table.sort("depth")["module"].unique(maintain_order=True).to_list()


def maps(table: pl.DataFrame, target: str) -> list[Panel]:
    """The maps of the first seed on training images: a panel a kind and scale, a map a module."""
    seed = table["seed"].min()
    part = table.filter((pl.col("seed") == seed) & (pl.col("split") == "train"))
    drawn = []
    for (kind, scale), rows in part.group_by(["kind", "scale"], maintain_order=True):
        units, name = SCALE_NAMES[str(scale)], name_of(rows.row(0, named=True))
        drawn.append(
            Panel(
                name=f"map-{scale}-{str(kind).lower().replace('-', '_')}-{target}",
                title=f"{target}: maps of {name}, noise in {units}",
                chart=_grid_of_maps(rows, module_order(rows)),
                summary=f"Training metric of {name} on {target}, a map a module: place between init (0) and "
                f"final (1) across, scale of the noise in {units} upward; mean over the draws of the noise.",
                secondary=scale == "relative",
            )
        )
    return drawn


def _grid_of_maps(rows: pl.DataFrame, order: Sequence[str]) -> Any:
    size = (PANEL_WIDTH_PX - 58) // COLUMNS - 8
    charts = []
    for place, module in enumerate(order):
        is_left, is_lowest = place % COLUMNS == 0, place + COLUMNS >= len(order)
        charts.append(
            alt.Chart(rows.filter(pl.col("module") == module), width=size, height=size)
            .mark_rect()
            .encode(
                x=alt.X(
                    "alpha:O",
                    title="init 0 to final 1" if is_lowest else None,
                    axis=alt.Axis(labels=is_lowest, ticks=is_lowest, labelOverlap=True),
                ),
                y=alt.Y(
                    "sigma:O",
                    sort="descending",
                    title="noise scale" if is_left else None,
                    axis=alt.Axis(labels=is_left, ticks=is_left),
                ),
                color=alt.Color("metric:Q", title="training metric", scale=alt.Scale(domain=[0, 1])),
            )
            .properties(
                title=alt.TitleParams(module, fontSize=11, fontWeight="normal", offset=3, frame="group")
            )
        )
    return alt.concat(*charts, columns=COLUMNS, spacing=6).resolve_scale(color="shared")


def path(table: pl.DataFrame, target: str) -> Panel:
    """The optimization path: epochs by modules, a map a kind."""
    order = module_order(table)
    means = table.group_by("kind", "module", "epoch", maintain_order=True).agg(pl.col("test_drop").mean())
    kinds = means["kind"].unique(maintain_order=True).to_list()
    worst = max([0.1, *means["test_drop"].drop_nans().to_list()])
    charts = []
    for kind in kinds:
        is_last = kind == kinds[-1]
        charts.append(
            alt.Chart(
                means.filter(pl.col("kind") == kind), width=PANEL_WIDTH_PX - 70, height=86, title=str(kind)
            )
            .mark_rect()
            .encode(
                x=alt.X(
                    "module:N",
                    sort=order,
                    title="module rewound" if is_last else None,
                    axis=alt.Axis(labels=is_last, ticks=is_last),
                ),
                y=alt.Y("epoch:O", title="to epoch", sort="descending"),
                color=alt.Color(
                    "test_drop:Q",
                    title="drop of the test metric",
                    scale=alt.Scale(domain=[0, worst], clamp=True, reverse=True),
                ),
            )
        )
    return Panel(
        name=f"path-{target}",
        title=f"{target}: one module rewound to an earlier epoch",
        chart=alt.vconcat(*charts, spacing=10).resolve_scale(color="shared"),
        summary=f"Drop of the test metric on {target} with one module rewound to its value after an epoch of the "
        "training (0 is the init) while all others are final; mean over seeds.",
    )
