"""How long a graph would take on so many devices: the engine's own loop, in virtual time."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from transferscope.execute.local import Event
from transferscope.execute.run import execute
from transferscope.task import Graph, Task


@dataclass(frozen=True, kw_only=True)
class Simulated:
    """What came out for one number of devices; costs as in `Task.cost`, image passes."""

    num_devices: int
    makespan: float
    """From the first task's start to the last one's end."""
    critical_path: float
    """Cost of the longest chain of tasks: no number of devices gets below it."""
    busy: float
    """Share of the devices' time that is spent on tasks, 0 to 1; 1 where nothing is left to do."""


def simulate(graph: Graph, num_devices: int, done: Collection[str] = ()) -> Simulated:
    """Schedule a graph on devices that each take one task at a time, longest chain first.

    Every task takes its estimated cost on any device; reading, writing and starting take nothing. The loop is
    the one that runs studies, so that the order is theirs.

    Args:
        graph: the tasks.
        num_devices: at least 1.
        done: keys of the tasks that need not run.
    """
    if num_devices < 1:
        raise ValueError(f"num_devices must be at least 1, got {num_devices}")
    devices = _VirtualDevices(num_devices)
    execute(graph, _Finished(frozenset(done)), devices, _Silent())
    to_do = graph.needed(done)
    total = sum(task.cost for task in to_do)
    idle = {task.key for task in graph} - {task.key for task in to_do}
    return Simulated(
        num_devices=num_devices,
        makespan=devices.now,
        critical_path=max(graph.critical_paths(idle).values(), default=0.0),
        busy=total / (devices.now * num_devices) if devices.now else 1.0,
    )


class _VirtualDevices:
    """An executor whose clock jumps to the end of the next task."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.now = 0.0
        self._running: list[tuple[float, str]] = []

    def submit(self, task: Task) -> None:
        heapq.heappush(self._running, (self.now + task.cost, task.key))

    def events(self) -> Iterator[Event]:
        self.now, key = heapq.heappop(self._running)
        yield Event(key=key, what="done")

    def close(self) -> None:
        pass


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
    def begin(self, to_do: list[Task], num_cached: int) -> None:
        pass

    def started(self, task: Task) -> None:
        pass

    def progressed(self, task: Task, share: float, row: Mapping[str, float]) -> None:
        pass

    def ended(self, task: Task, event: Event) -> None:
        pass

    def added(self, tasks: list[Task]) -> None:
        pass

    def finish(self) -> None:
        pass
