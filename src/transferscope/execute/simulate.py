"""How long a graph would take on so many devices: the engine's own loop, in virtual time."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from transferscope.execute.events import Event
from transferscope.execute.loop import execute
from transferscope.study.task import Graph, Task


@dataclass(frozen=True, kw_only=True)
class Simulated:
    """What came out for one number of devices; costs as in `Task.cost`, image passes."""

    num_devices: int
    makespan: float
    """From the first task's start to the last one's end."""
    critical_path: float
    """Time of the longest chain of tasks: no number of devices gets below it."""
    busy: float
    """Share of the devices' time that is spent on tasks, 0 to 1; 1 where nothing is left to do."""


def simulate(graph: Graph, num_devices: int, done: Collection[str] = ()) -> Simulated:
    """Schedule a graph on devices, longest chain first.

    A task takes one device for its estimated cost. A training of `num_workers` N is assumed to take N at once for
    1/N of it, that is, to lose nothing; where there are fewer devices, all of them. It begins when so many are
    free, and tasks that find room may pass it meanwhile, as on Ray. Reading, writing and starting take nothing.
    The loop is the one that runs studies, so that the order is theirs.

    Args:
        graph: the tasks.
        num_devices: at least 1.
        done: keys of the tasks that need not run.
    """
    if num_devices < 1:
        raise ValueError(f"num_devices must be at least 1, got {num_devices}")
    devices = _VirtualDevices(num_devices)
    execute(_timed(graph, num_devices), _Finished(frozenset(done)), devices, _Silent())
    to_do = graph.needed(done)
    total = sum(task.cost for task in to_do)
    idle = {task.key for task in graph} - {task.key for task in to_do}
    longest = _timed(graph, max((task.num_workers for task in graph), default=1)).critical_paths(idle)
    return Simulated(
        num_devices=num_devices,
        makespan=devices.now,
        critical_path=max(longest.values(), default=0.0),
        busy=total / (devices.now * num_devices) if devices.now else 1.0,
    )


def _timed(graph: Graph, num_devices: int) -> Graph:
    """The graph with the time that each task takes on so many devices as its cost."""
    return Graph(replace(task, cost=task.cost / min(task.num_workers, num_devices)) for task in graph)


class _VirtualDevices:
    """An executor whose clock jumps to the end of the next task."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.now = 0.0
        self._free = slots
        self._waiting: list[Task] = []
        self._running: list[tuple[float, str, int]] = []

    def submit(self, task: Task) -> None:
        self._waiting.append(task)
        self._start()

    def events(self) -> Iterator[Event]:
        self.now = self._running[0][0]
        ended = []
        while self._running and self._running[0][0] == self.now:
            _, key, width = heapq.heappop(self._running)
            self._free += width
            ended.append(key)
        self._start()
        for key in ended:
            yield Event(key=key, what="done")

    def close(self) -> None:
        pass

    def _start(self) -> None:
        """Begin what was handed over and fits, in that order."""
        waiting, self._waiting = self._waiting, []
        for task in waiting:
            width = min(task.num_workers, self.slots)
            if width > self._free:
                self._waiting.append(task)
                continue
            self._free -= width
            heapq.heappush(self._running, (self.now + task.cost, task.key, width))


@dataclass(frozen=True)
class _Finished:
    keys: frozenset[str]

    def present(self, keys: Iterable[str]) -> set[str]:
        return set(self.keys.intersection(keys))

    def has(self, key: str) -> bool:
        return key in self.keys

    def claim(self, key: str) -> bool:  # noqa: ARG002 (nobody else is there)
        return True

    def release(self, key: str) -> None:
        pass

    def discard_damaged(self, key: str) -> str:  # noqa: ARG002
        return ""


class _Silent:
    """A reporter that reports nothing."""

    def _nothing(self, *_: Any, **__: Any) -> None:
        pass

    begin = added = started = progressed = ended = finish = _nothing
