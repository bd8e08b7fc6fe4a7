"""The loop that runs a graph, with executors that only pretend."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from transferscope.core.errors import BadInput
from transferscope.core.files import Unwritable
from transferscope.core.options import DatasetOptions
from transferscope.execute.events import Event
from transferscope.execute.loop import MAX_ATTEMPTS, Gate, Outcome, execute
from transferscope.execute.store.local import Store
from transferscope.study.task import Graph, Task


def make(key: str, *inputs: str, cost: float = 1.0) -> Task:
    payload = DatasetOptions(dataset="none")
    return Task(kind="data", key=key, inputs=inputs, title=key, payload=payload, cost=cost)


@dataclass
class Pretends:
    """Ends tasks in the order in which they were given, as its script says, done by default."""

    slots: int = 1
    script: dict[str, list[str]] = field(default_factory=dict)
    submitted: list[str] = field(default_factory=list)
    most_at_once: int = 0
    closed: int = 0
    waiting: list[Task] = field(default_factory=list)

    def submit(self, task: Task) -> None:
        self.submitted.append(task.key)
        self.waiting.append(task)
        self.most_at_once = max(self.most_at_once, len(self.waiting))

    def events(self) -> Iterator[Event]:
        key = self.waiting.pop(0).key
        what: Any = self.script[key].pop(0) if self.script.get(key) else "done"
        if what == "interrupt":
            raise KeyboardInterrupt
        yield Event(key=key, what="progress", share=0.5)
        yield Event(
            key=key, what=what, reason="" if what == "done" else f"{key} {what}", details="a traceback"
        )

    def close(self) -> None:
        self.closed += 1


@dataclass
class Listens:
    """Writes down all that it is told."""

    told: list[tuple[Any, ...]] = field(default_factory=list)

    def begin(self, to_do: list[Task], num_cached: int) -> None:
        self.told.append(("begin", [task.key for task in to_do], num_cached))

    def added(self, tasks: list[Task]) -> None:
        self.told.append(("added", [task.key for task in tasks]))

    def started(self, task: Task) -> None:
        self.told.append(("started", task.key))

    def progressed(self, task: Task, share: float, row: Mapping[str, float]) -> None:
        self.told.append(("progressed", task.key, share))

    def ended(self, task: Task, event: Event) -> None:
        self.told.append(("ended", task.key, event.what))

    def finish(self) -> None:
        self.told.append(("finish",))


GRAPH = Graph(
    [
        make("data", cost=1),
        make("long", "data", cost=2),
        make("longer", "long", cost=50),
        make("short", "data", cost=10),
        make("last", "short", cost=1),
        make("both", "longer", "last", cost=1),
        make("alone", cost=30),
    ]
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path)
    made.prepare()
    return made


def run(executor: Pretends, store: Store, reporter: Listens | None = None) -> Outcome:
    return execute(GRAPH, store, executor, reporter or Listens())


def keys(tasks: list[Task]) -> list[str]:
    return [task.key for task in tasks]


def test_the_longest_chain_goes_first_and_inputs_before_their_readers(store: Store) -> None:
    executor = Pretends()
    outcome = run(executor, store)
    assert executor.submitted == ["data", "long", "longer", "alone", "short", "last", "both"]
    assert keys(outcome.succeeded) == executor.submitted
    assert outcome.complete
    assert executor.closed == 1


def test_all_slots_are_used_and_no_more(store: Store) -> None:
    executor = Pretends(slots=2)
    outcome = run(executor, store)
    assert executor.submitted == ["data", "alone", "long", "short", "longer", "last", "both"]
    assert executor.most_at_once == 2
    assert outcome.complete


def test_a_failure_blocks_only_what_depends_on_it(store: Store) -> None:
    executor = Pretends(script={"long": ["failed"]})
    outcome = run(executor, store)
    assert not outcome.complete
    assert [(failure.task.key, failure.reason, failure.details) for failure in outcome.failed] == [
        ("long", "long failed", "a traceback")
    ]
    assert keys(outcome.succeeded) == ["data", "alone", "short", "last"]
    assert keys(outcome.not_run) == ["longer", "both"]
    assert executor.submitted.count("long") == 1, "what failed by itself is not tried again"


def test_a_task_whose_process_died_is_run_again(store: Store) -> None:
    executor = Pretends(script={"long": ["died"] * (MAX_ATTEMPTS - 1)})
    outcome = run(executor, store)
    assert executor.submitted.count("long") == MAX_ATTEMPTS == 3
    assert outcome.complete
    assert len(outcome.succeeded) == len(GRAPH)


def test_a_task_whose_process_always_dies_fails_in_the_end(store: Store) -> None:
    executor = Pretends(script={"long": ["died"] * 10})
    outcome = run(executor, store)
    assert executor.submitted.count("long") == 3
    (failure,) = outcome.failed
    assert failure.reason == "long died, 3 times; is there enough memory for so many workers?"
    assert keys(outcome.not_run) == ["longer", "both"]


def test_what_the_store_has_is_not_run_nor_what_only_that_needed(store: Store) -> None:
    for key in ("both", "data"):
        store.commit(key, lambda folder: None, {})
    executor, reporter = Pretends(), Listens()
    outcome = run(executor, store, reporter)
    assert executor.submitted == ["alone"]
    assert keys(outcome.cached) == ["data", "both"]
    assert outcome.complete
    assert reporter.told[0] == ("begin", ["alone"], 2)


def test_nothing_is_run_where_all_is_there(store: Store) -> None:
    for key in ("both", "alone"):
        store.commit(key, lambda folder: None, {})
    executor = Pretends()
    assert run(executor, store).complete
    assert executor.submitted == []


def test_an_interrupt_ends_the_executor_and_goes_on(store: Store) -> None:
    executor, reporter = Pretends(slots=2, script={"long": ["interrupt"]}), Listens()
    with pytest.raises(KeyboardInterrupt):
        run(executor, store, reporter)
    assert executor.closed == 1
    assert reporter.told[-1] == ("finish",)


def test_told_to_stop_it_finishes_what_is_under_way_and_begins_nothing(store: Store) -> None:
    executor = Pretends(slots=2)
    with pytest.raises(KeyboardInterrupt):
        execute(GRAPH, store, executor, Listens(), lambda: len(executor.submitted) >= 3)
    assert executor.submitted == ["data", "alone", "long"]
    assert executor.waiting == [], "those under way ended"
    assert executor.closed == 1
    assert list((store.root / "claims").iterdir()) == []


def test_a_store_that_cannot_be_written_ends_the_run_when_the_tasks_under_way_are_done(store: Store) -> None:
    executor = Pretends(slots=2, script={"data": ["unwritable"]})
    with pytest.raises(Unwritable, match="data unwritable"):
        run(executor, store)
    assert executor.submitted == ["data", "alone"], "nothing is computed that could not be stored"
    assert executor.waiting == []


def test_a_claim_that_cannot_be_written_ends_the_run_too(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = Pretends(slots=2)
    claim = store.claim

    def full(key: str) -> bool:
        if executor.submitted:
            raise Unwritable("the disk is full")
        return claim(key)

    monkeypatch.setattr(store, "claim", full)
    with pytest.raises(Unwritable, match="the disk is full"):
        run(executor, store)
    assert executor.submitted == ["data"]
    assert executor.waiting == []


def test_the_reporter_is_told_everything_in_order(store: Store) -> None:
    for key in ("both",):
        store.commit(key, lambda folder: None, {})
    reporter = Listens()
    run(Pretends(script={"alone": ["died", "failed"]}), store, reporter)
    assert reporter.told == [
        ("begin", ["alone"], 1),
        ("started", "alone"),
        ("progressed", "alone", 0.5),
        ("ended", "alone", "died"),
        ("started", "alone"),
        ("progressed", "alone", 0.5),
        ("ended", "alone", "failed"),
        ("finish",),
    ]


@dataclass
class Forgetful:
    """A shelf that finds some of what it has damaged, once each."""

    held: set[str] = field(default_factory=set)
    damaged: set[str] = field(default_factory=set)

    def present(self, keys: Iterable[str]) -> set[str]:
        return set(filter(self.has, keys))

    def has(self, key: str) -> bool:
        return key in self.held

    def claim(self, key: str) -> bool:
        return True

    def release(self, key: str) -> None: ...

    def discard_damaged(self, key: str) -> str:
        if key not in self.damaged:
            return ""
        self.damaged.remove(key)
        self.held.remove(key)
        return f"{key}.file is damaged"


@dataclass
class Stores(Pretends):
    """Puts on the shelf what is done; a task with a damaged or missing input isn't."""

    shelf: Forgetful = field(default_factory=Forgetful)

    def events(self) -> Iterator[Event]:
        task = self.waiting.pop(0)
        if any(key in self.shelf.damaged or key not in self.shelf.held for key in task.inputs):
            yield Event(key=task.key, what="damaged", reason="an input")
            return
        self.shelf.held.add(task.key)
        yield Event(key=task.key, what="done")


