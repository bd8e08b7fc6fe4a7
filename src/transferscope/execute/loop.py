"""The one loop that runs a graph, whatever executes the tasks."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from transferscope.core.files import Unwritable
from transferscope.execute.events import Event
from transferscope.study.task import Graph, Task

MAX_ATTEMPTS = 3
"""How often a task is started whose process is killed from outside, or whose inputs are found damaged."""
POLL_S = 0.1
"""How long to wait before looking again at what another run computes."""


class Shelf(Protocol):
    """What knows which results there are; `Store` is one."""

    def present(self, keys: Iterable[str]) -> set[str]: ...
    def has(self, key: str) -> bool: ...
    def claim(self, key: str) -> bool: ...
    def release(self, key: str) -> None: ...
    def discard_damaged(self, key: str) -> str: ...


class Executor(Protocol):
    """Where tasks are computed."""

    @property
    def slots(self) -> int:
        """Tasks at once; asked before each is handed over."""
        ...

    def submit(self, task: Task) -> None: ...
    def events(self) -> Iterator[Event]: ...
    def close(self) -> None: ...


class Reporter(Protocol):
    """Who is told how it goes."""

    def begin(self, to_do: list[Task], num_cached: int) -> None: ...
    def added(self, tasks: list[Task]) -> None: ...
    def started(self, task: Task) -> None: ...
    def progressed(self, task: Task, share: float, row: Mapping[str, float], /) -> None: ...
    def ended(self, task: Task, event: Event) -> None: ...
    def finish(self) -> None: ...


@dataclass(kw_only=True)
class Failure:
    """Why a task failed."""

    task: Task
    reason: str
    details: str


@dataclass(kw_only=True)
class Outcome:
    """How it ended."""

    cached: list[Task] = field(default_factory=list)
    """Found in the store."""
    succeeded: list[Task] = field(default_factory=list)
    """Computed now."""
    failed: list[Failure] = field(default_factory=list)
    not_run: list[Task] = field(default_factory=list)
    """Tasks that need the result of a failed one."""

    @property
    def complete(self) -> bool:
        return not self.failed and not self.not_run


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Tasks that run before all others, and what looks at their results then."""

    keys: Collection[str]
    """The tasks; what they need runs first, too."""
    check: Callable[[], None]
    """Called once, when these tasks have ended; what it raises ends the run."""


def execute(
    graph: Graph,
    store: Shelf,
    executor: Executor,
    reporter: Reporter,
    stopping: Callable[[], bool] = lambda: False,
    gate: Gate | None = None,
) -> Outcome:
    """Run what the store doesn't have, longest chain first; a failure blocks only what depends on it.

    A task that another run on the same store is at is left to it, and its result is taken when it is there; where
    that run ends without one, the task is run here.

    Where a task finds one of its inputs damaged, that is computed again, and then the task.

    What is finished stays in the store however it ends. A KeyboardInterrupt ends the executor at once.

    Args:
        graph: the tasks.
        store: which results there are.
        executor: where tasks are computed; closed in the end.
        reporter: told how it goes.
        stopping: once it says True no task is begun any more.
        gate: tasks that run first, and the check after which the others run.

    Raises:
        KeyboardInterrupt: it was told to stop, and the tasks under way are finished.
        Unwritable: a result could not be stored; the tasks under way are finished too, as far as they could be.
    """
    done = store.present(task.key for task in graph)
    to_do = graph.needed(done)
    state = _State(graph, to_do, done, gate)
    outcome = state.outcome
    reporter.begin(to_do, len(outcome.cached))
    running: dict[str, Task] = {}
    try:
        while running or (state.is_ready and not stopping() and not state.unwritable):
            waits = False
            if not running and not state.ready:
                state.open_gate()
            if not stopping() and not state.unwritable:
                waits = _hand_over(state, store, executor, reporter, running)
            if not running:
                if waits:
                    time.sleep(POLL_S)
                continue
            for event in executor.events():
                task = running[event.key]
                if event.what == "progress":
                    reporter.progressed(task, event.share, event.row)
                    continue
                del running[event.key]
                store.release(event.key)
                _settle(task, event, state, store, reporter)
    finally:
        executor.close()
        for key in running:
            store.release(key)
        reporter.finish()
    if state.unwritable:
        raise Unwritable(state.unwritable)
    if stopping():
        raise KeyboardInterrupt
    outcome.not_run = [task for task in to_do if task.key not in state.settled]
    return outcome


def _hand_over(
    state: _State, store: Shelf, executor: Executor, reporter: Reporter, running: dict[str, Task]
) -> bool:
    """Give the executor what it has room for; returns True if another run holds a ready task."""
    elsewhere = []
    while state.ready and len(running) < executor.slots:
        task = state.pop()
        try:
            claimed = store.claim(task.key)
        except Unwritable as error:
            state.unwritable = str(error)
            break
        if not claimed:
            elsewhere.append(task)
        elif store.has(task.key):  # another run was faster
            store.release(task.key)
            state.found(task)
            reporter.started(task)
            reporter.ended(task, Event(key=task.key, what="done"))
        else:
            state.begin(task)
            running[task.key] = task
            reporter.started(task)
            executor.submit(task)
    for task in elsewhere:
        state.put_back(task)
    return bool(elsewhere)


