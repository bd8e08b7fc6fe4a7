"""How far the study in a folder is, read from its store and its records: for a page, a terminal, a program."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from transferscope.core.machine import duration
from transferscope.core.runs import GivenRun, Run
from transferscope.execute.progress.records import RunRecord, TaskRecord, read_runs, read_tasks
from transferscope.report.workspace import Workspace
from transferscope.study.plan import Plan
from transferscope.study.task import Measurement, Task, grouped

State = Literal["done", "running", "failed", "waiting"]
STATES: tuple[State, ...] = ("done", "running", "failed", "waiting")
COLUMNS = ("epoch", "train_loss", "test_loss", "train_metric", "test_metric")
"""Of a training's history, those that are drawn."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Tasks of one kind and purpose."""

    name: str
    kind: str
    counts: Mapping[State, int]


@dataclass(frozen=True, kw_only=True)
class RunningTask:
    """A task under way."""

    title: str
    share: float
    """0 to 1; 0 for tasks that don't tell."""
    seconds: float
    """Since it was started."""
    loss: float | None
    """The newest training loss, of a training."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The state of a study at one moment."""

    study: str
    folder: str
    is_running: bool
    """Whether a run into this folder is under way."""
    is_complete: bool
    """Whether nothing is left to run."""
    report: str | None
    """Where the report is, if there is one."""
    share: float
    """Of the run that is under way, 0 to 1; else of all tasks."""
    seconds_left: float | None
    counts: Mapping[State, int]
    groups: tuple[Group, ...]
    running: tuple[RunningTask, ...]
    failed: tuple[Mapping[str, str], ...]
    """Title and reason of each failed task."""


class Watcher:
    """Looks at a folder again and again; what was finished once isn't looked at again.

    Args:
        out: the folder.
        load: the plan of the study in it; asked again when the study file changes.

    Raises:
        BadInput: there is no study in the folder, or it can't be read.
    """

    def __init__(self, out: Path, load: Callable[[], Plan]) -> None:
        self._out, self._load = out, load
        self._workspace = Workspace(out)
        self._done: set[str] = set()
        self._seen = 0
        self._refresh()
        self._version = 0

    def look(self) -> Snapshot:
        """The state now."""
        self._refresh()
        runs, noted = read_runs(self._out), read_tasks(self._out)
        self._done -= noted.keys()  # what was damaged may be computed again
        self._done |= {t.key for t in self._plan.graph if t.key not in self._done and self._store.has(t.key)}
        left = {task.key for task in self._plan.graph.needed(self._done)}
        states: dict[str, State] = {
            task.key: self._state(task, left, noted.get(task.key)) for task in self._plan.graph
        }
        self._read_curves(noted, states)
        report = self._workspace.report
        tasks = {task.key: task for task in self._plan.graph}
        now = time.time()
        return Snapshot(
            study=self._plan.study.name,
            folder=str(self._out),
            is_running=bool(runs),
            is_complete=not left,
            report=str(report) if report.exists() else None,
            share=_share(runs, states),
            seconds_left=max(
                (one.seconds_left for one in runs if one.seconds_left is not None), default=None
            ),
            counts=_counted(states.values()),
            groups=tuple(
                Group(name=name, kind=group[0].kind, counts=_counted(states[task.key] for task in group))
                for name, group in self._groups.items()
            ),
            running=tuple(
                RunningTask(
                    title=tasks[key].title,
                    share=record.share,
                    seconds=max(0.0, now - record.started),
                    loss=next((row["train_loss"] for row in record.rows[::-1] if "train_loss" in row), None),
                )
                for key, record in noted.items()
                if states.get(key) == "running"
            ),
            failed=tuple(
                {"title": tasks[key].title, "reason": noted[key].failed or ""}
                for key, state in states.items()
                if state == "failed"
            ),
        )

    def curves(self, since: int = 0) -> dict[str, Any]:
        """The trainings whose curves changed after a version, and the version now.

        Args:
            since: the version that the asker has; 0: none.
        """
        changed = [
            {key: value for key, value in curve.items() if key != "version"}
            for curve in self._curves.values()
            if curve["version"] > since
        ]
        return {"version": self._version, "columns": COLUMNS, "trainings": changed}

    def _refresh(self) -> None:
        """A new run into the folder may be of another study."""
        with suppress(OSError):
            changed = self._workspace.study_file.stat().st_mtime_ns
            if changed == self._seen:
                return
            self._seen = changed
        self._plan = self._load()
        self._store = self._workspace.store
        self._groups = _groups(self._plan)
        self._curves: dict[str, dict[str, Any]] = {}

    def _state(self, task: Task, left: set[str], record: TaskRecord | None) -> State:
        if task.key in self._done or task.key not in left:
            return "done"
        if record is None:
            return "waiting"
        if record.failed is not None:
            return "failed"
        return "running" if record.is_alive else "waiting"

    def _read_curves(self, noted: Mapping[str, TaskRecord], states: Mapping[str, State]) -> None:
        for name, group in self._groups.items():
            for task in group:
                known = self._curves.get(task.key)
                state = states[task.key]
                if not isinstance(task.payload, Run) or (known and known["state"] == state == "done"):
                    continue
                if state == "done":
                    rows = self._stored_rows(task)
                elif state in ("running", "failed") and task.key in noted:
                    rows = [[row.get(column) for column in COLUMNS] for row in noted[task.key].rows]
                else:
                    continue
                if known is None or (known["state"], known["rows"]) != (state, rows):
                    self._version += 1
                    self._curves[task.key] = {
                        "key": task.key,
                        "title": task.title,
                        "group": name,
                        "state": state,
                        "epochs": task.payload.recipe.epochs,
                        "rows": rows,
                        "version": self._version,
                    }

    def _stored_rows(self, task: Task) -> list[list[float | None]]:
        import polars as pl

        with suppress(OSError, pl.exceptions.PolarsError):
            table = pl.read_parquet(self._store.path(task.key) / "history.parquet", columns=list(COLUMNS))
            return [[_finite(value) for value in row] for row in table.rows()]
        return []


