"""Telling several at once how a run goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from transferscope.execute.events import Event
from transferscope.execute.loop import Reporter
from transferscope.study.task import Task


class Several:
    """One reporter that counts, and others that may fail: who does is told nothing more, and that is said once.

    Args:
        first: its errors are the caller's.
        others: by the name that an error message gives them.
        say: prints a line.
    """

    def __init__(self, first: Reporter, others: Mapping[str, Reporter], say: Callable[[str], None]) -> None:
        self._first, self._others, self._say = first, dict(others), say

    def begin(self, to_do: list[Task], num_cached: int) -> None:
        self._first.begin(to_do, num_cached)
        self.tell(lambda one: one.begin(to_do, num_cached))

    def added(self, tasks: list[Task]) -> None:
        self._first.added(tasks)
        self.tell(lambda one: one.added(tasks))

    def started(self, task: Task) -> None:
        self._first.started(task)
        self.tell(lambda one: one.started(task))

    def progressed(self, task: Task, share: float, row: Mapping[str, float], /) -> None:
        self._first.progressed(task, share, row)
        self.tell(lambda one: one.progressed(task, share, row))

    def ended(self, task: Task, event: Event) -> None:
        self._first.ended(task, event)
        self.tell(lambda one: one.ended(task, event))

    def finish(self) -> None:
        self._first.finish()
        self.tell(lambda one: one.finish())

    def tell(self, call: Callable[[Reporter], None]) -> None:
        """Tell the others something that is not the first one's business."""
        for name, one in list(self._others.items()):
            try:
                call(one)
            except Exception as error:
                del self._others[name]
                self._say(without(name, error))


def without(name: str, error: Exception) -> str:
    """That a listener failed, and that the run goes on."""
    lines = str(error).strip().splitlines() or [""]
    return f"{name} failed, and the run goes on without it: {type(error).__name__}: {lines[0]}".rstrip(": ")
