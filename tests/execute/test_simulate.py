"""How long a graph would take on so many devices."""

from __future__ import annotations

import math

import numpy as np
import pytest

from transferscope.core.config import Recipe
from transferscope.core.options import DatasetOptions, NetworkOptions
from transferscope.core.runs import Run
from transferscope.execute.simulate import simulate
from transferscope.study.task import Graph, Task


def make(key: str, *inputs: str, cost: float = 1.0) -> Task:
    payload = DatasetOptions(dataset="none")
    return Task(kind="data", key=key, inputs=inputs, title=key, payload=payload, cost=cost)


def shared(key: str, *inputs: str, cost: float, num_workers: int) -> Task:
    """A training by several processes."""
    recipe = Recipe(epochs=1, batch_size=64, learning_rate=0.1, num_workers=num_workers)
    run = Run(
        network=NetworkOptions(name="none"),
        normalization="per_image",
        data=DatasetOptions(dataset="none"),
        initialization="random",
        init_seed=0,
        seed=0,
        recipe=recipe,
    )
    return Task(kind="train", key=key, inputs=inputs, title=key, payload=run, cost=cost)


def literal(tasks: list[Task], num_devices: int) -> int:
    """The rule of `simulate` step by step, for tasks that take whole units of time.

    At each unit: so many tasks as there are devices are handed over, longest chain first (by key where equal); of
    these begin, in the order of being handed over, those for which there are enough free devices.
    """
    width = {task.key: min(task.num_workers, num_devices) for task in tasks}
    time_of = {task.key: round(task.cost / width[task.key]) for task in tasks}

    def chain(key: str) -> int:
        return time_of[key] + max((chain(task.key) for task in tasks if key in task.inputs), default=0)

    order = sorted(tasks, key=lambda task: (-chain(task.key), task.key))
    handed: list[str] = []
    left: dict[str, int] = {}
    ended: set[str] = set()
    now = 0
    while len(ended) < len(tasks):
        for _ in ("what waited", "what is new"):
            for key in handed:
                used = sum(width[other] for other in left)
                if key not in left and used + width[key] <= num_devices:
                    left[key] = time_of[key]
            ready = [
                task.key for task in order if {*task.inputs} <= ended and task.key not in {*handed, *ended}
            ]
            handed += ready[: num_devices - len(handed)]
        now += 1
        left = {key: units - 1 for key, units in left.items()}
        over = {key for key, units in left.items() if units == 0}
        ended |= over
        handed = [key for key in handed if key not in over]
        left = {key: units for key, units in left.items() if units}
    return now


def random_graph(seed: int, size: int = 60) -> Graph:
    rng = np.random.default_rng(seed)
    tasks: list[Task] = []
    for i in range(size):
        inputs = rng.choice(i, size=min(i, int(rng.integers(0, 3))), replace=False) if i else []
        tasks.append(make(str(i), *map(str, inputs), cost=float(rng.uniform(0.1, 5.0))))
    return Graph(tasks)


def test_a_chain_takes_its_length_on_any_number() -> None:
    chain = Graph([make("a", cost=2), make("b", "a", cost=3), make("c", "b", cost=4)])
    for num_devices in (1, 8):
        assert simulate(chain, num_devices).makespan == 9


def test_independent_tasks_are_divided() -> None:
    found = simulate(Graph([make(str(i), cost=2) for i in range(8)]), 4)
    assert (found.makespan, found.critical_path, found.busy) == (4, 2, 1)


def test_the_longest_chain_starts_first() -> None:
    # short tasks first would end at 2 + 6; the chain first ends at 6
    graph = Graph([make("s1"), make("s2"), make("long", cost=3), make("end", "long", cost=3)])
    assert simulate(graph, 2).makespan == 6


def test_finished_tasks_cost_nothing() -> None:
    graph = Graph([make("a", cost=2), make("b", "a", cost=3), make("c", "a", cost=4)])
    found = simulate(graph, 2, done={"a", "b"})
    assert (found.makespan, found.critical_path) == (4, 4)
    assert simulate(graph, 2, done={"a", "b", "c"}).makespan == 0


@pytest.mark.parametrize("seed", range(10))
def test_bounds_of_every_schedule_hold(seed: int) -> None:
    """Graham (1969): no less than the longest chain and the even share, no more than their sum."""
    graph = random_graph(seed)
    total = sum(task.cost for task in graph)
    for num_devices in (1, 2, 5, 100):
        found = simulate(graph, num_devices)
        longest = max(graph.critical_paths().values())
        assert found.critical_path == longest
        assert max(longest, total / num_devices) <= found.makespan + 1e-9
        assert found.makespan <= total / num_devices + longest * (1 - 1 / num_devices) + 1e-9
        assert math.isclose(found.busy, total / (num_devices * found.makespan))
    assert math.isclose(simulate(graph, 1).makespan, total)


@pytest.mark.parametrize(
    ("num_devices", "makespan", "busy"), [(1, 8, 1), (2, 4, 1), (4, 2, 1), (8, 2, 0.5), (512, 2, 4 / 512)]
)
def test_a_training_of_four_processes_takes_four_devices_for_a_quarter_of_the_time(
    num_devices: int, makespan: float, busy: float
) -> None:
    found = simulate(Graph([shared("a", cost=8, num_workers=4)]), num_devices)
    assert (found.makespan, found.critical_path, found.busy) == (makespan, 2, busy)


def test_a_training_of_several_processes_waits_for_its_devices_and_is_passed() -> None:
    # long has a device for 0 to 5; shared is there from 1, needs three, and has them for 5 to 7; s2 passes it
    tasks = [make("long", cost=5), make("first"), shared("shared", "first", cost=6, num_workers=3)]
    found = simulate(Graph([*tasks, make("s1"), make("s2")]), 3)
    assert found.makespan == 7
    assert math.isclose(found.busy, 14 / 21)


@pytest.mark.parametrize("seed", range(20))
def test_shared_trainings_are_scheduled_by_the_letter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tasks: list[Task] = []
    for i in range(25):
        inputs = (
            [str(j) for j in rng.choice(i, size=min(i, int(rng.integers(0, 3))), replace=False)] if i else []
        )
        units, width = int(rng.integers(1, 6)), int(rng.choice([1, 1, 2, 4]))
        # divisible by any width, so that all times are whole
        one = make(str(i), *inputs, cost=4.0 * units)
        tasks.append(one if width == 1 else shared(str(i), *inputs, cost=4.0 * units, num_workers=width))
    for num_devices in (1, 2, 4, 8, 64):
        assert simulate(Graph(tasks), num_devices).makespan == literal(tasks, num_devices)


def test_no_device_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        simulate(Graph([make("a")]), 0)
