"""Executors with real processes: a worker that is killed, and the same bytes from both."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import tiny

from transferscope.core.runs import Run
from transferscope.execute.events import Event
from transferscope.execute.loop import Outcome, execute
from transferscope.execute.pool import InProcess, Pool
from transferscope.execute.store.local import MARKER, Store
from transferscope.study.plan import plan
from transferscope.study.task import Graph, Task

TRAINING = {"epochs": 20, "batch_size": 10, "learning_rate": {"p_t": 0.05, "ri_t": 0.1}}
"""Long enough to be killed in the middle."""


@dataclass
class KillsOnce:
    """Kills the worker of the first training that has come some way."""

    killed: str = ""
    started_tasks: list[str] = field(default_factory=list)
    died: list[str] = field(default_factory=list)

    def begin(self, to_do: Sequence[Task], num_cached: int) -> None: ...

    def added(self, tasks: Sequence[Task]) -> None: ...

    def started(self, task: Task) -> None:
        self.started_tasks.append(task.key)

    def progressed(self, task: Task, share: float, row: Mapping[str, float]) -> None:
        if not self.killed and isinstance(task.payload, Run) and task.payload.recipe.epochs == 20:
            self.killed = task.key
            (worker,) = multiprocessing.active_children()
            assert worker.pid is not None
            os.kill(worker.pid, signal.SIGKILL)

    def ended(self, task: Task, event: Event) -> None:
        if event.what == "died":
            self.died.append(event.reason)

    def finish(self) -> None: ...


def prepared(folder: Path) -> Store:
    store = Store(folder)
    store.prepare()
    return store


@dataclass(frozen=True)
class Both:
    graph: Graph
    pool: Store
    pool_outcome: Outcome
    reporter: KillsOnce
    in_process: Store


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Both:
    """A graph run in a pool whose worker is killed once, and the same graph in this process."""
    folder = tmp_path_factory.mktemp("pool")
    targets = {"digits": tiny.document()["targets"]["digits"]}
    study = tiny.study(folder, "feature_similarity", training=TRAINING, targets=targets, seeds=[0])
    graph = plan(study).graph
    pool, in_process = prepared(folder / "pool"), prepared(folder / "in_process")
    reporter = KillsOnce()
    outcome = execute(graph, pool, Pool(pool, "cpu", num_workers=1), reporter)
    assert execute(graph, in_process, InProcess(in_process, "cpu"), KillsOnce(killed="nobody")).complete
    return Both(graph, pool, outcome, reporter, in_process)


def test_a_task_whose_worker_was_killed_is_run_again(both: Both) -> None:
    assert both.reporter.killed
    assert both.reporter.died == ["its process was killed by SIGKILL"]
    assert both.reporter.started_tasks.count(both.reporter.killed) == 2
    assert len(both.reporter.started_tasks) == len(both.graph) + 1, "no other task was run twice"
    assert both.pool_outcome.complete
    assert len(both.pool_outcome.succeeded) == len(both.graph)
    assert all(both.pool.has(task.key) for task in both.graph)


def test_a_pool_and_this_process_give_the_same_bytes(both: Both) -> None:
    def contents(store: Store) -> dict[str, bytes]:
        paths = [path for path in (store.root / "objects").rglob("*") if path.is_file()]
        return {str(path.relative_to(store.root)): path.read_bytes() for path in paths if path.name != MARKER}

    pool, in_process = contents(both.pool), contents(both.in_process)
    assert pool.keys() == in_process.keys()
    assert len(pool) > 3 * len(both.graph)
    for name, content in pool.items():
        assert content == in_process[name], name


def test_no_process_is_left_behind(both: Both) -> None:
    assert both.pool_outcome.complete
    assert multiprocessing.active_children() == []


def test_a_failure_is_told_with_its_reason_and_where_it_came_from(tmp_path: Path) -> None:
    store = prepared(tmp_path / "store")
    study = tiny.study(tmp_path, "mistakes")
    executor = InProcess(store, "cpu")
    assert list(executor.events()) == [], "nothing was given to do"
    train = next(task for task in plan(study).graph if task.kind == "train")
    executor.submit(train)  # its data are not in the store
    (event,) = executor.events()
    assert (event.key, event.what) == (train.key, "damaged")
    assert event.reason == f"{store.path(train.inputs[0]) / MARKER} is missing or damaged"
    executor.submit(replace(train, inputs=()))
    (event,) = executor.events()
    assert (event.key, event.what) == (train.key, "failed")
    assert event.reason.startswith("IndexError: ")
    assert "Traceback" in event.details
    assert not store.has(train.key)


def test_a_failure_that_can_be_named_has_no_traceback(tmp_path: Path) -> None:
    store = prepared(tmp_path / "store")
    training = {"epochs": 1, "schedule": "constant", "learning_rate": {"p_t": 1e30, "ri_t": 1e30}}
    targets = {"digits": tiny.document()["targets"]["digits"]}
    graph = plan(tiny.study(tmp_path, "mistakes", training=training, targets=targets)).graph
    outcome = execute(graph, store, InProcess(store, "cpu"), KillsOnce(killed="nobody"))
    assert len(outcome.failed) == 6
    for failure in outcome.failed:
        assert failure.reason.startswith("the outputs on the test images are not finite after epoch 1")
        assert failure.details == failure.reason
    assert [task.title for task in outcome.not_run] == ["mistakes digits"]
