"""Experiment 5: performance barriers on the straight path between instances."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from transferscope.analysis import Cell, CellData, Column, ConfigProblem, Panel, Row, Subject
from transferscope.claims import BY_ID
from transferscope.config import AnalysisConfig, Study
from transferscope.data.base import describe
from transferscope.findings import Finding, judge, largest, mean_over_targets, not_measured
from transferscope.options import Frozen
from transferscope.pairs import PAIR_COLUMNS, SAME_INIT, Pair, instances, pairs
from transferscope.runs import chosen_seeds, chosen_targets, target_run

if TYPE_CHECKING:
    import polars as pl
    import torch

ORDER = 5
VERSION = 1
TITLE = "Performance barriers"
SHOWS = (
    "Test loss and metric of networks on the straight line between two instances, (1 - alpha) a + alpha b, and "
    "beyond its ends. A barrier is how much worse the path gets than the line between its ends."
)
HOW_TO_READ = (
    "A flat curve between 0 and 1 says that two instances lie in one basin and that their weights can be "
    "averaged; a hill of the loss, or a valley of the metric, says that they don't and can't."
)
CAVEATS = (
    "The highest point of a path is found on a grid and is biased upward where test images are few. A network "
    "and its copy with permuted channels compute the same with a barrier between them. Losses beyond the ends "
    "can explode; the loss axis is logarithmic."
)
SOURCE = "Neyshabur, Sedghi, Zhang (2020), section 4.1; barrier as in Entezari et al. (2022)"

ACROSS = "P-T & P-T, other target"
KEYS = (
    Column("target", "str", "Name of the target whose test images are used"),
    Column("target_b", "str", "Name of the target that b was trained on"),
    *PAIR_COLUMNS,
)
TABLES = {
    "barriers": (
        Column("definition", "str", "line: above the line between the ends; mean: above their mean"),
        Column("barrier_loss", "float", "Largest rise of the loss", "nats"),
        Column(
            "barrier_loss_low", "float", "Lower end of its 95 % paired bootstrap interval over images", "nats"
        ),
        Column("barrier_loss_high", "float", "Upper end", "nats"),
        Column("barrier_metric", "float", "Largest drop of the metric"),
        Column("barrier_metric_low", "float", "Lower end of its 95 % interval"),
        Column("barrier_metric_high", "float", "Upper end"),
        Column("metric_a", "float", "Test metric of a", "0 to 1"),
        Column("metric_b", "float", "Test metric of b", "0 to 1"),
        Column(
            "metric_midpoint",
            "float",
            "Test metric of the averaged weights; null if 0.5 isn't on the grid",
            "0 to 1",
        ),
        Column("batch_norm", "str", "What was done with BatchNorm statistics on the path"),
        Column("n", "int", "Test images"),
    ),
    "barriers_curves": (
        Column("alpha", "float", "Place on the path: 0 is a, 1 is b"),
        Column("loss", "float", "Mean test loss", "nats"),
        Column("metric", "float", "Test metric", "0 to 1"),
    ),
}


class Settings(Frozen):
    """What decides the numbers of a cell."""

    alphas: tuple[float, ...] = (-0.5, -0.25, 0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.25, 1.5)
    """Places on the path; 0 and 1 must be among them."""
    definition: Literal["line", "mean"] = "line"
    """Barrier over the line between the ends (Entezari et al. 2022) or over their mean (Frankle et al. 2020)."""
    batch_norm: Literal["keep", "interpolate", "re-estimate"] = "re-estimate"
    """BatchNorm statistics on the path; of no effect in a network without BatchNorm."""
    bootstrap_draws: Annotated[int, Field(ge=100)] = 1000
    """Resamples of the test images behind the intervals."""


class Config(AnalysisConfig, Settings):
    """Options of barriers."""

    across: tuple[tuple[str, str], ...] = ()
    """Pairs of targets with the same classes whose P-T are interpolated too, measured on the first."""


def check(study: Study, config: Config) -> Iterator[ConfigProblem]:
    """Grids without the ends, and pairs of targets that don't have the same classes."""
    for end in (0.0, 1.0):
        if end not in config.alphas:
            yield ConfigProblem("alphas", f"must contain 0 and 1, the two instances; {end:g} is missing.")
    for a, b in config.across:
        unknown = [name for name in (a, b) if name not in study.targets]
        if unknown:
            yield ConfigProblem(
                "across", f"unknown target '{unknown[0]}'. Valid: {', '.join(study.targets)}."
            )
        elif describe(study.targets[a].data).class_names != describe(study.targets[b].data).class_names:
            yield ConfigProblem(
                "across", f"targets '{a}' and '{b}' must have the same classes in the same order."
            )


