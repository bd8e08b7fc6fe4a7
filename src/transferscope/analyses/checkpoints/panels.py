"""Charts of the choice of the checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import altair as alt
import polars as pl

from transferscope.analyses.contract import Panel
from transferscope.analyses.shared.over_seeds import banded

NAMES = {"source_metric": "source metric", "target_metric": "target metric", "speed": "optimization speed"}


def checkpoint_panels(tables: Mapping[str, pl.DataFrame]) -> list[Panel]:
    """For each target: metrics and speed, distance, and steps, by pre-training epoch."""
    drawn = []
    for target in tables["checkpoints"]["target"].unique(maintain_order=True):
        table, summary = (
            tables[name].filter(pl.col("target") == target)
            for name in ("checkpoints", "checkpoints_over_seeds")
        )
        recommended = summary.filter("is_recommended").head(1)
        chosen = f"; take epoch {recommended['pretrain_epoch'][0]}" if recommended.height else ""
        drawn.append(
            Panel(
                name=target,
                title=f"{target}: by pre-training epoch{chosen}",
                chart=_marked(_numbers(table, summary, NAMES, "metric or speed"), recommended),
                summary=f"Source metric, target metric and optimization speed on {target} by pre-training epoch; the "
                "rule marks the earliest checkpoint within one standard error of the best.",
            )
        )
        drawn.append(
            Panel(
                name=f"distance-{target}",
                title=f"{target}: distance travelled",
                chart=_numbers(table, summary, {"distance": "distance"}, "L2 distance from the checkpoint"),
                summary=f"L2 distance of the weights that the P-T on {target} travelled from its checkpoint.",
                secondary=True,
            )
        )
        drawn.extend(_steps(table, target))
    return drawn


def _numbers(table: pl.DataFrame, summary: pl.DataFrame, names: Mapping[str, str], title: str) -> Any:
    what = pl.col("quantity").replace(names)
    points = table.unpivot(on=list(names), index=["pretrain_epoch", "seed"], variable_name="quantity")
    return banded(
        summary.filter(pl.col("quantity").is_in(list(names))).with_columns(what=what),
        points.with_columns(what=what),
        x=alt.X("pretrain_epoch:Q", title="pre-training epoch", axis=alt.Axis(format="d", tickMinStep=1)),
        color=alt.Color("what:N", title=None, sort=None, legend=alt.Legend() if len(names) > 1 else None),
        title=title,
    )


def _marked(chart: Any, recommended: pl.DataFrame) -> Any:
    if not recommended.height:
        return chart
    rule = alt.Chart(recommended).mark_rule(strokeDash=[4, 3]).encode(x="pretrain_epoch:Q")
    return alt.layer(rule, *chart.layer)


def _steps(table: pl.DataFrame, target: str) -> list[Panel]:
    """From one checkpoint to the next: change of the source metric and of the target metric."""
    means = table.group_by("pretrain_epoch").agg(pl.col("source_metric", "target_metric").mean())
    rows = [
        {"step": f"{a['pretrain_epoch']} to {b['pretrain_epoch']}"}
        | {name: b[name] - a[name] for name in ("source_metric", "target_metric")}
        for a, b in pairwise(means.sort("pretrain_epoch").iter_rows(named=True))
        if a["source_metric"] is not None and b["source_metric"] is not None
    ]
    if len(rows) < 2:
        return []
    base = alt.Chart(pl.DataFrame(rows)).encode(
        x=alt.X("source_metric:Q", title="change of the source metric"),
        y=alt.Y("target_metric:Q", title="change of the target metric"),
    )
    chart = alt.layer(base.mark_point(size=60), base.mark_text(dy=-10).encode(text="step:N"))
    return [
        Panel(
            name=f"steps-{target}",
            title=f"{target}: jumps from checkpoint to checkpoint",
            chart=chart,
            summary=f"Change of the source metric and mean change of the target metric on {target} from one checkpoint "
            "to the next.",
        )
    ]