def short(snapshot: Snapshot, *, with_time_left: bool = True) -> str:
    """A snapshot in one line."""
    counts = snapshot.counts
    parts = [f"{counts['done']}/{sum(counts.values())} tasks"]
    parts += [f"{counts[state]} {state}" for state in ("running", "failed") if counts[state]]
    if with_time_left and snapshot.seconds_left is not None and not snapshot.is_complete:
        parts.append(f"about {duration(snapshot.seconds_left)} left")
    if snapshot.is_complete:
        parts.append("complete" if snapshot.report else "no report yet")
    elif not snapshot.is_running:
        parts.append("no run is under way")
    return ", ".join(parts)


def as_document(snapshot: Snapshot) -> dict[str, Any]:
    """A snapshot as plain data, for JSON."""
    return asdict(snapshot)


def _groups(plan: Plan) -> dict[str, list[Task]]:
    tasks = list(plan.graph)
    groups: dict[str, list[Task]] = {}
    for task in tasks:
        if task.kind in ("data", "weights"):
            groups.setdefault("data" if task.kind == "data" else "given weights", []).append(task)
    groups |= grouped(tasks)
    for task in tasks:
        if isinstance(task.payload, Measurement):
            groups.setdefault(f"measure {task.payload.analysis}", []).append(task)
        elif isinstance(task.payload, GivenRun):
            groups.setdefault("given networks", []).append(task)
    return groups


def _counted(states: Iterable[State]) -> dict[State, int]:
    counted = Counter(states)
    return {state: counted[state] for state in STATES}


def _share(runs: list[RunRecord], states: Mapping[str, State]) -> float:
    if runs:
        return min(run.share for run in runs)
    return sum(state == "done" for state in states.values()) / len(states) if states else 1.0


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value
