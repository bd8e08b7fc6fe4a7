"""Experiment 5: performance barriers between instances, the basins they lie in, and what averaging them gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from transferscope.analyses.barriers.claims import CLAIMS as CLAIMS
from transferscope.analyses.barriers.claims import findings as findings
from transferscope.analyses.barriers.first_page import advice as advice
from transferscope.analyses.barriers.first_page import headline as headline
from transferscope.analyses.barriers.tables import KEYS, TABLES
from transferscope.analyses.contract import Cell, CellData, ConfigProblem, Panel, Row, Subject
from transferscope.core.config import AnalysisConfig, PositiveInt, Study
from transferscope.core.datasets import describe
from transferscope.core.instances import PAIR_COLUMNS, Pair, instances, pairs, parse
from transferscope.core.options import Frozen
from transferscope.core.runs import Point, chosen_seeds, chosen_targets, target_run

if TYPE_CHECKING:
    import polars as pl
    import torch


__all__ = ["KEYS", "TABLES"]

MAY_BE_EMPTY = ("barriers_basin", "barriers_averaging", "barriers_plane")
"""A study with one seed has pairs across targets alone; planes may be switched off."""

ORDER = 5
VERSION = 5
TITLE = "Barriers and basins"
SHOWS = (
    "Test loss and metric of networks on the straight line between two instances, (1 - alpha) a + alpha b, and "
    "beyond its ends: a barrier is how much worse the path gets than the line between its ends. Whether a set of "
    "instances lies in one basin, with a flat floor and walls around it; the loss on the plane through three of "
    "them; and what averaging their weights gives."
)
HOW_TO_READ = (
    "A flat curve between 0 and 1 says that no barrier lies between two instances and that their weights can be "
    "averaged; a hill of the loss, or a valley of the metric, says that one does and they can't. A set is an "
    "(epsilon, delta)-basin when its loss differs from the mean by epsilon or less on average, and a step of length "
    "delta out of it, by noise or straight on, costs twice epsilon or more. Epsilon is the loss that two points of "
    "the metric are worth to the networks of the set; the margin is by how many nats the set meets both conditions, "
    "negative where it doesn't. Averaging is safe where the averaged weights are no worse than the "
    "mean instance. Final networks are those at the end of their training, 'T' in the paper's legends; best ones, "
    "'*' there, are those at the epoch with the highest metric on the images that the column best_by names. Findings, "
    "basins, planes and averages are of the final ones."
)
CAVEATS = (
    "The highest point of a path is found on a grid and is biased upward where test images are few; the bias "
    "stands in the table. A network and its copy with permuted channels compute the same with a barrier between "
    "them. Losses beyond the ends can explode; the loss axis is logarithmic. The basin's delta is a choice: by "
    "default the mean L2 norm of the networks, so that walls count if they show before the noise is as large as the "
    "weights. Two ends with different losses make a floor uneven too, without any bump between them. Floor and walls "
    "are means over a few points and draws: where the margin is no larger than their standard errors (in the table), "
    "other draws can change the answer for a single set. In a plane, what is marked with a hollow point lies "
    "off it, and is shown at its nearest place. "
    "Where best_by is test, as in the paper, the ends of a path were chosen for the images that it is then measured "
    "on: they look better there than they are, and the barrier between them larger."
)
SOURCE = (
    "Neyshabur, Sedghi, Zhang (2020), section 4.1 and definition of a basin; barrier over the line as in Entezari "
    "et al. (2022), over the mean as in Frankle et al. (2020); planes as in Garipov et al. (2018)"
)

ACROSS = "P-T & P-T, other target"
ELSEWHERE = "b elsewhere"
"""Role of an instance that was trained on another target than the one measured on."""
TOGETHER = ("P-T", "RI-T")
"""Kinds whose instances are also looked at all together."""
PLANE_INSTANCES = 3


class Settings(Frozen):
    """What decides the numbers of a cell."""

    alphas: tuple[float, ...] = (-0.5, -0.25, 0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.25, 1.5)
    """Places on the path; 0, 0.5 and 1 must be among them."""
    num_images: PositiveInt | None = None
    """Test images for the paths and the averages: the first so many, or all."""
    batch_norm: Literal["keep", "interpolate", "re-estimate"] = "re-estimate"
    """BatchNorm's statistics on the path: of the nearer end, mixed like the weights, or re-estimated on training
    images; of no effect in a network without BatchNorm. Where there is no nearer end (basins, planes, averages),
    keep means interpolate."""
    calibration_images: PositiveInt = 2000
    """Training images for re-estimating BatchNorm's statistics: the first so many."""
    bootstrap_draws: Annotated[int, Field(ge=100)] = 1000
    """Resamples of the test images behind the intervals."""
    basin_images: PositiveInt = 500
    """Test images for the basins."""
    basin_points: Annotated[int, Field(ge=2)] = 24
    """Places on a set behind its mean loss and the deviation from it."""
    basin_draws: Annotated[int, Field(ge=2)] = 24
    """Ways out of a set, each taken by noise and straight on."""
    basin_epsilon: Annotated[float, Field(ge=0)] | None = None
    """Epsilon of the (epsilon, delta)-basin, in nats; by default the loss that two points of the metric are worth to
    the networks of the set (see `ts.basin`), or .1 where they make no mistakes."""
    delta: Annotated[float, Field(gt=0)] | None = None
    """How far outside a set its walls must stand, in L2 norm of the weights; delta_relative decides where none
    is given."""
    delta_relative: Annotated[float, Field(gt=0)] = 1.0
    """delta over the mean L2 norm of the networks of the set: at 1 the walls must show before the noise is as large as
    the weights. An absolute delta, or one in distances, would ask different things of P-T and RI-T."""
    plane_size: Annotated[int, Field(ge=2)] = 13
    """Places along each side of a plane."""
    plane_margin: Annotated[float, Field(ge=0)] = 0.25
    """Room around what is marked in a plane, as a fraction of its extent."""
    plane_images: PositiveInt = 300
    """Test images for the planes."""