def cells(study: Study, config: Config) -> Iterator[Cell]:
    """One cell a pair of instances."""
    for target in chosen_targets(study, config):
        points = instances(study, config, target, same_init=True)
        for pair in pairs(points):
            keys = {"target": target, "target_b": target, **pair.columns}
            subjects = {"a": points[pair.a], "b": points[pair.b]}
            yield Cell(
                keys=keys, subjects=subjects, data=study.targets[target].data, cost=len(config.alphas) / 2
            )
    for a, b in config.across:
        for seed in chosen_seeds(study, config):
            pair = Pair(ACROSS, f"P-T {seed}", f"P-T {seed}", seed, seed)
            subjects = {
                "a": target_run(study, "p_t", a, seed).final,
                "b": target_run(study, "p_t", b, seed).final,
            }
            keys = {"target": a, "target_b": b, **pair.columns}
            yield Cell(keys=keys, subjects=subjects, data=study.targets[a].data, cost=len(config.alphas) / 2)


def measure(
    subjects: Mapping[str, Subject], data: CellData, settings: Settings, generator: torch.Generator
) -> dict[str, list[Row]]:
    """The path between a and b, and its barrier."""
    from transferscope.metrics.interpolation import barrier_interval, path_losses, path_table

    path = path_losses(
        subjects["a"].model(),
        subjects["a"].state,
        subjects["b"].state,
        (data.test.inputs, data.test.labels),
        alphas=settings.alphas,
        batch_norm=settings.batch_norm,
        calibration=data.train.inputs,
    )
    curve = path_table(path)
    metric = dict(zip(curve["alpha"], curve["metric"], strict=True))
    found = barrier_interval(
        path, definition=settings.definition, draws=settings.bootstrap_draws, generator=generator
    )
    row: Row = {
        "definition": found.definition,
        "barrier_loss": found.loss.estimate,
        "barrier_loss_low": found.loss.low,
        "barrier_loss_high": found.loss.high,
        "barrier_metric": found.metric.estimate,
        "barrier_metric_low": found.metric.low,
        "barrier_metric_high": found.metric.high,
        "metric_a": metric[0.0],
        "metric_b": metric[1.0],
        "metric_midpoint": metric.get(0.5),
        "batch_norm": path.batch_norm,
        "n": found.loss.n,
    }
    curves = [
        {name: point[name] for name in ("alpha", "loss", "metric")} for point in curve.iter_rows(named=True)
    ]
    return {"barriers": [row], "barriers_curves": curves}


def panels(tables: Mapping[str, pl.DataFrame]) -> Sequence[Panel]:
    """For each target, metric and loss along the paths; then the barriers of all pairs."""
    import altair as alt
    import polars as pl

    from transferscope.figures import color_scale

    curves, barriers = tables["barriers_curves"], tables["barriers"]
    kinds = barriers["pair"].unique(maintain_order=True).to_list()
    color = alt.Color("pair:N", scale=color_scale(kinds), title=None)
    drawn = [
        Panel(
            name="heights",
            title="Barriers: largest drop of the metric",
            chart=alt.Chart(barriers)
            .mark_point()
            .encode(
                y=alt.Y("target:N", title=None, sort=None),
                x=alt.X("barrier_metric:Q", title="barrier of the metric"),
                color=color,
            ),
            summary="Barrier of the metric for every pair, by target and kind of pair.",
        )
    ]
    for value, title, scale in (
        ("metric", "test metric", alt.Scale(zero=False)),
        ("loss", "test loss (nats, logarithmic)", alt.Scale(type="log")),
    ):
        for target in curves["target"].unique(maintain_order=True):
            part = curves.filter((pl.col("target") == target) & pl.col(value).is_finite())
            if value == "loss":
                part = part.filter(pl.col("loss") > 0)
            part = part.with_columns(line=pl.concat_str("a", "b", "target_b", separator=" & "))
            chart = (
                alt.Chart(part)
                .mark_line(opacity=0.75)
                .encode(
                    x=alt.X("alpha:Q", title="alpha (0: a, 1: b)"),
                    y=alt.Y(f"{value}:Q", title=title, scale=scale),
                    color=color,
                    detail="line:N",
                )
            )
            drawn.append(
                Panel(
                    name=f"{value}-{target}",
                    title=f"{target}: {title.split(' (')[0]} along the paths",
                    chart=chart,
                    summary=f"{title} on the straight path between two instances on {target}, a line a pair.",
                )
            )
    return drawn


def findings(tables: Mapping[str, pl.DataFrame], study: Study) -> Sequence[Finding]:
    """The four claims about barriers."""
    import polars as pl

    table = tables["barriers"]
    n = largest(table, "n")
    found = []
    for name, kind in (
        ("no_barrier_between_p_t", "P-T & P-T"),
        ("barrier_p_t_ri_t", "P-T & RI-T"),
        ("barrier_ri_t_ri_t", "RI-T & RI-T"),
        ("barrier_ri_t_same_init", SAME_INIT),
    ):
        rows = table.filter(pl.col("pair") == kind)
        if rows.is_empty():
            found.append(not_measured(BY_ID[name], f"The study has no pair {kind}."))
        else:
            found.append(
                judge(BY_ID[name], rows, lambda part: mean_over_targets(part, "barrier_metric"), num_images=n)
            )
    return found
