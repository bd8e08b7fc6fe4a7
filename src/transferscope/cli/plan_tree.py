"""A plan as a tree to print."""

from __future__ import annotations

from collections.abc import Sequence

from rich.tree import Tree

from transferscope.core.errors import unmarked
from transferscope.core.machine import duration
from transferscope.execute.store.local import Store
from transferscope.study.plan import Plan
from transferscope.study.task import Measurement, Task, grouped


def plan_tree(plan: Plan, store: Store | None) -> Tree:
    """Counts by kind, data set and analysis; cached or not, where there is a store; estimated cost."""
    tasks = list(plan.graph)
    infos = {} if store is None else store.infos(task.key for task in tasks)
    seconds = {key: info["seconds"] for key, info in infos.items()}
    left = plan.graph.needed(seconds)
    tree = Tree(
        f"[bold]{unmarked(plan.study.name)}[/bold]: {_counts(tasks, seconds)}; {_cost(tasks, left, seconds)}"
    )
    data = tree.add(f"data: {_counts([t for t in tasks if t.kind == 'data'], seconds)}")
    for task in tasks:
        if task.kind == "data":
            data.add(_leaf(task, seconds))
    for task in tasks:
        if task.kind == "weights":
            tree.add(_leaf(task, seconds))
    trainings = [task for task in tasks if task.kind == "train"]
    train = tree.add(f"train: {_counts(trainings, seconds)}")
    for name, group in grouped(trainings).items():
        train.add(f"{unmarked(name)}: {_counts(group, seconds)}")
    measures = [task for task in tasks if task.kind == "measure"]
    measure = tree.add(f"measure: {_counts(measures, seconds)}")
    for name in plan.study.analyses:
        own = [t for t in measures if isinstance(t.payload, Measurement) and t.payload.analysis == name]
        measure.add(f"{name}: {_counts(own, seconds)}")
    return tree


def _counts(tasks: Sequence[Task], seconds: dict[str, float]) -> str:
    cached = sum(task.key in seconds for task in tasks)
    text = f"{len(tasks)} task{'' if len(tasks) == 1 else 's'}"
    return f"{text}, {cached} cached" if cached else text


def _leaf(task: Task, seconds: dict[str, float]) -> str:
    return f"{unmarked(task.title)}: {'cached' if task.key in seconds else 'to do'}"


def _cost(tasks: Sequence[Task], left: Sequence[Task], seconds: dict[str, float]) -> str:
    """Work that is left, in seconds of one process where finished tasks of this store tell the speed."""
    cost = sum(task.cost for task in left)
    if not left:
        return "nothing left to compute"
    text = f"about {cost:,.0f} image passes left"
    done = sum(task.cost for task in tasks if task.key in seconds)
    if done:
        text += f", {duration(cost * sum(seconds.values()) / done)} of one process at the speed so far"
    return text
