"""What a plan costs, in device-hours, and how long it would take on so many devices; as tables to print."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rich.table import Table

from transferscope.errors import unmarked
from transferscope.execute.simulate import devices_at_once, simulate
from transferscope.plan import Plan
from transferscope.plan_tree import grouped
from transferscope.progress import duration
from transferscope.task import Measurement, Task

LEAST_HOURS = 0.001
"""Less is not told apart: seconds."""
PASSES_PER_TRAINED_IMAGE = 3
"""Forward, and backward counted as two; see `Task.cost`."""


def cost_table(plan: Plan, throughput: float, done: Collection[str] = ()) -> Table:
    """Device-hours of what is left, by kind of training and by analysis.

    Args:
        plan: the plan.
        throughput: training images a second of one device.
        done: keys of the tasks that need not run.
    """
    left = plan.graph.needed(done)
    table = Table(
        title=f"Estimated cost at {throughput:,.0f} training images/s a device", title_justify="left"
    )
    table.add_column("work")
    table.add_column("tasks", justify="right")
    table.add_column("image passes", justify="right")
    table.add_column("device-hours", justify="right")
    groups = grouped(left)
    for task in left:
        if isinstance(task.payload, Measurement):
            groups.setdefault(f"measure {task.payload.analysis}", []).append(task)
    for name, tasks in groups.items():
        table.add_row(unmarked(name), *_figures(tasks, throughput))
    table.add_section()
    table.add_row("all", *_figures(left, throughput))
    table.caption = (
        f"in all about {duration(seconds(sum(task.cost for task in left), throughput))} of one device"
    )
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
    alone = simulate(plan.graph, 1, done)
    for count in device_counts:
        found = simulate(plan.graph, count, done)
        limit = "the longest chain" if found.makespan <= 1.05 * found.critical_path else "the devices"
        table.add_row(
            str(count),
            duration(seconds(found.makespan, throughput)),
            f"{alone.makespan / found.makespan:.1f} x" if found.makespan else "–",
            f"{found.busy:.0%}",
            limit,
        )
    chain = duration(seconds(alone.critical_path, throughput))
    table.caption = f"The longest chain of tasks takes {chain}: no number of devices gets below it."
    if any(devices_at_once(task) > 1 for task in plan.graph):
        table.caption += " A training of num_workers N is taken to need N devices for 1/N of its time."
    return table


def seconds(passes: float, throughput: float) -> float:
    """Seconds of one device for so many image passes."""
    return passes / (PASSES_PER_TRAINED_IMAGE * throughput)


def _figures(tasks: Sequence[Task], throughput: float) -> tuple[str, str, str]:
    passes = sum(task.cost for task in tasks)
    hours = seconds(passes, throughput) / 3600
    told = f"< {LEAST_HOURS}" if 0 < hours < LEAST_HOURS else f"{hours:,.3g}"
    return str(len(tasks)), f"{passes:,.0f}", told
