"""Experiment 6: which modules can be put back to their initial values, and how much noise they bear."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from transferscope.analyses._criticality_columns import TABLES as TABLES
from transferscope.analyses._criticality_findings import findings as findings
from transferscope.analyses._criticality_panels import panels as panels
from transferscope.analysis import Cell, CellData, Column, ConfigProblem, Row, Split, Subject
from transferscope.config import AnalysisConfig, Study
from transferscope.options import Frozen
from transferscope.runs import KIND_NAMES, KINDS, Point, chosen_seeds, chosen_targets, target_run

if TYPE_CHECKING:
    import polars as pl
    import torch

    from transferscope.metrics.criticality import Criticality
    from transferscope.metrics.evaluation import Data

ORDER = 6
VERSION = 2
TITLE = "Module criticality"
SHOWS = (
    "One module at a time, or all up to one, is put back while everything else stays as trained: to its initial "
    "value (for P-T the pre-trained one), to a fresh random draw, part of the way and under noise (the direct "
    "path), or to what it was after an epoch of the training (the optimization path). A module is critical where "
    "that costs much."
)
HOW_TO_READ = (
    "Modules of P-T that can be put back at no cost did not need to be fine-tuned; that a fresh draw in their place "
    "costs much says that they are used all the same. In the maps, alpha 0 is the initial value and 1 the trained "
    "one: a map that is bright at its left edge belongs to a module that needn't have moved, one that is bright at "
    "its top bears noise.\n\n"
    "What could be frozen: modules are left at their initial values, one more at a time, for as long as the training "
    "metric drops by no more than was asked for (acceptable_drop), from the bottom up, or greedily by least cost. "
    "Training images choose; the drop that is written beside a set is that of the test metric with the whole set "
    "put back at once. Where the two orders agree and the interval stays small, start your next training with these "
    "modules frozen."
)
CAVEATS = (
    "Putting back one module says nothing of putting back several: look at the cumulative drops and at the sets. "
    "They are put back after a training that moved them. A training with them frozen lets the others adapt, which "
    "should cost less, but only that training can tell. Training images on which the network is near perfect are a "
    "lenient judge: the test drop of a set can exceed what was asked for. The head is drawn at random and always "
    "critical; it is never in a set. mu is 0 where the initial value itself is admissible, and infinite where "
    "nothing is; it depends on the grid. A fresh draw needs a second seed."
)
SOURCE = "Neyshabur, Sedghi, Zhang (2020), section 4.2; Chatterji, Neyshabur, Sedghi (2020)"

KEYS = (
    Column("target", "str", "Name of the target"),
    Column("kind", "str", "P-T or RI-T"),
    Column("seed", "int", "Seed of the instance"),
)
INIT, FRESH = "init", "fresh draw"
"""What modules are put back to; the second is also the role of the random initialization of another seed."""


class Settings(Frozen):
    """What decides the numbers of a cell."""

    alphas: tuple[Annotated[float, Field(ge=0, le=1)], ...] = (0, 0.25, 0.5, 0.75, 1)
    """Places between init and final."""
    sigmas: tuple[Annotated[float, Field(ge=0)], ...] = (0, 0.02, 0.05, 0.1, 0.2)
    """Scales of the noise in the units of the weights, as in the papers; may be empty."""
    relative_sigmas: tuple[Annotated[float, Field(ge=0)], ...] = (0, 0.5, 1, 2)
    """Scales of the noise in units of the root mean square of a module's move: comparable between modules; may
    be empty."""
    draws: Annotated[int, Field(ge=1)] = 10
    """Draws of the noise, the same over the whole map and for both scales and splits."""
    tolerance: Annotated[float, Field(gt=0)] = 0.1
    """A cell is admissible while the training loss is at most that of the final network plus this, in nats."""
    num_images: Annotated[int, Field(ge=8)] = 256
    """Training images, and as many test images, of the maps and of mu; all where there are fewer."""
    num_images_over_epochs: Annotated[int, Field(ge=8)] | None = None
    """Test images of the optimization path and of the course of training; all by default."""
    acceptable_drop: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Drop of the training metric at which modules still count as freezable; 0.01 is one point."""
    bootstrap_draws: Annotated[int, Field(ge=100)] = 1000
    """Resamples of the test images behind the intervals of the drops."""


