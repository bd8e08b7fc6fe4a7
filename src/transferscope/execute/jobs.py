"""What each kind of task does, in whatever process it runs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from transferscope.analyses.contract import analysis_module
from transferscope.core.allocator import freed_memory_kept
from transferscope.core.config import Recipe, Schedule
from transferscope.core.datasets import Description, dataset_module, describe, load
from transferscope.core.errors import TaskFailed
from transferscope.core.machine import cpu_capability
from transferscope.core.options import DatasetOptions
from transferscope.core.runs import UNSHUFFLED, GivenRun, GivenWeights, Run, seed_for
from transferscope.data.files.image_list import one_finding_each, one_hot_note
from transferscope.data.inspect.facts import DataFacts, split_facts
from transferscope.execute.events import collected_notes
from transferscope.execute.ranks import train_together
from transferscope.execute.store.artifacts import (
    StoredCellData,
    StoredSubject,
    read_data,
    read_description,
    read_search,
    read_state,
    write_data,
    write_given,
    write_rows,
    write_search,
    write_trained,
)
from transferscope.execute.store.local import Store
from transferscope.execute.store.snapshots import StoredSnapshots, snapshot_seconds
from transferscope.models.init import control_init, pretrained_init, random_init
from transferscope.models.weights.given import given_network
from transferscope.models.weights.instances import given_states
from transferscope.study.task import Measurement, Task
from transferscope.train.given import evaluated
from transferscope.train.held_out import hold_out
from transferscope.train.loop import train
from transferscope.train.ranks import ALONE, Ranks
from transferscope.train.rate_search import best_rate
from transferscope.train.step import dtype_of
from transferscope.train.trained import Diverged

SEED_STRIDE = 1_000_003
"""Between the global seeds of the processes of one training."""
Progress = Callable[[float, Mapping[str, float]], None]
"""Told the share that is done, and the newest row of a training's history."""


def run_task(
    task: Task,
    store: Store,
    device: torch.device,
    on_progress: Progress = lambda *_: None,
    ranks: Ranks = ALONE,
) -> float:
    """Compute a task whose inputs are in the store, and store its result.

    Args:
        task: what to compute.
        store: where its inputs are and its result goes.
        device: where to compute.
        on_progress: see `Progress`.
        ranks: the processes that are at a training together, all in this function; the first stores what they made.
            A training of several that is asked of one process is given to as many that are started for it.

    Returns:
        Seconds it took, the writing included.
    """
    started = time.perf_counter()
    if ranks.count == 1 < task.num_workers:
        train_together(task, store, str(device), task.num_workers, on_progress)
        return time.perf_counter() - started
    if ranks.count != task.num_workers:
        raise TaskFailed(
            f"{task.title} is for num_workers {task.num_workers}, but there are {ranks.count} processes."
        )
    with collected_notes() as notes, freed_memory_kept():
        made = _make(task, store, device, on_progress, ranks)
    seconds = time.perf_counter() - started
    info = {
        "kind": task.kind,
        "title": task.title,
        "seconds": round(seconds, 3),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "device": str(device),
        "torch": torch.__version__,
        "cpu_capability": cpu_capability(),
        **({"notes": list(notes)} if notes else {}),
        **made.more,
    }
    if ranks.is_first:
        store.commit(task.key, made.write, info)
        made.finish()
    ranks.told(0, device)  # it is stored when any of them returns
    return time.perf_counter() - started


@dataclass(frozen=True, kw_only=True)
class _Made:
    """A result, to be written."""

    write: Callable[[Path], None]
    more: Mapping[str, Any] = field(default_factory=dict)
    """What else is to be noted with it."""
    finish: Callable[[], None] = lambda: None
    """To be called when it is in the store."""


def _make(task: Task, store: Store, device: torch.device, on_progress: Progress, ranks: Ranks) -> _Made:
    payload = task.payload
    if isinstance(payload, GivenWeights):
        return _Made(write=_weights(payload))
    if isinstance(payload, GivenRun):
        return _Made(write=_given(task, payload, store, device))
    if isinstance(payload, Run):
        return _train(task, payload, store, device, on_progress, ranks)
    if isinstance(payload, Measurement):
        return _Made(write=_measure(task, payload, store, device))
    return _data(payload)


def _data(options: DatasetOptions) -> _Made:
    data = load(options)
    counts = {"num_train": len(data.train), "num_test": len(data.test), "left_out": dict(data.left_out)}
    about = replace(describe(options), **counts)
    if about.multi_label and one_finding_each(data.train.labels.tolist(), data.test.labels.tolist()):
        logging.getLogger(__name__).info(one_hot_note(about.num_classes))
    facts = {
        name: split_facts(getattr(data, name).labels.numpy(), about.num_classes) for name in ("train", "test")
    }
    for note in dict.fromkeys((*about.notes, *data.notes, *DataFacts(about=about, splits=facts).notes())):
        logging.getLogger(__name__).warning(note)
    more = {"left_out": dict(about.left_out), "facts": {name: asdict(one) for name, one in facts.items()}}
    return _Made(write=lambda folder: write_data(folder, data, about), more=more)