def _settle(task: Task, event: Event, state: _State, store: Shelf, reporter: Reporter) -> None:
    if event.what == "damaged":
        event = state.look_after(task, event, store)
    added = state.settle(task, event, store)
    reporter.ended(task, event)
    if added:
        reporter.added(added)


def _with_inputs(graph: Graph, keys: Iterable[str]) -> set[str]:
    """The tasks, and all that they need."""
    found: set[str] = set()
    waiting = list(keys)
    while waiting:
        key = waiting.pop()
        if key not in found:
            found.add(key)
            waiting += graph[key].inputs
    return found


class _State:
    """Which tasks wait for what."""

    def __init__(self, graph: Graph, to_do: list[Task], done: set[str], gate: Gate | None) -> None:
        self._gate = gate
        self._first = _with_inputs(graph, gate.keys) if gate else set()
        self._held: list[str] = []
        """Ready, but behind the gate."""
        self._graph = graph
        self._to_do = {task.key: task for task in to_do}
        self._readers = graph.dependants()
        self._lengths = graph.critical_paths()
        self._waits_for = {task.key: {key for key in task.inputs if key in self._to_do} for task in to_do}
        self._attempts: dict[str, int] = {}
        self.settled: set[str] = set()
        self.unwritable = ""
        """Why no result can be stored any more."""
        self.ready: list[tuple[float, str]] = []
        self.outcome = Outcome(cached=[task for task in graph if task.key in done])
        for key, inputs in self._waits_for.items():
            if not inputs:
                self._push(key)

    @property
    def is_ready(self) -> bool:
        """True if a task can run, maybe behind the gate."""
        return bool(self.ready or self._held)

    def open_gate(self) -> None:
        """Check the results of the first tasks, and let all others run."""
        gate, self._gate = self._gate, None
        if gate is not None:
            gate.check()
        held, self._held = self._held, []
        for key in held:
            self._push(key)

    def pop(self) -> Task:
        _, key = heapq.heappop(self.ready)
        return self._to_do[key]

    def begin(self, task: Task) -> None:
        self._attempts[task.key] = self._attempts.get(task.key, 0) + 1

    def put_back(self, task: Task) -> None:
        self._push(task.key)

    def found(self, task: Task) -> None:
        """Its result came from another run."""
        self.settled.add(task.key)
        self.outcome.cached.append(task)
        self._free_readers(task)

    def settle(self, task: Task, event: Event, store: Shelf) -> list[Task]:
        """Take note of how a task ended; what is to be computed again for it, that wasn't to do any more."""
        if event.what == "unwritable":
            self.unwritable = event.reason
            return []
        again = self._attempts[task.key] < MAX_ATTEMPTS
        if event.what == "died" and again:
            self._push(task.key)
            return []
        if event.what == "damaged" and again:
            return self._recompute(task, store)
        self.settled.add(task.key)
        if event.what == "done":
            self.outcome.succeeded.append(task)
            self._free_readers(task)
            return []
        reason = event.reason
        if event.what == "died":
            reason = f"{reason}, {MAX_ATTEMPTS} times; is there enough memory for so many workers?"
        if event.what == "damaged":
            reason = f"{reason}, {MAX_ATTEMPTS} times; does the disk still work?"
        self.outcome.failed.append(Failure(task=task, reason=reason, details=event.details or reason))
        return []

    def look_after(self, task: Task, event: Event, store: Shelf) -> Event:
        """Remove the damaged ones of a task's inputs; the event that names them all."""
        inputs = [self._graph[key] for key in task.inputs]
        flaws = [(other.title, store.discard_damaged(other.key)) for other in inputs]
        named = [f"the result of {title}: {flaw}" for title, flaw in flaws if flaw]
        return replace(event, reason="; ".join(named) or event.reason)

    def _recompute(self, task: Task, store: Shelf) -> list[Task]:
        """Let a task wait for those of its inputs that the store doesn't have any more, and these for theirs."""
        missing = [self._graph[key] for key in task.inputs if not store.has(key)]
        self._waits_for[task.key] = {other.key for other in missing}
        if not missing:
            self._push(task.key)
        added = []
        for other in missing:
            known = other.key in self._to_do and other.key not in self.settled
            if not known:
                self._forget(other)
                added += [other, *self._recompute(other, store)]
        return added

    def _forget(self, task: Task) -> None:
        """It was done, and is to be done again."""
        self._to_do[task.key] = task
        self.settled.discard(task.key)
        for tasks in (self.outcome.cached, self.outcome.succeeded):
            if task in tasks:
                tasks.remove(task)

    def _free_readers(self, task: Task) -> None:
        for key in self._readers[task.key]:
            if task.key in self._waits_for.get(key, ()):
                self._waits_for[key].discard(task.key)
                if not self._waits_for[key]:
                    self._push(key)

    def _push(self, key: str) -> None:
        if self._gate is not None and key not in self._first:
            self._held.append(key)
            return
        # the key breaks ties, so that the order never depends on hashing
        heapq.heappush(self.ready, (-self._lengths[key], key))