class Config(AnalysisConfig, Settings):
    """Options of criticality."""


def check(study: Study, config: Config) -> Iterator[ConfigProblem]:
    """Grids on which criticality can't be defined, or without their ends."""
    for key, scales in (("sigmas", config.sigmas), ("relative_sigmas", config.relative_sigmas)):
        if scales and not any(sigma > 0 for sigma in scales):
            yield ConfigProblem(key, "must contain a scale above 0, or there is no noise to bear.")
    if not (config.sigmas or config.relative_sigmas):
        yield ConfigProblem("sigmas", "must not be empty where relative_sigmas is empty too.")
    for end, name in ((0, "init"), (1, "final")):
        if end not in config.alphas:
            yield ConfigProblem(
                "alphas", f"must contain 0, the init, and 1, the final; the {name} is missing."
            )


def cells(study: Study, config: Config) -> Iterator[Cell]:
    """One cell an instance, with all the epochs that its recipe keeps and an RI of another seed."""
    seeds = chosen_seeds(study, config)
    noisy = sum(sigma > 0 for sigma in (*config.sigmas, *config.relative_sigmas))
    evaluations = len(config.alphas) * (1 + noisy * config.draws) * 6
    for target in chosen_targets(study, config):
        for kind in KINDS:
            for place, seed in enumerate(seeds):
                run = target_run(study, kind, target, seed)
                subjects = {f"epoch {e}": Point(run=run, epoch=e) for e in run.recipe.kept_epochs}
                cost = evaluations * config.num_images / 1000 / len(subjects)
                other = seeds[(place + 1) % len(seeds)]
                if other != seed:
                    subjects[FRESH] = target_run(study, "ri_t", target, other).init
                yield Cell(
                    keys={"target": target, "kind": KIND_NAMES[kind], "seed": seed},
                    subjects=subjects,
                    data=study.targets[target].data,
                    cost=cost,
                )


def measure(
    subjects: Mapping[str, Subject], data: CellData, settings: Settings, generator: torch.Generator
) -> dict[str, list[Row]]:
    """The maps and mu of every module, what putting modules back costs, and which could be frozen."""
    from transferscope.metrics.criticality import module_criticality
    from transferscope.metrics.freezing import freezable
    from transferscope.metrics.repeated_passes import RepeatedPasses
    from transferscope.metrics.rewinding import rewind_to
    from transferscope.models.init import HEAD

    by_epoch = {subject.epoch: subject for role, subject in subjects.items() if role != FRESH}
    last = max(by_epoch)
    init, final = by_epoch[0].state, by_epoch[last].state
    model = by_epoch[last].model()
    few, few_test = (_examples(split, settings.num_images) for split in (data.train, data.test))
    maps = module_criticality(
        model,
        init,
        final,
        few,
        test=few_test,
        alphas=settings.alphas,
        sigmas=settings.sigmas,
        relative_sigmas=settings.relative_sigmas,
        draws=settings.draws,
        tolerance=settings.tolerance,
        generator=generator,
    )
    names = maps.modules["module"].to_list()
    module = {
        name: {"module": name, "depth": depth, "is_head": name == HEAD} for depth, name in enumerate(names)
    }
    bootstrap = {"draws": settings.bootstrap_draws, "generator": generator}
    train, test = (RepeatedPasses(model, _examples(split)) for split in (data.train, data.test))
    states = {INIT: init} | ({FRESH: subjects[FRESH].state} if FRESH in subjects else {})
    rewinding: list[Row] = []
    for together in (False, True):
        on_train = rewind_to(train, states, final, cumulative=together)
        on_test = rewind_to(test, states, final, cumulative=together, **bootstrap)
        rewinding += _rewinding(on_train, on_test, together, module)
    sets = freezable(
        train,
        test,
        init,
        final,
        candidates=[name for name in names if name != HEAD],
        acceptable_drop=settings.acceptable_drop,
        **bootstrap,
    )
    asked = {
        "acceptable_drop": settings.acceptable_drop,
        "n_train": len(data.train.labels),
        "n_test": len(data.test.labels),
    }
    over = test
    if settings.num_images_over_epochs is not None:
        over = RepeatedPasses(model, _examples(data.test, settings.num_images_over_epochs))
    earlier = {str(epoch): subject.state for epoch, subject in by_epoch.items() if epoch < last}
    path: list[Row] = [
        {**module[row["module"]], "epoch": int(row["to"]), **_test_drop(row)}
        for row in rewind_to(over, earlier, final, **bootstrap).iter_rows(named=True)
    ]
    training: list[Row] = [
        {**module[row["module"]], "epoch": epoch, "epochs": last, **_test_drop(row)}
        for epoch, subject in by_epoch.items()
        if epoch > 0
        for row in rewind_to(over, {INIT: init}, subject.state, **bootstrap).iter_rows(named=True)
    ]
    return {
        "criticality": [_summary(row, maps.epsilon, rewinding, module) for row in _rows(maps.modules)],
        "criticality_network": [_network(maps)],
        "criticality_map": [
            {**module[row["module"]], **row, "n": len(maps.final[row["split"]].losses)}
            for row in _rows(maps.cells)
        ],
        "criticality_rewinding": rewinding,
        "criticality_freezing": [{**row, **asked} for row in _rows(sets)],
        "criticality_path": path,
        "criticality_training": training,
    }


