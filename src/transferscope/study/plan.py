"""From a study to a graph of tasks: asks each analysis what weights it needs, and merges what is the same.

Imports no torch: planning, `plan` and `status` are quick.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from transferscope.analyses.contract import Cell, analysis_module, measured_settings
from transferscope.core.config import Study, Weights
from transferscope.core.datasets import ASSUMED, dataset_module, describe
from transferscope.core.errors import BadInput
from transferscope.core.files import sha256_of
from transferscope.core.instances import given_names
from transferscope.core.options import DatasetOptions, Frozen, NetworkOptions
from transferscope.core.runs import GivenRun, GivenWeights, Point, Run, SearchedRecipe
from transferscope.study.task import Graph, Measurement, Task, TaskKind, canonical_key
from transferscope.study.titles import Titles

TRAIN_VERSION = 3
"""Raised when the training loop, a network or an initialization gives other numbers."""
WEIGHTS_VERSION = 2
"""Raised when given weights are read or fitted to the network in another way."""
UNKNOWN_SIZE = 1000
"""Images assumed for a data set that doesn't say how many it has, for the estimate of cost only."""


@dataclass(frozen=True, kw_only=True)
class PlannedCell:
    """A cell of an analysis and the task that measures it; cells that ask for the same share a task."""

    analysis: str
    cell: Cell
    task_key: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a study comes down to."""

    study: Study
    graph: Graph
    cells: tuple[PlannedCell, ...]
    assumed: tuple[str, ...] = ()
    """Data sets that aren't at hand: their sizes are the official ones, and the plan can't be run."""


def plan(study: Study) -> Plan:
    """The graph of the study.

    Raises:
        BadInput: an analysis asks for a checkpoint that the recipe doesn't keep; two instances are the same weights.
    """
    _check_instances_differ(study)
    titles = Titles.of(study, given_names(study))
    planner = _Planner(titles)
    cells: list[PlannedCell] = []
    problems: list[str] = []
    for name, config in study.analyses.items():
        settings = measured_settings(name, config)
        for cell in analysis_module(name).cells(study, config):
            missing = [point for point in cell.subjects.values() if not _is_kept(point)]
            if missing:
                problems += [_not_kept(name, point, titles) for point in missing]
                continue
            key = planner.measure(name, settings, cell)
            cells.append(PlannedCell(analysis=name, cell=cell, task_key=key))
    if problems:
        raise BadInput(list(dict.fromkeys(problems)))
    graph = Graph(planner.tasks.values())
    data = [task.payload for task in graph if isinstance(task.payload, DatasetOptions)]
    assumed = [options.dataset for options in data if describe(options).fingerprint == ASSUMED]
    return Plan(study=study, graph=graph, cells=tuple(cells), assumed=tuple(dict.fromkeys(assumed)))


class _Planner:
    """Collects tasks, inputs before what reads them, each key once."""

    def __init__(self, titles: Titles) -> None:
        self._titles = titles
        self.tasks: dict[str, Task] = {}
        self._data_keys: dict[DatasetOptions, str] = {}
        self._run_keys: dict[Run, str] = {}

    def data(self, options: DatasetOptions) -> str:
        if options not in self._data_keys:
            spec = {"options": options.model_dump(mode="json"), "files": describe(options).fingerprint}
            self._data_keys[options] = self._task(
                "data",
                dataset_module(options.dataset).VERSION,
                spec,
                title=f"data {self._titles.data(options)}",
                payload=options,
                cost=0.1 * sum(_sizes(options)),
            )
        return self._data_keys[options]

    def network(self, run: Run | GivenRun, *, is_source: bool = False) -> str:
        return self.given(run) if isinstance(run, GivenRun) else self.train(run, is_source=is_source)

    def given(self, run: GivenRun) -> str:
        """A network that was trained elsewhere, evaluated here."""
        data = self.data(run.data)
        inits = [] if run.init_weights is None else [_weights_spec(run.init_weights)]
        spec = {
            "network": _trained_network(run.network),
            **run.model_dump(mode="json", include={"normalization"}),
            "data": data,
            "weights": _weights_spec(run.weights),
            "init": inits,
        }
        cost = float(sum(_sizes(run.data)))
        title = f"load {run.name}"
        return self._task("given", WEIGHTS_VERSION, spec, inputs=(data,), title=title, payload=run, cost=cost)

    def train(self, run: Run, *, is_source: bool = False) -> str:
        if run not in self._run_keys:
            inputs = [self.data(run.data)]
            spec: dict[str, Any] = {
                **run.model_dump(mode="json", exclude={"network", "data", "source", "recipe"}),
                "recipe": run.recipe.model_dump(mode="json", exclude={"search"}),
                "network": _trained_network(run.network),
                "data": inputs[0],
                "source": None,
            }
            if run.recipe.num_workers == 1:  # the results of several differ in the last bits
                del spec["recipe"]["num_workers"]
            if isinstance(run.source, GivenWeights):
                inputs.append(self.weights(run.source))
                spec["source"] = {"weights": inputs[1]}
            elif run.source is not None:
                inputs.append(self.network(run.source.run, is_source=True))
                spec["source"] = {"run": inputs[1], "epoch": run.source.epoch}
            if isinstance(run.recipe, SearchedRecipe):
                searched = [self.train(search) for search in run.recipe.search]
                spec["recipe"]["search"] = searched
                inputs += searched
            self._run_keys[run] = self._task(
                "train",
                TRAIN_VERSION,
                spec,
                inputs=inputs,
                title=self._titles.training(run, is_source=is_source),
                group=self._titles.group(run, is_source=is_source),
                payload=run,
                cost=_training_cost(run),
            )
        return self._run_keys[run]

    def weights(self, given: GivenWeights) -> str:
        """Given weights, by what is in the file or by the name under which they were published."""
        asked = given.weights
        spec = {
            "network": _trained_network(given.network),
            "channels": given.channels,
            "image_size_px": given.image_size_px,
            **_weights_spec(asked),
        }
        title = f"weights {asked.hub if asked.file is None else asked.file.name}"
        return self._task("weights", WEIGHTS_VERSION, spec, title=title, payload=given, cost=UNKNOWN_SIZE)

    def measure(self, analysis: str, settings: Frozen, cell: Cell) -> str:
        data = self.data(cell.data)
        weights = {role: self.network(point.run) for role, point in cell.subjects.items()}
        spec = {
            "analysis": analysis,
            "settings": settings.model_dump(mode="json"),
            "data": data,
            "view": cell.view.model_dump(mode="json"),
            "subjects": {role: [key, cell.subjects[role].epoch] for role, key in weights.items()},
        }
        modules = {repr(point.run.network.modules_key()) for point in cell.subjects.values()} - {repr(None)}
        if modules:
            spec["modules"] = sorted(modules)
        return self._task(
            "measure",
            analysis_module(analysis).VERSION,
            spec,
            inputs=dict.fromkeys([data, *weights.values()]),
            title=f"{analysis} {self._titles.cell(cell)}",
            payload=Measurement(analysis=analysis, settings=settings, cell=cell, run_keys=weights),
            cost=cell.cost * len(cell.subjects) * _sizes(cell.data)[1],
        )

    def _task(
        self, kind: TaskKind, version: int, spec: Mapping[str, Any], inputs: Iterable[str] = (), **fields: Any
    ) -> str:
        """Add a task unless it is there; returns its key."""
        key = canonical_key(kind, version, spec)
        self.tasks.setdefault(key, Task(kind=kind, key=key, inputs=tuple(inputs), **fields))
        return key


def _trained_network(network: NetworkOptions) -> dict[str, Any]:
    """What of a network decides its training: its options and files, but not how its body is divided."""
    options = network.model_dump(mode="json")
    modules = options.pop("modules", None)
    if isinstance(modules, dict) and "head" in modules:
        options["head"] = modules["head"]
    fingerprint = network.fingerprint()
    return {**options, "files": fingerprint} if fingerprint else options


def _training_cost(run: Run) -> float:
    """Passes of one image: three a training image and epoch, one an image that is looked at after an epoch."""
    recipe = run.recipe
    train_size, test_size = _sizes(run.data)
    looks = {name: len(recipe.kept_epochs) for name in ("held_out", "test")} | {
        recipe.best_by: recipe.epochs + 1
    }
    held_out = recipe.held_out * train_size
    evaluated = held_out * looks["held_out"] + (0 if run.is_search else test_size * looks["test"])
    return 3.0 * recipe.epochs * (train_size - held_out) + evaluated


def _weights_spec(weights: Weights) -> dict[str, Any]:
    """What is in the file, or the name under which it was published, and how it is read."""
    return {
        "file": None if weights.path is None else sha256_of(weights.path),
        "hub": weights.hub,
        "revision": weights.revision,
        "entry": weights.entry,
        "key_map": list((weights.key_map or {}).items()),
        "allow_untrained": weights.allow_untrained,
    }


def _check_instances_differ(study: Study) -> None:
    """Raises BadInput if two instances have the same weights, by what is in their files."""
    names: dict[str, list[str]] = {}
    for name, given in (study.instances or {}).items():
        names.setdefault(repr(_weights_spec(given.weights)), []).append(name)
    problems = [
        f"instances {' and '.join(same)} are the same weights: {study.instances[same[0]].weights.place}. Expected "
        "different networks, as the distance and the barrier between them would be 0. Give each its own file."
        for same in names.values()
        if study.instances and len(same) > 1
    ]
    if problems:
        raise BadInput(problems)


def _is_kept(point: Point) -> bool:
    if point.epoch == "best":
        return isinstance(point.run, Run) and point.run.recipe.best_by != "none"
    return point.epoch in point.run.kept_epochs


def _not_kept(analysis: str, point: Point, titles: Titles) -> str:
    if isinstance(point.run, GivenRun):
        return (
            f"analyses.{analysis} needs what {point.run.name} was started from. Give it as source.weights, or leave "
            "the analysis out."
        )
    if point.epoch == "best":
        return (
            f"analyses.{analysis} needs the best checkpoint of {titles.run(point.run)}, but its recipe keeps none. "
            "Set training.best_by to held_out (with a held_out such as 0.1) or to test."
        )
    kept = ", ".join(str(epoch) for epoch in point.run.kept_epochs)
    return (
        f"analyses.{analysis} needs the checkpoint of epoch {point.epoch} of {titles.run(point.run)}, "
        f"but its recipe keeps only {kept}. Add {point.epoch} to its keep_epochs."
    )


def _sizes(options: DatasetOptions) -> tuple[int, int]:
    """Training and test images, as far as they can be known without decoding."""
    about = describe(options)
    return about.num_train or UNKNOWN_SIZE, about.num_test or UNKNOWN_SIZE