def test_a_damaged_input_and_what_that_needs_is_computed_again_and_then_its_reader() -> None:
    shelf = Forgetful(held={"long", "short"}, damaged={"long"})  # what they were made from is gone
    executor, reporter = Stores(shelf=shelf), Listens()
    outcome = execute(GRAPH, shelf, executor, reporter)
    assert executor.submitted == ["longer", "data", "long", "longer", "alone", "last", "both"]
    assert ("added", ["long", "data"]) in reporter.told
    assert outcome.complete
    assert keys(outcome.cached) == ["short"]
    assert keys(outcome.succeeded) == ["data", "long", "longer", "alone", "last", "both"]


def test_two_readers_of_a_damaged_result_wait_for_it_once() -> None:
    shelf = Forgetful(held={"data"}, damaged={"data"})
    executor = Stores(shelf=shelf, slots=2)
    outcome = execute(GRAPH, shelf, executor, Listens())
    assert [executor.submitted.count(key) for key in ("data", "long", "short", "longer", "last", "both")] == [
        1,
        2,
        1,
        1,
        1,
        1,
    ]
    assert outcome.complete


def test_damage_that_comes_back_ends_in_a_failure() -> None:
    class Decays(Forgetful):
        def has(self, key: str) -> bool:
            if key == "longer" and key in self.held:
                self.damaged.add(key)
            return super().has(key)

        def discard_damaged(self, key: str) -> str:
            self.has(key)
            return super().discard_damaged(key)

    class Decaying(Stores):
        def events(self) -> Iterator[Event]:
            if self.waiting[0].key == "both":
                self.waiting.pop(0)
                yield Event(key="both", what="damaged", reason="an input")
                return
            yield from super().events()

    shelf = Decays()
    executor = Decaying(shelf=shelf)
    outcome = execute(GRAPH, shelf, executor, Listens())
    (failure,) = outcome.failed
    assert (
        failure.reason == "the result of longer: longer.file is damaged, 3 times; does the disk still work?"
    )
    assert executor.submitted.count("both") == MAX_ATTEMPTS


