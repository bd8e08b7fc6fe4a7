"""The search of the learning rates, where the study searches them: what was tried, and what was chosen."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from transferscope.analyses.claims import Finding
from transferscope.analyses.contract import Cell, CellData, ConfigProblem, Panel, Row, Subject
from transferscope.core.config import AnalysisConfig, Recipe, Study
from transferscope.core.options import Frozen
from transferscope.core.runs import KIND_NAMES, KINDS, Kind, chosen_targets, search_runs
from transferscope.core.tables import Column

if TYPE_CHECKING:
    import polars as pl
    import torch

ORDER = 10
VERSION = 1
TRAINS = True
"""It asks for trainings of its own, so networks that were trained elsewhere can\'t have it."""
WITH_SEARCH = True
TITLE = "Learning rates"
SHOWS = (
    "The search of the learning rates: networks of every kind are trained with the same rates and seeds on a part of "
    "each target's training images, and judged by the rest of them, the same for all. The rate with the best mean is "
    "the one that the study trains with."
)
HOW_TO_READ = (
    "A curve with its top inside the grid says that the rate is chosen well; where a kind's best rate is the grid's "
    "smallest or largest, a better one may lie beyond, and the comparison is unfair to that kind. A flat top says that "
    "the rate matters little."
)
CAVEATS = (
    "The held-out metric of the chosen rate is the best of several and so a little too good: what the study reports is "
    "measured on test images, with other seeds. Rates chosen on a part of the training images, or for fewer epochs, "
    "need not be the best for all of them. A rate with which a training diverged is never chosen."
)
SOURCE = (
    "The paper runs both learning rates for both kinds, so that neither is tuned better than the other (Neyshabur, "
    "Sedghi, Zhang 2020); the search on held-out training images is this project's"
)

CONTROLS_IN = "low_level_statistics"
"""The analysis that trains the controls."""
KEYS = (
    Column("target", "str", "Name of the target"),
    Column("kind", "str", "P-T, RI-T, or a control"),
)
TABLES = {
    "learning_rates": (
        Column("rate", "float", "Base learning rate"),
        Column("seed", "int", "Seed of the network"),
        Column("metric", "str", "What was measured on the held-out images: accuracy, or mean AUC"),
        Column(
            "held_out_metric",
            "float",
            "The metric at the last epoch; NaN where the training diverged",
            "0 to 1",
        ),
        Column("diverged_at", "int", "Epoch in which the training diverged; null where it didn't"),
        Column("chosen", "bool", "Whether the study trains this kind with this rate on this target"),
        Column("at_edge", "bool", "Whether the chosen rate is the smallest or the largest of the grid"),
        Column("shared", "bool", "Whether it was chosen by the mean over the targets"),
    )
}


class Settings(Frozen):
    """What decides the numbers of a cell: nothing to choose."""


class Config(AnalysisConfig, Settings):
    """Options of learning_rates, which is a part of every study with a rate_search."""


def check(study: Study, config: Config) -> Iterator[ConfigProblem]:
    """Nothing beyond what every analysis is checked for."""
    yield from ()


def cells(study: Study, config: Config) -> Iterator[Cell]:
    """One cell a target and kind, where the study searches; controls where the study trains them."""
    controls: Any = study.analyses.get(CONTROLS_IN)
    kinds: tuple[Kind, ...] = (*KINDS, *(controls.controls if controls is not None else ()))
    for target in chosen_targets(study, config):
        data = study.targets[target].data
        for kind in kinds:
            runs = search_runs(study, kind, target)
            subjects = {}
            for run in runs:
                if isinstance(run.recipe, Recipe):
                    elsewhere = "" if run.data == data else f" {len(subjects)}"
                    subjects[f"{run.recipe.learning_rate!r} {run.seed}{elsewhere}"] = run.final
            if subjects:
                keys = {"target": target, "kind": KIND_NAMES[kind]}
                yield Cell(keys=keys, subjects=subjects, data=data, cost=0.01)


