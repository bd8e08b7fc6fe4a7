"""Experiment 6: which modules can be put back to their initial values, and how much noise they bear."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from transferscope.analysis import Cell, CellData, Column, ConfigProblem, Panel, Row, Subject
from transferscope.claims import BY_ID
from transferscope.config import AnalysisConfig, Study
from transferscope.findings import (
    Finding,
    judge,
    largest,
    mean_over_targets,
    mean_rank_correlation,
    not_measured,
)
from transferscope.options import Frozen
from transferscope.runs import KINDS, Point, chosen_seeds, chosen_targets, target_run

if TYPE_CHECKING:
    import polars as pl
    import torch

ORDER = 6
VERSION = 1
TITLE = "Module criticality"
SHOWS = (
    "One module at a time is put back to its initial value (for P-T: the pre-trained one), all or part of the "
    "way, and noise is added to it, while everything else stays as trained. A module is critical where that "
    "costs much."
)
HOW_TO_READ = (
    "Modules of P-T that can be put back at no cost did not need to be fine-tuned: they are candidates for "
    "freezing. In the maps, alpha 0 is the initial value and 1 the trained one; a bright row at alpha 0 is a "
    "module that doesn't matter."
)
CAVEATS = (
    "Putting back one module says nothing of putting back several: look at the cumulative column. The head is "
    "drawn at random and always critical. mu is 0 where the initial value itself is admissible, and infinite "
    "where nothing is."
)
SOURCE = "Neyshabur, Sedghi, Zhang (2020), section 4.2; Chatterji, Neyshabur, Sedghi (2020)"

KIND_NAMES = {"p_t": "P-T", "ri_t": "RI-T"}
KEYS = (
    Column("target", "str", "Name of the target"),
    Column("kind", "str", "P-T or RI-T"),
    Column("seed", "int", "Seed of the instance"),
)
_MODULE = (
    Column("module", "str", "Name of the module"),
    Column("depth", "int", "Place of the module from the stem, 0, to the head"),
)
TABLES = {
    "criticality": (
        *_MODULE,
        Column("is_head", "bool", "Whether it is the head, which is never transferred"),
        Column("mu", "float", "Module criticality on training images; infinite where no cell is admissible"),
        Column("epsilon", "float", "Largest training loss that is admissible", "nats"),
        Column("status", "str", "ok, no admissible cell, or unmoved"),
        Column("distance", "float", "L2 distance from init to final"),
        Column("num_parameters", "int", "Parameters of the module"),
        Column("train_rise_loss", "float", "Rise of the training loss when it alone is put back", "nats"),
        Column("train_drop", "float", "Drop of the training metric when it alone is put back"),
        Column("test_drop", "float", "Drop of the test metric when it alone is put back"),
        Column("test_drop_cumulative", "float", "Drop of the test metric when it and all below are put back"),
        Column("test_metric", "float", "Test metric of the final network", "0 to 1"),
        Column("n_test", "int", "Test images"),
    ),
    "criticality_map": (
        *_MODULE,
        Column("alpha", "float", "Place between init, 0, and final, 1"),
        Column("sigma", "float", "Scale of the Gaussian noise"),
        Column("loss", "float", "Mean training loss over the draws", "nats"),
        Column("loss_se", "float", "Its standard error over the draws", "nats"),
        Column("metric", "float", "Mean training metric over the draws", "0 to 1"),
        Column("metric_se", "float", "Its standard error over the draws"),
        Column("draws", "int", "Draws of the noise"),
    ),
    "criticality_path": (
        *_MODULE,
        Column("epoch", "int", "Epoch to whose value the module alone is put back; 0 is the init"),
        Column("test_drop", "float", "Drop of the test metric"),
    ),
    "criticality_training": (
        *_MODULE,
        Column("epoch", "int", "Epoch of the network; its module alone is put back to the init"),
        Column("epochs", "int", "Epochs of the whole training"),
        Column("test_drop", "float", "Drop of the test metric against the network at that epoch"),
    ),
}


class Settings(Frozen):
    """What decides the numbers of a cell."""

    alphas: tuple[Annotated[float, Field(ge=0, le=1)], ...] = (0, 0.25, 0.5, 0.75, 1)
    """Places between init and final."""
    sigmas: tuple[Annotated[float, Field(ge=0)], ...] = (0, 0.02, 0.05, 0.1, 0.2)
    """Scales of the noise."""
    draws: Annotated[int, Field(ge=1)] = 10
    """Draws of the noise, the same over the whole map."""
    relative_sigma: bool = False
    """Sigma in units of the root mean square move of the module's weights, not of the weights themselves."""
    tolerance: Annotated[float, Field(gt=0)] = 0.1
    """A cell is admissible while the loss is at most that of the final network plus this, in nats."""
    num_images: Annotated[int, Field(ge=8)] = 256
    """Training images of the map and of mu; all where there are fewer."""


