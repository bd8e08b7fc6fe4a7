"""Experiment 3: how similar the features of instances are, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from transferscope.analysis import Cell, CellData, Column, ConfigProblem, Panel, Row, Subject
from transferscope.claims import BY_ID
from transferscope.config import AnalysisConfig, Study
from transferscope.findings import Finding, judge, largest, mean_over_targets
from transferscope.options import Frozen
from transferscope.pairs import PAIR_COLUMNS, instances, pairs, parse
from transferscope.runs import chosen_targets

if TYPE_CHECKING:
    import polars as pl
    import torch

ORDER = 3
VERSION = 2
TITLE = "Feature similarity"
SHOWS = (
    "Linear CKA (debiased, spatial axes flattened) of what two instances compute at each layer, on the target's "
    "test images: 1 for features that are the same up to rotation and scale, 0 for unrelated ones."
)
HOW_TO_READ = (
    "P-T & P-T near 1 says that fine-tuning kept the pre-trained features; pairs with an RI-T near RI & RI (two "
    "untrained networks) share no more than the architecture and the images give."
)
CAVEATS = (
    "Two networks that have learned little look alike: look at the training metric beside the similarity. One "
    "outlying image can raise CKA; the interval, from leaving out images, widens then."
)
SOURCE = "Neyshabur, Sedghi, Zhang (2020), section 3.3 and table 1; linear CKA by Kornblith et al. (2019), debiased"

KEYS = (Column("target", "str", "Name of the target"),)
TABLES = {
    "feature_similarity": (
        *PAIR_COLUMNS,
        Column("layer_a", "str", "Layer of a whose output is compared"),
        Column("layer_b", "str", "Layer of b"),
        Column("depth_a", "int", "Place of layer_a from the stem, 0"),
        Column("depth_b", "int", "Place of layer_b"),
        Column("linear_cka", "float", "Debiased linear CKA; NaN where the status isn't ok"),
        Column("low", "float", "Lower end of its 95 % interval over images"),
        Column("high", "float", "Upper end"),
        Column("null", "float", "95 % quantile when one network's images are permuted: what chance gives"),
        Column("n", "int", "Images"),
        Column("status", "str", "ok, or why there is no number"),
        Column(
            "train_metric_a", "float", "Training metric of a in its last epoch; null if untrained", "0 to 1"
        ),
        Column(
            "train_metric_b", "float", "Training metric of b in its last epoch; null if untrained", "0 to 1"
        ),
    )
}


class Settings(Frozen):
    """What decides the numbers of a cell."""

    num_images: Annotated[int, Field(ge=8)] = 512
    """Test images compared; all where there are fewer."""
    permutations: Annotated[int, Field(ge=0)] = 100
    """Permutations behind the null."""


class Config(AnalysisConfig, Settings):
    """Options of feature_similarity."""


def check(study: Study, config: Config) -> Iterator[ConfigProblem]:
    """Nothing beyond what every analysis is checked for."""
    yield from ()


def cells(study: Study, config: Config) -> Iterator[Cell]:
    """One cell a target, with all its instances and their inits: one forward pass each."""
    for target in chosen_targets(study, config):
        subjects = instances(study, config, target, untrained=True)
        yield Cell(keys={"target": target}, subjects=subjects, data=study.targets[target].data, cost=4.0)


def measure(
    subjects: Mapping[str, Subject], data: CellData, settings: Settings, generator: torch.Generator
) -> dict[str, list[Row]]:
    """Linear CKA of all pairs at all pairs of layers."""
    from transferscope.metrics.cka import cka
    from transferscope.models.init import HEAD

    models = {name: subject.model() for name, subject in subjects.items()}
    layers = [name for name, _ in next(iter(models.values())).named_children() if name != HEAD]
    table = cka(
        models,
        data.test.first(settings.num_images).inputs,
        layers=layers,
        permutations=settings.permutations,
        generator=generator,
    )
    by_pair = {(pair.a, pair.b): pair for pair in pairs(subjects)}
    trained = {name: _train_metric(name, subject) for name, subject in subjects.items()}
    rows: list[Row] = []
    for row in table.iter_rows(named=True):
        pair = by_pair.get((row["model_x"], row["model_y"]))
        if pair is not None:
            rows.append(
                {
                    **pair.columns,
                    "layer_a": row["layer_x"],
                    "layer_b": row["layer_y"],
                    "depth_a": layers.index(row["layer_x"]),
                    "depth_b": layers.index(row["layer_y"]),
                    "train_metric_a": trained[pair.a],
                    "train_metric_b": trained[pair.b],
                    **{name: row[name] for name in ("linear_cka", "low", "high", "null", "n", "status")},
                }
            )
    return {"feature_similarity": rows}


def _train_metric(name: str, subject: Subject) -> float | None:
    return subject.history["train_metric"][-1] if parse(name).kind in ("P-T", "RI-T") else None


def panels(tables: Mapping[str, pl.DataFrame]) -> Sequence[Panel]:
    """For each target, the similarity by layer, a line a kind of pair."""
    import altair as alt
    import polars as pl

    from transferscope.figures import color_scale

    table = tables["feature_similarity"].filter(pl.col("depth_a") == pl.col("depth_b"))
    table = table.filter(pl.col("linear_cka").is_not_nan())
    kinds = table["pair"].unique(maintain_order=True).to_list()
    order = table.sort("depth_a")["layer_a"].unique(maintain_order=True).to_list()
    drawn = []
    for target in table["target"].unique(maintain_order=True):
        base = alt.Chart(table.filter(pl.col("target") == target)).encode(
            x=alt.X("layer_a:N", sort=order, title=None),
            color=alt.Color("pair:N", scale=color_scale(kinds), title=None),
        )
        title = "linear CKA (debiased)"
        chart = alt.layer(
            base.mark_line().encode(y=alt.Y("mean(linear_cka):Q", title=title)),
            base.mark_point(opacity=0.5).encode(y=alt.Y("linear_cka:Q", title=title)),
        )
        drawn.append(
            Panel(
                name=target,
                title=f"{target}: similarity by layer",
                chart=chart,
                summary=f"Linear CKA at each layer on {target}; a point a pair, the line is the mean of a kind.",
            )
        )
    return drawn


def findings(tables: Mapping[str, pl.DataFrame], study: Study) -> Sequence[Finding]:
    """The three claims about features."""
    import polars as pl

    table = tables["feature_similarity"].filter(pl.col("depth_a") == pl.col("depth_b"))
    n = largest(table, "n")
    p_t = table.filter(pl.col("pair") == "P-T & P-T")
    return [
        judge(
            BY_ID["p_t_features_are_similar"],
            table,
            lambda rows: _mean_cka(rows, "P-T & P-T") - _with_ri_t(rows),
            num_images=n,
        ),
        judge(BY_ID["p_t_similarity_falls_with_depth"], p_t, _fall, num_images=n),
        judge(
            BY_ID["ri_t_features_are_dissimilar"],
            table,
            lambda rows: _with_ri_t(rows) - (_mean_cka(rows, "RI & RI") + _mean_cka(rows, "P-T & P-T")) / 2,
            num_images=n,
            note=_room(table),
        ),
    ]


def _mean_cka(rows: pl.DataFrame, kind: str) -> float:
    import polars as pl

    return mean_over_targets(rows.filter(pl.col("pair") == kind), "linear_cka")


def _room(table: pl.DataFrame) -> str:
    """The two ends of the scale, in words."""
    floor, ceiling = (_mean_cka(table, kind) for kind in ("RI & RI", "P-T & P-T"))
    said = f"RI & RI {floor:.2f}, P-T & P-T {ceiling:.2f}."
    return f"{said} Two P-T are no more alike than two untrained networks." if ceiling <= floor else said


def _with_ri_t(rows: pl.DataFrame) -> float:
    import numpy as np

    # unlike max, NaN where one of them is
    return float(np.maximum(_mean_cka(rows, "P-T & RI-T"), _mean_cka(rows, "RI-T & RI-T")))


def _fall(rows: pl.DataFrame) -> float:
    import polars as pl

    depth = pl.col("depth_a")
    first, last = rows.filter(depth == depth.min()), rows.filter(depth == depth.max())
    return mean_over_targets(first, "linear_cka") - mean_over_targets(last, "linear_cka")
