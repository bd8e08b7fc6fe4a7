"""What lies in the --out folder of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from transferscope.core.config import Study
from transferscope.core.errors import BadInput
from transferscope.execute.store.local import Store
from transferscope.study.file import load_study
from transferscope.study.plan import Plan
from transferscope.study.task import Task

if TYPE_CHECKING:
    from rich.console import Console


def study_of_folder(out: Path) -> Study:
    """The study that was run into a folder.

    Raises:
        BadInput: there is none, or it can't be read.
    """
    path = out / "study.yaml"
    if not path.exists():
        raise BadInput(f"{out} holds no study: there is no study.yaml. Name the --out folder of a run.")
    return load_study(path)


def discard_damaged(plan: Plan, store: Store, consequence: str, console: Console) -> None:
    """Remove the damaged ones of a plan's results, and name each."""
    from transferscope.execute import damage

    for found in damage.discard_damaged(plan.graph, store):
        console.print(
            f"damaged: {found}; {consequence}", highlight=False, markup=False, soft_wrap=True, style="yellow"
        )


def missing_tasks(plan: Plan, store: Store) -> list[Task]:
    """The tasks that are still to run."""
    return plan.graph.needed(store.present(task.key for task in plan.graph))