class Config(AnalysisConfig, Settings):
    """Options of criticality."""


def check(study: Study, config: Config) -> Iterator[ConfigProblem]:
    """Grids on which criticality can't be defined."""
    if not any(sigma > 0 for sigma in config.sigmas):
        yield ConfigProblem(
            "sigmas", "must contain at least one scale above 0, or there is no noise to bear."
        )
    if not config.alphas:
        yield ConfigProblem("alphas", "must contain at least one place between init, 0, and final, 1.")


def cells(study: Study, config: Config) -> Iterator[Cell]:
    """One cell an instance, with all the epochs that its recipe keeps."""
    evaluations = len(config.alphas) * (1 + len(config.sigmas) * config.draws) * 6
    for target in chosen_targets(study, config):
        for kind in KINDS:
            for seed in chosen_seeds(study, config):
                run = target_run(study, kind, target, seed)
                subjects = {f"epoch {e}": Point(run=run, epoch=e) for e in run.recipe.kept_epochs}
                yield Cell(
                    keys={"target": target, "kind": KIND_NAMES[kind], "seed": seed},
                    subjects=subjects,
                    data=study.targets[target].data,
                    cost=evaluations * config.num_images / 1000 / len(subjects),
                )


def measure(
    subjects: Mapping[str, Subject], data: CellData, settings: Settings, generator: torch.Generator
) -> dict[str, list[Row]]:
    """The map and mu of every module, and what putting modules back costs."""
    from transferscope.metrics.criticality import module_criticality, rewind
    from transferscope.models.init import HEAD

    by_epoch = {subject.epoch: subject for subject in subjects.values()}
    init, final = by_epoch[0], by_epoch[max(by_epoch)]
    model = final.model()
    few = data.train.first(settings.num_images)
    train, test = (few.inputs, few.labels), (data.test.inputs, data.test.labels)
    found = module_criticality(
        model,
        init.state,
        final.state,
        train,
        alphas=settings.alphas,
        sigmas=settings.sigmas,
        draws=settings.draws,
        tolerance=settings.tolerance,
        relative=settings.relative_sigma,
        generator=generator,
    )
    depth = {name: i for i, name in enumerate(found.modules["module"])}
    on_train = _by_module(rewind(model, init.state, final.state, train))
    on_test = _by_module(rewind(model, init.state, final.state, test))
    cumulative = _by_module(rewind(model, init.state, final.state, test, cumulative=True))
    rows: list[Row] = [
        {
            "module": name,
            "depth": depth[name],
            "is_head": name == HEAD,
            "mu": row["mu"],
            "epsilon": found.epsilon,
            "status": row["status"],
            "distance": row["distance"],
            "num_parameters": row["num_parameters"],
            "train_rise_loss": on_train[name]["rise_loss"],
            "train_drop": on_train[name]["drop_metric"],
            "test_drop": on_test[name]["drop_metric"],
            "test_drop_cumulative": cumulative[name]["drop_metric"],
            "test_metric": on_test[name]["metric"] + on_test[name]["drop_metric"],
            "n_test": len(data.test.labels),
        }
        for name, row in _by_module(found.modules).items()
    ]
    columns = ("module", "alpha", "sigma", "loss", "loss_se", "metric", "metric_se", "draws")
    cells_of_map = [
        {"depth": depth[row["module"]], **{name: row[name] for name in columns}}
        for row in found.cells.iter_rows(named=True)
    ]
    path: list[Row] = []
    training: list[Row] = []
    for epoch, subject in by_epoch.items():
        if subject is not final:
            back = rewind(model, subject.state, final.state, test)
            path += [
                {"module": name, "depth": depth[name], "epoch": epoch, "test_drop": row["drop_metric"]}
                for name, row in _by_module(back).items()
            ]
        if epoch > 0:
            back = rewind(model, init.state, subject.state, test)
            training += [
                {
                    "module": name,
                    "depth": depth[name],
                    "epoch": epoch,
                    "epochs": max(by_epoch),
                    "test_drop": row["drop_metric"],
                }
                for name, row in _by_module(back).items()
            ]
    return {
        "criticality": rows,
        "criticality_map": cells_of_map,
        "criticality_path": path,
        "criticality_training": training,
    }