def _examples(split: Split, count: int | None = None) -> Data:
    part = split if count is None else split.first(count)
    return part.inputs, part.labels


def _rows(table: pl.DataFrame) -> Iterable[Row]:
    return table.iter_rows(named=True)


def _rewinding(
    on_train: pl.DataFrame, on_test: pl.DataFrame, together: bool, module: Mapping[str, Row]
) -> Iterator[Row]:
    for train, test in zip(_rows(on_train), _rows(on_test), strict=True):
        yield {
            **module[test["module"]],
            "to": test["to"],
            "together": together,
            "train_metric": train["metric"],
            "train_drop": train["drop_metric"],
            "train_rise_loss": train["rise_loss"],
            "n_train": train["n"],
            **_test_drop(test),
            "final_test_metric": test["final_metric"],
        }


def _test_drop(row: Row) -> Row:
    return {
        "test_metric": row["metric"],
        "test_drop": row["drop_metric"],
        "test_drop_low": row["drop_low"],
        "test_drop_high": row["drop_high"],
        "n_test": row["n"],
    }


def _summary(row: Row, epsilon: float, rewinding: Iterable[Row], module: Mapping[str, Row]) -> Row:
    """The module's row of the first table."""
    name = row["module"]
    alone, together = (
        next(r for r in rewinding if (r["module"], r["to"], r["together"]) == (name, INIT, cumulative))
        for cumulative in (False, True)
    )
    copied = ("train_rise_loss", "train_drop", "test_drop", "test_drop_low", "test_drop_high", "n_test")
    return {
        **module[name],
        **{key: row[key] for key in ("mu", "mu_at_final", "status", "distance", "num_parameters")},
        "epsilon": epsilon,
        **{key: alone[key] for key in copied},
        "test_drop_cumulative": together["test_drop"],
        "test_metric": alone["final_test_metric"],
    }


def _network(maps: Criticality) -> Row:
    train, test = maps.final["train"], maps.final["test"]
    return {
        "mu": maps.network,
        "status": maps.status,
        "epsilon": maps.epsilon,
        "train_loss": train.loss,
        "train_metric": train.metric,
        "test_metric": test.metric,
        "n_train": len(train.losses),
        "n_test": len(test.losses),
    }
