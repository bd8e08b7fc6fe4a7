"""Experiment 4: how far apart the weights of instances are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from transferscope.analysis import Cell, CellData, Column, ConfigProblem, Panel, Row, Subject
from transferscope.claims import BY_ID
from transferscope.config import AnalysisConfig, Study
from transferscope.findings import Finding, judge, mean_over_targets, mean_rank_correlation
from transferscope.options import Frozen
from transferscope.pairs import PAIR_COLUMNS, instances, pairs
from transferscope.runs import chosen_targets

if TYPE_CHECKING:
    import polars as pl
    import torch

ORDER = 4
VERSION = 2
TITLE = "Parameter distance"
SHOWS = (
    "The L2 distance between the weights of two instances, and between an instance and its own initialization, "
    "in the whole network and per module."
)
HOW_TO_READ = (
    "Two P-T that lie much closer than two RI-T stayed near the pre-trained weights; modules with a large "
    "distance are those that the target changed most."
)
CAVEATS = (
    "A distance of weights is not a distance of functions: a network with its channels permuted computes the "
    "same and lies far away. The head is drawn anew for each instance and is left out of the whole network."
)
SOURCE = "Neyshabur, Sedghi, Zhang (2020), section 3.3 and table 2"

KEYS = (Column("target", "str", "Name of the target"),)
TABLES = {
    "parameter_distance": (
        *PAIR_COLUMNS,
        Column("module", "str", "Name of the module, or all: the network without its head"),
        Column("depth", "int", "Place of the module from the stem, 0, to the head; null for all"),
        Column("distance", "float", "L2 distance of the weights"),
        Column("relative", "float", "Distance over the norm of a's weights there; NaN where that is 0"),
        Column("num_parameters", "int", "Weights compared"),
    )
}


class Settings(Frozen):
    """What decides the numbers of a cell: nothing to choose."""


class Config(AnalysisConfig, Settings):
    """Options of parameter_distance."""


def check(study: Study, config: Config) -> Iterator[ConfigProblem]:
    """Nothing beyond what every analysis is checked for."""
    yield from ()


def cells(study: Study, config: Config) -> Iterator[Cell]:
    """One cell a target, with all its instances and their inits."""
    for target in chosen_targets(study, config):
        subjects = instances(study, config, target, same_init=True, untrained=True)
        yield Cell(keys={"target": target}, subjects=subjects, data=study.targets[target].data, cost=0.05)


def measure(
    subjects: Mapping[str, Subject], data: CellData, settings: Settings, generator: torch.Generator
) -> dict[str, list[Row]]:
    """Distances of all pairs, in all and per module."""
    from transferscope.metrics.distance import l2_distance
    from transferscope.models.init import HEAD

    rows: list[Row] = []
    for pair in pairs(subjects):
        a, b = subjects[pair.a].state, subjects[pair.b].state
        table = l2_distance(a, b, by_module=True)
        body = l2_distance(a, b, by_module=True, modules={"all": _prefixes_of_body(a, HEAD)})
        rows += [{**pair.columns, "depth": None, **row} for row in body.iter_rows(named=True)]
        rows += [
            {**pair.columns, "depth": depth, **row} for depth, row in enumerate(table.iter_rows(named=True))
        ]
    return {"parameter_distance": rows}


def _prefixes_of_body(state: Mapping[str, object], head: str) -> list[str]:
    first = dict.fromkeys(name.partition(".")[0] for name in state)
    return [name for name in first if name != head]


def panels(tables: Mapping[str, pl.DataFrame]) -> Sequence[Panel]:
    """The whole network by kind of pair; then each target's modules."""
    import altair as alt
    import polars as pl

    from transferscope.figures import color_scale

    table = tables["parameter_distance"]
    kinds = table["pair"].unique(maintain_order=True).to_list()
    color = alt.Color("pair:N", scale=color_scale(kinds), title=None)
    whole = table.filter(pl.col("module") == "all")
    drawn = [
        Panel(
            name="whole",
            title="Whole network, without the head",
            chart=alt.Chart(whole)
            .mark_point()
            .encode(
                y=alt.Y("target:N", title=None, sort=None),
                x=alt.X("distance:Q", title="L2 distance"),
                color=color,
            ),
            summary="L2 distance of the weights of every pair, by target and kind of pair.",
        )
    ]
    modules = table.filter(pl.col("module") != "all")
    order = modules.sort("depth")["module"].unique(maintain_order=True).to_list()
    for target in table["target"].unique(maintain_order=True):
        chart = (
            alt.Chart(modules.filter(pl.col("target") == target))
            .mark_line(point=True)
            .encode(
                x=alt.X("module:N", sort=order, title=None),
                y=alt.Y("mean(distance):Q", title="L2 distance, mean over pairs"),
                color=color,
            )
        )
        drawn.append(
            Panel(
                name=f"modules-{target}",
                title=f"{target}: per module",
                chart=chart,
                summary=f"L2 distance per module on {target}, from the stem to the head, a line a kind of pair.",
            )
        )
    return drawn


def findings(tables: Mapping[str, pl.DataFrame], study: Study) -> Sequence[Finding]:
    """The two claims about distances."""
    import polars as pl

    table = tables["parameter_distance"]
    depth = pl.col("depth")
    body = table.filter((pl.col("pair") == "P-T & P-T") & (depth < depth.max()))  # the last is the head
    return [
        judge(BY_ID["p_t_are_close"], table.filter(pl.col("module") == "all"), _closeness),
        judge(BY_ID["distance_grows_toward_head"], body, _growth),
    ]


def _closeness(rows: pl.DataFrame) -> float:
    import polars as pl

    distances = [
        mean_over_targets(rows.filter(pl.col("pair") == kind), "distance")
        for kind in ("P-T & P-T", "RI-T & RI-T")
    ]
    return distances[0] / distances[1] if distances[1] > 0 else math.nan


def _growth(rows: pl.DataFrame) -> float:
    return mean_rank_correlation(rows, "depth", "distance", by=("seed_a", "seed_b"))
