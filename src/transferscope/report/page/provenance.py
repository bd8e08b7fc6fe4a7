"""The provenance section of the page: versions, hardware, command, and the time of each task."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from transferscope.analyses.theme import draw
from transferscope.report.page import numbers
from transferscope.report.page.content import DrawnPanel

LONGEST_TASKS = 10
"""Tasks in the table of the longest."""
MAX_DRAWN = 500
"""Tasks in the chart, the longest first."""


def provenance_of(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """What the page's template needs of the provenance."""
    tasks: Sequence[Mapping[str, Any]] = provenance.get("tasks", [])
    by_kind: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for task in tasks:
        by_kind[str(task["kind"])].append(task)
    kinds = [
        {
            "kind": kind,
            "count": len(of_kind),
            "cached": sum(bool(task.get("cached")) for task in of_kind),
            "seconds": sum(task["seconds"] or 0.0 for task in of_kind),
        }
        for kind, of_kind in by_kind.items()
    ]
    by_time = sorted(tasks, key=lambda task: -(task["seconds"] or 0.0))
    return {
        "command": provenance.get("command", ""),
        "facts": _facts(provenance),
        "kinds": sorted(kinds, key=lambda kind: -kind["seconds"]),
        "seconds": sum(kind["seconds"] for kind in kinds),
        "longest": by_time[:LONGEST_TASKS],
        "chart": _chart(by_time),
    }


def _chart(tasks: Sequence[Mapping[str, Any]]) -> DrawnPanel | None:
    """A stroke a task: its kind and how long it took."""
    import altair as alt

    timed = [task for task in tasks if task["seconds"]][:MAX_DRAWN]
    if not timed:
        return None
    rows = pl.DataFrame(
        {
            "kind": [str(task["kind"]) for task in timed],
            "task": [str(task["title"]) for task in timed],
            "seconds": [float(task["seconds"]) for task in timed],
        }
    )
    totals = (
        rows.group_by("kind").agg(pl.col("seconds").sum()).sort(["seconds", "kind"], descending=[True, False])
    )
    chart = (
        alt.Chart(rows)
        .mark_tick(thickness=1.5, size=16, opacity=0.6)
        .encode(
            x=alt.X("seconds:Q", scale=alt.Scale(type="log", nice=False), title="seconds (logarithmic)"),
            y=alt.Y("kind:N", sort=totals["kind"].to_list(), title=None),
            detail="task:N",
        )
        .properties(height=90 + 26 * totals.height)
    )
    longest = f"the {MAX_DRAWN} longest tasks" if len(timed) == MAX_DRAWN else "every task"
    return DrawnPanel(
        name="time",
        title="Time per task",
        summary=f"A stroke for {longest}, by kind; the kind that took most in all is at the top.",
        svg=draw(chart),
    )


def _facts(provenance: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Lists of names and values: of the run, then one for each mapping."""
    rest = {name: value for name, value in provenance.items() if name not in ("command", "tasks")}
    lists = {name: value for name, value in rest.items() if isinstance(value, Mapping)}
    own = [(_spoken(name), _as_text(value)) for name, value in rest.items() if name not in lists]
    facts = [
        (_spoken(name), [(str(key), _as_text(part)) for key, part in value.items()])
        for name, value in lists.items()
    ]
    return [*([("this run", own)] if own else []), *facts]


def _spoken(name: str) -> str:
    return name.removeprefix("num_").replace("_", " ")


def _as_text(value: object) -> str:
    if value is None:
        return numbers.NOT_AVAILABLE
    if isinstance(value, float):
        return numbers.number(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_as_text(part) for part in value)
    return json.dumps(value, default=str, ensure_ascii=False) if isinstance(value, Mapping) else str(value)