class Config(AnalysisConfig, Settings):
    """Options of barriers."""

    across: tuple[tuple[str, str], ...] = ()
    """Pairs of targets with the same classes whose P-T are interpolated too, measured on both."""
    plane_targets: tuple[str, ...] | None = None
    """Targets whose planes are drawn; the first by default."""
    checkpoints: tuple[Literal["best", "final"], ...] | None = None
    """Where in their training pairs are taken: at the end, at the best epoch, or both; by default both where the
    recipe keeps the best."""
    best_targets: tuple[str, ...] | None = None
    """Targets whose pairs are taken at their best epochs; all by default."""


def check(study: Study, config: Config) -> Iterator[ConfigProblem]:
    """Grids without the ends or the middle, and pairs of targets that don't have the same classes."""
    for place, what in ((0.0, "a"), (0.5, "the averaged weights"), (1.0, "b")):
        if place not in config.alphas:
            yield ConfigProblem("alphas", f"must contain 0, 0.5 and 1; {place:g}, {what}, is missing.")
    if len(set(config.alphas)) != len(config.alphas):
        yield ConfigProblem("alphas", "holds a place more than once; name each once.")
    for name in config.plane_targets or ():
        if name not in chosen_targets(study, config):
            known = ", ".join(chosen_targets(study, config))
            yield ConfigProblem("plane_targets", f"unknown target '{name}'. Valid: {known}.")
    yield from _check_checkpoints(study, config)
    for a, b in config.across:
        unknown = [name for name in (a, b) if name not in study.targets]
        if unknown:
            yield ConfigProblem(
                "across", f"unknown target '{unknown[0]}'. Valid: {', '.join(study.targets)}."
            )
        elif a == b:
            yield ConfigProblem("across", f"'{a}' is paired with itself; name two targets.")
        elif describe(study.targets[a].data).class_names != describe(study.targets[b].data).class_names:
            yield ConfigProblem(
                "across", f"targets '{a}' and '{b}' must have the same classes in the same order."
            )


def _check_checkpoints(study: Study, config: Config) -> Iterator[ConfigProblem]:
    if config.checkpoints is not None and "final" not in config.checkpoints:
        yield ConfigProblem("checkpoints", "must contain final: the findings are about final networks.")
    if config.checkpoints and "best" in config.checkpoints and _best_by(study) == "none":
        yield ConfigProblem(
            "checkpoints",
            "asks for best, but the recipe keeps no best epoch. Set training.best_by to held_out (with a held_out "
            "such as 0.1) or to test.",
        )
    for name in config.best_targets or ():
        if name not in chosen_targets(study, config):
            known = ", ".join(chosen_targets(study, config))
            yield ConfigProblem("best_targets", f"unknown target '{name}'. Valid: {known}.")


