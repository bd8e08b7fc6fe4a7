"""What a plan costs, in device-hours, and how long it would take on so many devices; as data, and as tables."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from rich.table import Table

from transferscope.core.errors import unmarked
from transferscope.core.machine import duration
from transferscope.execute.simulate import simulate
from transferscope.study.plan import Plan
from transferscope.study.task import Measurement, Task, grouped

LEAST_HOURS = 0.001
"""Less is not told apart: seconds."""
SIZES = ("num_images", "draws")
"""Options of analyses that their cost is about proportional to."""
PASSES_PER_TRAINED_IMAGE = 3
"""Forward, and backward counted as two; see `Task.cost`."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """Tasks of one purpose that are left to run, and what they cost."""

    name: str
    num_tasks: int
    image_passes: float
    """See `Task.cost`."""
    device_hours: float
    """Of one device with the throughput asked for."""


@dataclass(frozen=True, kw_only=True)
class OnDevices:
    """How long the study would take on a number of devices."""

    num_devices: int
    seconds: float
    speed_up: float | None
    """Against one device; none where nothing is left."""
    busy: float
    """Share of the devices' time that is spent on tasks, 0 to 1."""
    limited_by: str
    """The longest chain, or the devices."""


def work_left(plan: Plan, throughput: float, done: Collection[str] = ()) -> tuple[list[Work], Work]:
    """What is left by kind of training and by analysis; and all of it, with the reading of data and weights.

    Args:
        plan: the plan.
        throughput: training images a second of one device.
        done: keys of the tasks that need not run.
    """
    left = plan.graph.needed(done)
    groups = grouped(left)
    for task in left:
        if isinstance(task.payload, Measurement):
            groups.setdefault(f"measure {task.payload.analysis}", []).append(task)
    return [_work(name, tasks, throughput) for name, tasks in groups.items()], _work("all", left, throughput)


def cost_in_short(plan: Plan, done: Collection[str] = ()) -> str:
    """What is left, and the analysis that makes most of it, with its options that make it cheaper.

    Args:
        plan: the plan.
        done: keys of the tasks that need not run.
    """
    left = plan.graph.needed(done)
    whole = sum(task.cost for task in left)
    text = f"about {whole:,.0f} image passes"
    costs: dict[str, float] = {}
    for task in left:
        if isinstance(task.payload, Measurement):
            costs[task.payload.analysis] = costs.get(task.payload.analysis, 0.0) + task.cost
    name = max(costs, key=costs.__getitem__, default="")
    if not name or costs[name] <= whole / 2:
        return text
    known = type(plan.study.analyses[name]).model_fields
    sizes = " or ".join(f"--set analyses.{name}.{option}=N" for option in SIZES if option in known)
    cheaper = f"; fewer with {sizes}" if sizes else ""
    return f"{text}, {costs[name] / whole:.0%} of them {name}{cheaper}"


def on_devices(
    plan: Plan, throughput: float, device_counts: Sequence[int], done: Collection[str] = ()
) -> list[OnDevices]:
    """Time from start to end on each number of devices, and how busy they are; arguments as of `simulated_table`."""
    alone = simulate(plan.graph, 1, done)
    simulated = [simulate(plan.graph, count, done) for count in device_counts]
    return [
        OnDevices(
            num_devices=found.num_devices,
            seconds=seconds(found.makespan, throughput),
            speed_up=alone.makespan / found.makespan if found.makespan else None,
            busy=found.busy,
            limited_by="the longest chain" if found.makespan <= 1.05 * found.critical_path else "the devices",
        )
        for found in simulated
    ]


def cost_table(plan: Plan, throughput: float, done: Collection[str] = ()) -> Table:
    """Device-hours of what is left, by kind of training and by analysis.

    Args:
        plan: the plan.
        throughput: training images a second of one device.
        done: keys of the tasks that need not run.
    """
    work, whole = work_left(plan, throughput, done)
    table = Table(
        title=f"Estimated cost at {throughput:,.0f} training images/s a device", title_justify="left"
    )
    table.add_column("work")
    table.add_column("tasks", justify="right")
    table.add_column("image passes", justify="right")
    table.add_column("device-hours", justify="right")
    for one in work:
        table.add_row(*_figures(one))
    table.add_section()
    table.add_row(*_figures(whole))
    table.caption = f"in all about {duration(3600 * whole.device_hours)} of one device"
    table.caption_justify = "left"
    return table


def simulated_table(
    plan: Plan, throughput: float, device_counts: Sequence[int], done: Collection[str] = ()
) -> Table:
    """Time from start to end on each number of devices, and how busy they are.

    Args:
        plan: the plan.
        throughput: training images a second of one device.
        device_counts: numbers of devices.
        done: keys of the tasks that need not run.
    """
    table = Table(title="Simulated: one task a device, longest chain first", title_justify="left")
    for column in ("devices", "time", "speed-up", "busy", "limited by"):
        table.add_column(column, justify="right")
    for found in on_devices(plan, throughput, device_counts, done):
        table.add_row(
            str(found.num_devices),
            duration(found.seconds),
            f"{found.speed_up:.1f} x" if found.speed_up else "–",
            f"{found.busy:.0%}",
            found.limited_by,
        )
    chain = duration(seconds(simulate(plan.graph, 1, done).critical_path, throughput))
    table.caption = f"The longest chain of tasks takes {chain}: no number of devices gets below it."
    if any(task.num_workers > 1 for task in plan.graph):
        table.caption += " A training of num_workers N is taken to need N devices for 1/N of its time."
    return table


def seconds(passes: float, throughput: float) -> float:
    """Seconds of one device for so many image passes."""
    return passes / (PASSES_PER_TRAINED_IMAGE * throughput)


def _work(name: str, tasks: Sequence[Task], throughput: float) -> Work:
    passes = sum(task.cost for task in tasks)
    hours = seconds(passes, throughput) / 3600
    return Work(name=name, num_tasks=len(tasks), image_passes=passes, device_hours=hours)


def _figures(work: Work) -> tuple[str, str, str, str]:
    hours = work.device_hours
    told = f"< {LEAST_HOURS}" if 0 < hours < LEAST_HOURS else f"{hours:,.3g}"
    return unmarked(work.name), str(work.num_tasks), f"{work.image_passes:,.0f}", told
