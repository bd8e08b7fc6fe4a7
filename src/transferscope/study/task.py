"""Tasks, their keys, and the graph they make. Imports no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from transferscope.analyses.contract import Cell
from transferscope.core.options import DatasetOptions, Frozen
from transferscope.core.runs import GivenRun, GivenWeights, Run

KEY_FORMAT = 1
"""Raised when keys are made in another way: results under old keys are then not found, never misread."""

TaskKind = Literal["data", "weights", "given", "train", "measure"]


def canonical_key(kind: str, version: int, spec: Mapping[str, Any]) -> str:
    """The name of a result: SHA-256, 64 hex digits, of all that decides it.

    Args:
        kind: kind of task.
        version: version of the code that computes it.
        spec: plain data (mappings, sequences, numbers, strings, None); defaults included, the order of
            keys doesn't matter, numbers that aren't finite are refused.
    """
    document = {"format": KEY_FORMAT, "kind": kind, "version": version, "spec": spec}
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What a measure task is told."""

    analysis: str
    settings: Frozen
    cell: Cell
    run_keys: Mapping[str, str]
    """Key of the training run of each subject, by role."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One node of the graph: from finished inputs to one stored result."""

    kind: TaskKind
    key: str
    inputs: tuple[str, ...]
    """Keys of the tasks it reads, each once."""
    title: str
    """For people; not in the key."""
    payload: DatasetOptions | GivenWeights | GivenRun | Run | Measurement
    cost: float
    """Estimated passes of one image through one network, a backward pass counted as two."""
    group: str = ""
    """What a training is counted with, for people; empty for other tasks, not in the key."""

    @property
    def num_workers(self) -> int:
        """Processes, and so devices, that the task needs at once."""
        return self.payload.recipe.num_workers if isinstance(self.payload, Run) else 1


class Graph:
    """Tasks by key, in an order in which inputs come first."""

    def __init__(self, tasks: Iterable[Task]) -> None:
        self._tasks: dict[str, Task] = {}
        for task in tasks:
            missing = [key for key in task.inputs if key not in self._tasks]
            if missing:
                raise ValueError(f"task '{task.title}' comes before its inputs {missing}")
            self._tasks.setdefault(task.key, task)

    def __len__(self) -> int:
        return len(self._tasks)

    def __iter__(self) -> Iterator[Task]:
        return iter(self._tasks.values())

    def __getitem__(self, key: str) -> Task:
        return self._tasks[key]

    def __contains__(self, key: str) -> bool:
        return key in self._tasks

    def dependants(self) -> dict[str, list[str]]:
        """Keys of the tasks that read each task's result."""
        readers: dict[str, list[str]] = {key: [] for key in self._tasks}
        for task in self:
            for key in task.inputs:
                readers[key].append(task.key)
        return readers

    def critical_paths(self, done: Collection[str] = ()) -> dict[str, float]:
        """Cost of the longest chain of tasks that begins with each task; tasks that are done cost nothing."""
        readers = self.dependants()
        lengths: dict[str, float] = {}
        for task in reversed(list(self)):
            cost = 0.0 if task.key in done else task.cost
            lengths[task.key] = cost + max((lengths[key] for key in readers[task.key]), default=0.0)
        return lengths

    def needed(self, done: Iterable[str]) -> list[Task]:
        """Tasks that are unfinished and needed, as a final result or by another pending task."""
        finished = set(done)
        readers = self.dependants()
        wanted: set[str] = set()
        for task in reversed(list(self)):
            is_read = any(key in wanted for key in readers[task.key])
            if task.key not in finished and (is_read or not readers[task.key]):
                wanted.add(task.key)
        return [task for task in self if task.key in wanted]


def grouped(tasks: Sequence[Task]) -> dict[str, list[Task]]:
    """The trainings among the tasks by what they are for, kind, data set, and whether the images are shuffled."""
    groups: dict[str, list[Task]] = {}
    for task in tasks:
        if task.group:
            groups.setdefault(task.group, []).append(task)
    return groups
