"""How far a study has come."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from transferscope.commands.place import missing_tasks, study_of_folder
from transferscope.plan import plan
from transferscope.remote_store import open_store

if TYPE_CHECKING:
    from rich.console import Console


def show_status(out: Path, *, console: Console) -> None:
    """How far the study in a folder has come."""
    from transferscope.plan_tree import plan_tree

    the_plan = plan(study_of_folder(out))
    store = open_store(out / "store")
    console.print(plan_tree(the_plan, store))
    left = len(missing_tasks(the_plan, store))
    report = out / "report.html"
    if left:
        console.print(
            f"{left} tasks to run; the command that started it goes on: transferscope run ... --out {out}"
        )
    elif report.exists():
        console.print(f"complete: {report}")
    else:
        console.print(f"all tasks are done; draw the report with: transferscope report {out}")