def cells(study: Study, config: Config) -> Iterator[Cell]:
    """A cell a pair and checkpoint; a cell a set of P-T or RI-T, two or all of them; a cell a plane."""
    planes = chosen_targets(study, config)[:1] if config.plane_targets is None else config.plane_targets
    for target in chosen_targets(study, config):
        points = instances(study, config, target, same_init=True)
        for pair in pairs(points):
            subjects = {"a": points[pair.a], "b": points[pair.b]}
            yield from _pair_cells(study, config, (target, target), pair, subjects)
        yield from _set_cells(study, config, target, points)
        if target in planes:
            yield from _plane_cells(study, config, target)
    both_ways = [pair for a, b in config.across for pair in ((a, b), (b, a))]
    for a, b in dict.fromkeys(both_ways):
        for seed in chosen_seeds(study, config, a):
            if seed not in chosen_seeds(study, config, b):
                continue
            name = f"P-T {seed}"
            pair = Pair(ACROSS, name, name, seed, seed)
            subjects = {
                "a": target_run(study, "p_t", a, seed).final,
                ELSEWHERE: target_run(study, "p_t", b, seed).final,
            }
            yield from _pair_cells(study, config, (a, b), pair, subjects)


def _pair_cells(
    study: Study, config: Config, targets: tuple[str, str], pair: Pair, final: Mapping[str, Point]
) -> Iterator[Cell]:
    """The pair at the end, then at the best epochs where those are asked for."""
    yield _cell(study, *targets, pair.columns, final, len(config.alphas) / 2)
    best_targets = chosen_targets(study, config) if config.best_targets is None else config.best_targets
    is_wanted = _best_by(study) != "none" if config.checkpoints is None else "best" in config.checkpoints
    if is_wanted and set(targets) <= {*best_targets}:
        best = {role: Point(run=point.run, epoch="best") for role, point in final.items()}
        yield _cell(study, *targets, pair.columns, best, len(config.alphas) / 2)


def _best_by(study: Study) -> str:
    """What best epochs are chosen by; of given instances none is known."""
    return "none" if study.training is None else study.training.best_by


def _set_cells(study: Study, config: Config, target: str, points: Mapping[str, Point]) -> Iterator[Cell]:
    """Every two P-T and every two RI-T, and all of either."""
    for kind in TOGETHER:
        every = _of_kind(points, kind)
        sets = [(pair.columns, [pair.a, pair.b]) for pair in pairs(every) if pair.kind == f"{kind} & {kind}"]
        if len(every) > 1:
            sets.append((_together(kind), every))
        for keys, names in sets:
            passes = (config.basin_points + 2 * config.basin_draws) / 4  # on part of the images
            subjects = {name: points[name] for name in names}
            yield _cell(study, target, target, keys, subjects, passes / len(names))


def _plane_cells(study: Study, config: Config, target: str) -> Iterator[Cell]:
    """The first three P-T with P, and the first three RI-T with the first one's init."""
    points = instances(study, config, target, untrained=True)
    for kind, init in zip(TOGETHER, ("P", "RI"), strict=True):
        names = [*_of_kind(points, kind)[:PLANE_INSTANCES], *_of_kind(points, init)[:1]]
        if len(names) >= PLANE_INSTANCES:
            subjects = {name: points[name] for name in names}
            yield _cell(study, target, target, _together(kind), subjects, config.plane_size**2 / 12)


def _of_kind(names: Mapping[str, Point], kind: str) -> list[str]:
    """Instances of the kind, each from its own initialization."""
    return [name for name in names if (found := parse(name)).kind == kind and found.init_seed is None]


def _together(kind: str) -> dict[str, str | int | None]:
    return dict.fromkeys(column.name for column in PAIR_COLUMNS) | {"pair": kind}


def _cell(
    study: Study,
    target: str,
    target_b: str,
    pair: Mapping[str, str | int | None],
    subjects: Mapping[str, Point],
    cost: float,
) -> Cell:
    point = next(iter(subjects.values()))
    is_best = point.epoch == "best"
    keys = {
        "target": target,
        "target_b": target_b,
        **pair,
        "checkpoint": "best" if is_best else "final",
        "best_by": _best_by(study) if is_best else None,
    }
    return Cell(keys=keys, subjects=subjects, data=study.targets[target].data, cost=cost)


def measure(
    subjects: Mapping[str, Subject], data: CellData, settings: Settings, generator: torch.Generator
) -> dict[str, list[Row]]:
    """The path between a and b and its barriers; or the basin and the average of a set; or a plane."""
    from transferscope.analyses.barriers import path as _barriers_path
    from transferscope.analyses.barriers import sets as _barriers_sets

    if "a" in subjects:
        rows = _barriers_path.measure_path(subjects, data, settings, generator)
    elif any(parse(name).kind in ("P", "RI") for name in subjects):
        rows = _barriers_sets.measure_plane(subjects, data, settings)
    else:
        rows = _barriers_sets.measure_set(subjects, data, settings, generator)
    return {table: rows.get(table, []) for table in TABLES}


def panels(tables: Mapping[str, pl.DataFrame]) -> Sequence[Panel]:
    """All barriers; averaging; basins; of each target, the paths; the planes."""
    from transferscope.analyses.barriers.panels import barriers_panels

    return barriers_panels(tables)
