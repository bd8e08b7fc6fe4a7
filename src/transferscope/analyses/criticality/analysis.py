"""Experiment 6: which modules can be put back to their initial values, and how much noise they bear."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from transferscope.analyses.contract import Cell, CellData, ConfigProblem, Panel, Row, Subject
from transferscope.analyses.criticality.claims import CLAIMS as CLAIMS
from transferscope.analyses.criticality.claims import findings as findings
from transferscope.analyses.criticality.first_page import advice as advice
from transferscope.analyses.criticality.first_page import headline as headline
from transferscope.analyses.criticality.rows import FRESH, Instance
from transferscope.analyses.criticality.tables import TABLES as TABLES
from transferscope.core.config import AnalysisConfig, Study
from transferscope.core.datasets import describe
from transferscope.core.instances import trained
from transferscope.core.options import Frozen
from transferscope.core.runs import KIND_NAMES, Point, chosen_seeds, chosen_targets, target_run
from transferscope.core.tables import Column

if TYPE_CHECKING:
    import polars as pl
    import torch

USUAL_SIZE, USUAL_DEPTHS = 1000, (3, 4, 6, 3)
"""For the estimate of cost: test images, and blocks of a network, where they aren't known beforehand."""

ORDER = 6
FIRST_PAGE_ORDER = 4
VERSION = 6
NEEDS_INIT = True
COARSER = {
    "alphas": [0, 0.5, 1],
    "sigmas": [0, 0.01, 0.05],
    "relative_sigmas": [0, 0.5],
    "num_images": 128,
}
"""With the settings of a study the maps would take most of the time of a comparison; mu on a coarser grid is higher or
equal."""
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
    "nothing is; it depends on the grid. A fresh draw needs a second seed. "
    "Weights that several modules share are counted and put back once, with the first of them; a module without "
    "weights of its own is not listed."
)
SOURCE = "Neyshabur, Sedghi, Zhang (2020), section 4.2; Chatterji, Neyshabur, Sedghi (2020)"

KEYS = (
    Column("target", "str", "Name of the target"),
    Column("kind", "str", "P-T or RI-T"),
    Column("seed", "int", "Seed of the instance"),
)


class Settings(Frozen):
    """What decides the numbers of a cell."""

    alphas: tuple[Annotated[float, Field(ge=0, le=1)], ...] = (0, 0.25, 0.5, 0.75, 1)
    """Places between init and final."""
    sigmas: tuple[Annotated[float, Field(ge=0)], ...] = (0, 0.01, 0.02, 0.05, 0.1)
    """Scales of the noise in the units of the weights, as in the papers; may be empty."""
    relative_sigmas: tuple[Annotated[float, Field(ge=0)], ...] = (0, 0.25, 0.5, 1)
    """Scales of the noise in units of the root mean square of a module's move: comparable between modules; may
    be empty."""
    draws: Annotated[int, Field(ge=1)] = 10
    """Draws of the noise, the same over the whole map and for both scales and splits."""
    relative_tolerance: Annotated[float, Field(gt=0)] = 1.0
    """A cell is admissible while the training loss exceeds that of the final network by at most this share of it: at 1,
    up to twice the final loss. An absolute tolerance admits everything once a network fits its training images."""
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
    """Instances without an init; grids on which criticality can't be defined, or without their ends."""
    if study.instances is not None and study.source is None:
        yield ConfigProblem(
            "", "needs what the instances were started from. Give it as source.weights (init=... of compare)."
        )
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
    for target in chosen_targets(study, config):
        seeds = chosen_seeds(study, config, target)
        for kind, seed, run in trained(study, config, target):
            if not run.has_init:
                continue
            subjects = {f"epoch {e}": Point(run=run, epoch=e) for e in run.kept_epochs}
            cost = _passes(study, config, target, len(subjects)) / len(subjects)
            other = seeds[(seeds.index(seed) + 1) % len(seeds)]
            if other != seed and study.instances is None:
                subjects[FRESH] = target_run(study, "ri_t", target, other).init
            yield Cell(
                keys={"target": target, "kind": KIND_NAMES[kind], "seed": seed},
                subjects=subjects,
                data=study.targets[target].data,
                cost=cost,
            )


def _passes(study: Study, config: Config, target: str, num_epochs: int) -> float:
    """Rough number of passes of one network over the test images: with one module changed, from there on only,
    which is half a pass, over training and test images."""
    num_test = describe(study.targets[target].data).num_test or USUAL_SIZE
    modules = 2 + sum(
        getattr(getattr(study.network, "expanded", lambda: study.network)(), "depths", USUAL_DEPTHS)
    )
    noisy = sum(sigma > 0 for sigma in (*config.sigmas, *config.relative_sigmas))
    maps = len(config.alphas) * (1 + noisy * config.draws) * min(config.num_images / num_test, 1)
    over_epochs = num_epochs * min((config.num_images_over_epochs or num_test) / num_test, 1)
    return modules * (maps + over_epochs)


def measure(
    subjects: Mapping[str, Subject], data: CellData, settings: Settings, generator: torch.Generator
) -> dict[str, list[Row]]:
    """The maps and mu of every module, what putting modules back costs, and which could be frozen."""
    instance = Instance(
        by_epoch={subject.epoch: subject for role, subject in subjects.items() if role != FRESH},
        fresh=subjects.get(FRESH),
        data=data,
        settings=settings,
        generator=generator,
    )
    maps = instance.maps()
    rewinding = list(instance.rewinding())
    return {
        "criticality": list(instance.modules(maps, rewinding)),
        "criticality_images": list(instance.images()),
        "criticality_network": [instance.network(maps)],
        "criticality_map": list(instance.cells(maps)),
        "criticality_rewinding": rewinding,
        "criticality_freezing": list(instance.sets()),
        "criticality_path": list(instance.path()),
        "criticality_training": list(instance.training()),
        "criticality_training_images": list(instance.training_images()),
    }


def panels(tables: Mapping[str, pl.DataFrame]) -> Sequence[Panel]:
    """For each target: what rewinding costs, what could be frozen, the maps of one seed, the epochs."""
    from transferscope.analyses.criticality.panels import criticality_panels

    return criticality_panels(tables)