def test_tasks_behind_a_gate_wait_for_its_check(store: Store) -> None:
    executor = Pretends(slots=2)
    before: list[list[str]] = []
    gate = Gate(keys=["short"], check=lambda: before.append(sorted(executor.submitted)))
    outcome = execute(GRAPH, store, executor, Listens(), gate=gate)
    assert before == [["data", "short"]]
    assert outcome.complete
    assert sorted(executor.submitted) == sorted(task.key for task in GRAPH)


def test_a_gate_that_refuses_ends_the_run(store: Store) -> None:
    executor, reporter = Pretends(), Listens()

    def refuse() -> None:
        raise BadInput("the same network twice")

    with pytest.raises(BadInput, match="twice"):
        execute(GRAPH, store, executor, reporter, gate=Gate(keys=["short"], check=refuse))
    assert executor.submitted == ["data", "short"]
    assert executor.closed == 1
    assert reporter.told[-1] == ("finish",)


def test_a_gate_opens_where_its_tasks_failed_or_are_none(store: Store) -> None:
    checked: list[str] = []
    executor = Pretends(script={"short": ["failed"]})
    outcome = execute(
        GRAPH, store, executor, Listens(), gate=Gate(keys=["short"], check=lambda: checked.append("once"))
    )
    assert keys(outcome.not_run) == ["last", "both"]
    assert execute(
        GRAPH, store, Pretends(), Listens(), gate=Gate(keys=[], check=lambda: checked.append("none"))
    ).complete
    assert checked == ["once", "none"]