def _by_module(table: pl.DataFrame) -> dict[str, Row]:
    return {row["module"]: row for row in table.iter_rows(named=True)}


def panels(tables: Mapping[str, pl.DataFrame]) -> Sequence[Panel]:
    """Accuracy after rewinding by target; then the maps of the first seed."""
    drawn = []
    for target in tables["criticality"]["target"].unique(maintain_order=True):
        drawn += [_rewinding(tables["criticality"], target), _cumulative(tables["criticality"], target)]
        drawn += _maps(tables["criticality_map"], target)
        drawn.append(_in_training(tables["criticality_training"], target))
    return drawn


def _rewinding(table: pl.DataFrame, target: str, *, cumulative: bool = False) -> Panel:
    import altair as alt
    import polars as pl

    from transferscope.figures import KIND_COLORS, color_scale

    part = table.filter(pl.col("target") == target)
    order = part.sort("depth")["module"].unique(maintain_order=True).to_list()
    column = "test_drop_cumulative" if cumulative else "test_drop"
    what = "it and all modules below are" if cumulative else "one module is"
    base = alt.Chart(part).encode(
        x=alt.X("module:N", sort=order, title=None),
        color=alt.Color("kind:N", scale=color_scale(["P-T", "RI-T"], KIND_COLORS), title=None),
        xOffset="kind:N",
    )
    title = "drop of the test metric"
    chart = alt.layer(
        base.mark_bar(opacity=0.6).encode(y=alt.Y(f"mean({column}):Q", title=title)),
        base.mark_point(size=18).encode(y=alt.Y(f"{column}:Q", title=title)),
    )
    return Panel(
        name=f"{'cumulative' if cumulative else 'rewinding'}-{target}",
        title=f"{target}: {what} put back to the init",
        chart=chart,
        summary=f"Drop of the test metric on {target} when {what} put back; a bar is the mean, a point a seed.",
    )


def _cumulative(table: pl.DataFrame, target: str) -> Panel:
    return _rewinding(table, target, cumulative=True)


def _maps(table: pl.DataFrame, target: str) -> list[Panel]:
    import altair as alt
    import polars as pl

    part = table.filter(pl.col("target") == target)
    seed = part["seed"].min()
    part = part.filter(pl.col("seed") == seed)
    order = part.sort("depth")["module"].unique(maintain_order=True).to_list()
    drawn = []
    for kind in part["kind"].unique(maintain_order=True):
        chart = (
            alt.Chart(part.filter(pl.col("kind") == kind), width=78, height=78)
            .mark_rect()
            .encode(
                x=alt.X("alpha:O", title=None),
                y=alt.Y("sigma:O", title=None, sort="descending"),
                color=alt.Color("metric:Q", title="training metric", scale=alt.Scale(domain=[0, 1])),
            )
            .facet(facet=alt.Facet("module:N", sort=order, title=None), columns=3)
        )
        drawn.append(
            Panel(
                name=f"map-{kind.lower().replace('-', '_')}-{target}",
                title=f"{target}: {kind} {seed}, maps",
                chart=chart,
                summary=f"Training metric of {kind} {seed} on {target} by place between init and final (x) and "
                "noise scale (y), a map a module.",
            )
        )
    return drawn