def _weights(payload: GivenWeights) -> Callable[[Path], None]:
    given = given_network(
        payload.network, payload.weights, payload.num_classes, payload.channels, payload.image_size_px
    )
    return lambda folder: write_given(folder, given)


def _given(task: Task, run: GivenRun, store: Store, device: torch.device) -> Callable[[Path], None]:
    data_folder = store.result(task.inputs[0])
    about, data = read_description(data_folder), read_data(data_folder, UNSHUFFLED)
    final, init = given_states(run, about)
    model = random_init(run.network, about.num_classes, about.channels, 0, about.image_size_px)
    trained = evaluated(model, final, init, data, normalization=run.normalization, device=device)
    return lambda folder: write_trained(folder, trained, about)


def _train(
    task: Task, run: Run, store: Store, device: torch.device, on_progress: Progress, ranks: Ranks
) -> _Made:
    data_folder = store.result(task.inputs[0])
    about, data = read_description(data_folder), read_data(data_folder, run.view)
    train_split, held_out = hold_out(data.train, run.recipe.held_out)
    model = _initialized(task, run, store, about)
    seed = seed_for(run.seed, run.seeds_of)
    snapshots = StoredSnapshots(store, task.key, device, snapshot_seconds())
    try:
        with torch.random.fork_rng(devices=[]):
            # dropout and stochastic depth draw from the global generator: each process for its part of the batch
            torch.manual_seed(seed + SEED_STRIDE * ranks.rank)
            trained = train(
                model,
                train_split,
                None if run.is_search else data.test,
                _settled(task, run, store),
                normalization=run.normalization,
                seed=seed,
                device=device,
                held_out_split=held_out if len(held_out) else None,
                on_progress=on_progress,
                snapshots=snapshots,
                ranks=ranks,
            )
    except Diverged as diverged:
        if ranks.is_first:
            snapshots.remove()  # it would end so again
        if not run.is_search:
            raise
        history = diverged.history
        return _Made(write=lambda folder: write_search(folder, history, about))

    def write(folder: Path) -> None:
        if run.is_search:
            write_search(folder, trained.history, about)
        else:
            write_trained(folder, trained, about, best_by=run.recipe.best_by)

    return _Made(write=write, more={"data_share": trained.data_share}, finish=snapshots.remove)


def _settled(task: Task, run: Run, store: Store) -> Recipe:
    """The recipe with its rate: of a search, whose tasks are the last inputs, the best."""
    recipe = run.recipe
    if isinstance(recipe, Recipe):
        return recipe
    metrics: dict[float, list[float]] = {}
    for searched, key in zip(recipe.search, task.inputs[-len(recipe.search) :], strict=True):
        if isinstance(searched.recipe, Recipe):
            metrics.setdefault(searched.recipe.learning_rate, []).append(read_search(store.result(key)))
    fields = {name: getattr(recipe, name) for name in Schedule.model_fields}
    return Recipe(**fields, learning_rate=best_rate(metrics))


def _initialized(task: Task, run: Run, store: Store, about: Description) -> nn.Module:
    network = (run.network, about.num_classes, about.channels, seed_for(run.init_seed, run.seeds_of))
    drawn_in = dtype_of(run.recipe)
    if run.source is None:
        return random_init(*network, about.image_size_px, drawn_in)
    epoch = 0 if isinstance(run.source, GivenWeights) else run.source.epoch
    pretrained = read_state(store.result(task.inputs[1]), epoch)
    if run.initialization == "pretrained":
        return pretrained_init(*network, pretrained, about.image_size_px, drawn_in)
    return control_init(run.initialization, *network, pretrained, about.image_size_px, drawn_in)


def _held_out(run: Run | GivenRun, data: DatasetOptions) -> float:
    """Share of these data that a run did not train on; of a given network nothing is known."""
    return run.recipe.held_out if isinstance(run, Run) and run.data == data else 0.0


def _measure(
    task: Task, measurement: Measurement, store: Store, device: torch.device
) -> Callable[[Path], None]:
    module, cell = analysis_module(measurement.analysis), measurement.cell
    subjects = {
        role: StoredSubject(store.result(measurement.run_keys[role]), point.run, point.epoch, device)
        for role, point in cell.subjects.items()
    }
    normalization = next(iter(cell.subjects.values())).run.normalization
    held_out = max((_held_out(point.run, cell.data) for point in cell.subjects.values()), default=0.0)
    cluster_of = getattr(dataset_module(cell.data.dataset), "cluster_of", None)
    data = StoredCellData(
        store.result(task.inputs[0]), cell.view, normalization, device, held_out, cluster_of
    )
    # seeded by the key: the same draws whenever and wherever the cell is measured
    generator = torch.Generator().manual_seed(int(task.key[:15], 16))
    rows = module.measure(subjects, data, measurement.settings, generator)
    return lambda folder: write_rows(folder, module.TABLES, rows)
