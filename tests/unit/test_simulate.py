"""How long a graph would take on so many devices."""

from __future__ import annotations

import math

import numpy as np
import pytest

from transferscope.execute.simulate import simulate
from transferscope.options import DatasetOptions
from transferscope.task import Graph, Task


def make(key: str, *inputs: str, cost: float = 1.0) -> Task:
    payload = DatasetOptions(dataset="none")
    return Task(kind="data", key=key, inputs=inputs, title=key, payload=payload, cost=cost)


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


def test_no_device_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        simulate(Graph([make("a")]), 0)