def _in_training(table: pl.DataFrame, target: str) -> Panel:
    import altair as alt
    import polars as pl

    from transferscope.figures import KIND_COLORS, color_scale

    part = table.filter(pl.col("target") == target)
    means = part.group_by("kind", "seed", "epoch", maintain_order=True).agg(pl.col("test_drop").mean())
    base = alt.Chart(means).encode(
        x=alt.X("epoch:Q", title="epoch"),
        color=alt.Color("kind:N", scale=color_scale(["P-T", "RI-T"], KIND_COLORS), title=None),
    )
    title = "drop, mean over modules"
    chart = alt.layer(
        base.mark_line().encode(y=alt.Y("mean(test_drop):Q", title=title)),
        base.mark_point(opacity=0.6).encode(y=alt.Y("test_drop:Q", title=title)),
    )
    return Panel(
        name=f"training-{target}",
        title=f"{target}: criticality along training",
        chart=chart,
        summary=f"Mean drop of the test metric on {target} when one module of the network of an epoch is put back.",
    )


def findings(tables: Mapping[str, pl.DataFrame], study: Study) -> Sequence[Finding]:
    """The four claims about criticality."""
    import polars as pl

    body = tables["criticality"].filter(~pl.col("is_head"))
    low = body.filter(pl.col("depth") < (pl.col("depth").max() + 1) / 2)
    p_t, ri_t = pl.col("kind") == "P-T", pl.col("kind") == "RI-T"
    n = largest(body, "n_test")
    low_names = ", ".join(low["module"].unique(maintain_order=True))
    found = [
        judge(
            BY_ID[name],
            low.filter(kind),
            lambda rows: mean_over_targets(rows, "test_drop"),
            num_images=n,
            note=f"Lower half: {low_names}.",
        )
        for name, kind in (("p_t_low_modules_not_critical", p_t), ("ri_t_low_modules_critical", ri_t))
    ]
    found.append(judge(BY_ID["p_t_criticality_grows_toward_head"], body.filter(p_t), _growth, num_images=n))
    course = tables["criticality_training"].filter(ri_t)
    claim = BY_ID["ri_t_becomes_critical_suddenly"]
    epochs = sorted({0, *course["epoch"].to_list()})
    if not _windows(epochs):
        why = "The recipe keeps no two epochs within a tenth of the training; see training.keep_epochs."
        found.append(not_measured(claim, why))
    else:
        found.append(judge(claim, course, _suddenness, num_images=n))
    return found


def _growth(rows: pl.DataFrame) -> float:
    return mean_rank_correlation(rows, "depth", "train_rise_loss", by=("seed",))


def _windows(epochs: Sequence[int]) -> list[tuple[int, int]]:
    """Pairs of kept epochs that are at most a tenth of the training apart."""
    longest = max(epochs, default=0) / 10
    return [(a, b) for a in epochs for b in epochs if a < b and b - a <= longest]


def _suddenness(rows: pl.DataFrame) -> float:
    """Largest share of the whole rise of the mean drop that falls in a tenth of the training."""
    import polars as pl

    means = rows.group_by("target", "epoch", maintain_order=True).agg(pl.col("test_drop").mean())
    values = []
    for (target,), part in means.group_by(["target"], maintain_order=True):
        drop = {0: 0.0, **dict(zip(part["epoch"], part["test_drop"], strict=True))}
        whole = max(drop.values())
        steepest = max(drop[b] - drop[a] for a, b in _windows(sorted(drop)))
        values.append({"target": target, "value": steepest / whole if whole > 0 else math.nan})
    return mean_over_targets(pl.DataFrame(values, schema={"target": pl.String, "value": pl.Float64}), "value")