def measure(
    subjects: Mapping[str, Subject], data: CellData, settings: Settings, generator: torch.Generator
) -> dict[str, list[Row]]:
    """The held-out metric of every network, and which rate is chosen by them.

    Args:
        subjects: by rate and seed; of other targets, where the rate is shared, with a third word.
        data: of the target.
        settings, generator: not used.
    """
    from transferscope.core.errors import TaskFailed
    from transferscope.train.rate_search import best_rate

    by_rate: dict[float, list[float]] = {}
    rows: list[Row] = []
    for role, subject in subjects.items():
        rate, seed, *elsewhere = role.split()
        history = subject.history
        metric = history["held_out_metric"][-1]
        by_rate.setdefault(float(rate), []).append(metric)
        if not elsewhere:
            diverged = history["train_loss"].is_nan().any() or (
                math.isnan(metric) and history["held_out_loss"].is_nan()[-1]
            )
            rows.append(
                {
                    "rate": float(rate),
                    "seed": int(seed),
                    "metric": data.description.metric,
                    "held_out_metric": metric,
                    "diverged_at": history["epoch"][-1] if diverged else None,
                }
            )
    try:
        chosen = best_rate(by_rate)
    except TaskFailed:
        chosen = None  # the trainings that wait for it say so
    shared = {
        "at_edge": chosen in (min(by_rate), max(by_rate)),
        "shared": len(rows) < len(subjects),
    }
    return {"learning_rates": [{**row, "chosen": row["rate"] == chosen, **shared} for row in rows]}


def panels(tables: Mapping[str, pl.DataFrame]) -> Sequence[Panel]:
    """Of each target, the held-out metric by rate and kind, with the chosen rates marked."""
    import polars as pl

    table = tables["learning_rates"]
    return [
        _panel(target, table.filter(pl.col("target") == target))
        for target in table["target"].unique(maintain_order=True)
    ]


def _panel(target: str, table: pl.DataFrame) -> Panel:
    import altair as alt
    import polars as pl

    from transferscope.analyses.theme import KIND_COLORS, color_scale

    measured = table.filter(pl.col("held_out_metric").is_finite())
    x = alt.X(
        "rate:Q", scale=alt.Scale(type="log", nice=False, padding=12), title="learning rate (logarithmic)"
    )
    y = alt.Y("held_out_metric:Q", scale=alt.Scale(zero=False), title="metric on held-out training images")
    mean = y.copy()
    mean.shorthand = "mean(held_out_metric):Q"
    color = alt.Color("kind:N", scale=color_scale(table["kind"], KIND_COLORS), title=None)
    points = alt.Chart(measured).mark_point(opacity=0.5).encode(x=x, y=y, color=color)
    lines = alt.Chart(measured).mark_line().encode(x=x, y=mean, color=color)
    chosen = (
        alt.Chart(measured.filter(pl.col("chosen"))).mark_point(filled=True, size=90, opacity=1)
    ).encode(x=x, y=mean, color=color)
    return Panel(
        name=target,
        title=f"{target}: metric on held-out training images by learning rate",
        chart=alt.layer(lines, points, chosen),
        summary=f"A point a network, a line through the means of each kind; the chosen rate is filled. {_said(table)}",
    )


def _said(table: pl.DataFrame) -> str:
    """What was chosen, where the grid may be too narrow, and what diverged."""
    import polars as pl

    said = []
    for kind in table["kind"].unique(maintain_order=True):
        part = table.filter(pl.col("kind") == kind)
        best = part.filter(pl.col("chosen"))
        if best.is_empty():
            said.append(f"{kind}: no rate is usable.")
            continue
        edge = (
            " at the edge of the grid, so a better one may lie beyond: widen rates"
            if best["at_edge"][0]
            else ""
        )
        said.append(f"{kind}: {best['rate'][0]:g}{edge}.")
    diverged = table.filter(pl.col("diverged_at").is_not_null())
    if len(diverged):
        rates = ", ".join(f"{rate:g}" for rate in diverged["rate"].unique().sort())
        said.append(f"Trainings that diverged: {len(diverged)} of {len(table)}, at {rates}.")
    return " ".join(said)


def findings(tables: Mapping[str, pl.DataFrame], study: Study) -> Sequence[Finding]:
    """None: the paper claims nothing about rates."""
    return []
