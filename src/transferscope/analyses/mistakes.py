"""Experiment 2: which mistakes instances share, and on which examples they differ."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from transferscope.analysis import Cell, CellData, Column, ConfigProblem, Panel, Row, Subject
from transferscope.claims import BY_ID
from transferscope.config import AnalysisConfig, Study
from transferscope.findings import Finding, judge, largest, mean_over_targets
from transferscope.options import Frozen
from transferscope.pairs import PAIR_COLUMNS, Pair, instances, pairs, parse
from transferscope.runs import chosen_targets

if TYPE_CHECKING:
    import polars as pl
    import torch
    from torch import Tensor

ORDER = 2
VERSION = 1
TITLE = "Mistakes"
SHOWS = (
    "For every pair of instances, the test images that both get wrong (common mistakes) and those that only one "
    "gets wrong (uncommon mistakes). Networks that learned the same thing make the same mistakes."
)
HOW_TO_READ = (
    "Few uncommon mistakes mean that two instances are near copies of each other in what they do. Kappa says how "
    "much more they agree on what is hard than their accuracies alone would make them: 0 is chance, 1 is full "
    "agreement."
)
CAVEATS = (
    "Images that are hard for everybody raise the agreement of every pair: compare pairs of one kind with pairs "
    "of another, not with zero. In multi-label data a decision is one finding of one image, at a probability of "
    "one half."
)
SOURCE = "Neyshabur, Sedghi, Zhang (2020), section 3.2; kappa after Geirhos, Meding, Wichmann (2020)"

KEYS = (Column("target", "str", "Name of the target"),)
TABLES = {
    "mistakes": (
        *PAIR_COLUMNS,
        Column("scope", "str", "all, or the name of a class or finding"),
        Column(
            "n", "int", "Decisions: images, or images times findings in the scope all of multi-label data"
        ),
        Column("both_wrong", "int", "Common mistakes"),
        Column("only_a", "int", "Uncommon mistakes of a: a wrong, b right"),
        Column("only_b", "int", "Uncommon mistakes of b: b wrong, a right"),
        Column("uncommon_share", "float", "Uncommon mistakes of both over n"),
        Column("expected_both_wrong", "float", "Common mistakes if the two erred independently"),
        Column("kappa", "float", "Cohen's kappa of the errors", "-1 to 1"),
        Column("kappa_low", "float", "Lower end of its 95 % bootstrap interval over images"),
        Column("kappa_high", "float", "Upper end"),
        Column("kappa_min", "float", "Lowest kappa that the two accuracies allow"),
        Column("kappa_max", "float", "Highest kappa that the two accuracies allow"),
        Column(
            "same_wrong_label",
            "float",
            "Share of the common mistakes with the same label; null if multi-label",
        ),
    ),
    "mistakes_difficulty": (
        *PAIR_COLUMNS,
        Column("wrong", "str", "Who is wrong: only a, only b, or both"),
        Column("n", "int", "Decisions where that is so"),
        Column("judged_wrong_p_t", "float", "Share of these that the other P-T get wrong; NaN without any"),
        Column("judged_wrong_ri_t", "float", "The same of the other RI-T"),
        Column("difficulty", "float", "Mean of the two: 0 where all others are right, 1 where all are wrong"),
    ),
}


class Settings(Frozen):
    """What decides the numbers of a cell."""

    bootstrap_draws: Annotated[int, Field(ge=100)] = 1000
    """Resamples of the test images behind the interval of kappa."""


class Config(AnalysisConfig, Settings):
    """Options of mistakes."""


def check(study: Study, config: Config) -> Iterator[ConfigProblem]:
    """Nothing beyond what every analysis is checked for."""
    yield from ()


def cells(study: Study, config: Config) -> Iterator[Cell]:
    """One cell a target, with all its instances."""
    for target in chosen_targets(study, config):
        subjects = instances(study, config, target)
        yield Cell(keys={"target": target}, subjects=subjects, data=study.targets[target].data, cost=0.1)


def measure(
    subjects: Mapping[str, Subject], data: CellData, settings: Settings, generator: torch.Generator
) -> dict[str, list[Row]]:
    """Shared and unshared mistakes of all pairs, and how hard these examples are for the others."""
    from transferscope.metrics.mistakes import mistakes

    labels = data.test.labels
    multi_label = data.description.multi_label
    predictions: dict[str, Tensor] = {
        name: (subject.test_logits > 0).long() if multi_label else subject.test_logits.argmax(1)
        for name, subject in subjects.items()
    }
    truth = labels.long()
    table = mistakes(predictions, truth, bootstrap=settings.bootstrap_draws, generator=generator)
    by_pair = {(pair.a, pair.b): pair for pair in pairs(subjects)}
    rows: list[Row] = []
    for row in table.iter_rows(named=True):
        pair = by_pair.get((row.pop("a"), row.pop("b")))
        if pair is None:
            continue
        if row["scope"] != "all":
            row["scope"] = data.description.class_names[int(row["scope"])]
        row["uncommon_share"] = (row["only_a"] + row["only_b"]) / row["n"]
        rows.append({**pair.columns, **row})
    wrong = {name: predicted != truth for name, predicted in predictions.items()}
    difficulty = [row for pair in by_pair.values() for row in _difficulty(pair, wrong)]
    return {"mistakes": rows, "mistakes_difficulty": difficulty}


def _difficulty(pair: Pair, wrong: Mapping[str, Tensor]) -> Iterator[Row]:
    """How often the instances outside the pair err where only one of it does, or both."""
    import torch

    a, b = wrong[pair.a], wrong[pair.b]
    judges: dict[str, Tensor] = {}
    for kind in ("P-T", "RI-T"):
        others = [
            errs for name, errs in wrong.items() if parse(name).kind == kind and name not in (pair.a, pair.b)
        ]
        if others:
            judges[kind] = torch.stack(others).double().mean(0)
    for who, where in (("only a", a & ~b), ("only b", b & ~a), ("both", a & b)):
        n = int(where.sum())
        shares = {
            kind: float(judges[kind][where].mean()) if n and kind in judges else math.nan
            for kind in ("P-T", "RI-T")
        }
        yield {
            **pair.columns,
            "wrong": who,
            "n": n,
            "judged_wrong_p_t": shares["P-T"],
            "judged_wrong_ri_t": shares["RI-T"],
            "difficulty": (shares["P-T"] + shares["RI-T"]) / 2,
        }


def panels(tables: Mapping[str, pl.DataFrame]) -> Sequence[Panel]:
    """For each target: uncommon mistakes by kind of pair; then kappa."""
    import altair as alt
    import polars as pl

    from transferscope.figures import color_scale

    table = tables["mistakes"].filter(pl.col("scope") == "all")
    kinds = table["pair"].unique(maintain_order=True).to_list()
    color = alt.Color("pair:N", scale=color_scale(kinds), legend=None)
    drawn = []
    for value, title, name in (
        ("uncommon_share", "uncommon mistakes, share of decisions", "uncommon"),
        ("kappa", "kappa of the errors", "kappa"),
    ):
        points = (
            alt.Chart(table)
            .mark_point()
            .encode(
                y=alt.Y("target:N", title=None, sort=None), x=alt.X(f"{value}:Q", title=title), color=color
            )
        )
        means = (
            alt.Chart(table)
            .mark_tick(thickness=2, size=16)
            .encode(
                y=alt.Y("target:N", sort=None),
                x=alt.X(f"mean({value}):Q"),
                color=alt.Color("pair:N", scale=color_scale(kinds), title=None),
            )
        )
        drawn.append(
            Panel(
                name=name,
                title=title.capitalize(),
                chart=alt.layer(points, means).resolve_legend(color="independent"),
                summary=f"{title} of every pair by target; the stroke is the mean of a kind of pair.",
            )
        )
    return drawn


def findings(tables: Mapping[str, pl.DataFrame], study: Study) -> Sequence[Finding]:
    """The two claims about mistakes."""
    import polars as pl

    table = tables["mistakes"].filter(pl.col("scope") == "all")
    hard = tables["mistakes_difficulty"].filter(pl.col("pair") == "P-T & RI-T")
    n = largest(table, "n")
    return [
        judge(BY_ID["p_t_share_mistakes"], table, _uncommon_ratio, num_images=n),
        judge(
            BY_ID["p_t_mistakes_are_ambiguous"],
            hard,
            lambda rows: _difficulty_of(rows, "only a") - _difficulty_of(rows, "only b"),
            num_images=n,
            note="Judged by the other instances' errors, not by eye.",
        ),
    ]


def _uncommon_ratio(rows: pl.DataFrame) -> float:
    import numpy as np
    import polars as pl

    shares = {
        kind: mean_over_targets(rows.filter(pl.col("pair") == kind), "uncommon_share")
        for kind in ("P-T & P-T", "RI-T & RI-T", "P-T & RI-T")
    }
    others = float(np.minimum(shares["RI-T & RI-T"], shares["P-T & RI-T"]))  # unlike min, NaN where one is
    return shares["P-T & P-T"] / others if others > 0 else math.nan


def _difficulty_of(rows: pl.DataFrame, who: str) -> float:
    import polars as pl

    return mean_over_targets(rows.filter((pl.col("wrong") == who) & (pl.col("n") > 0)), "difficulty")
