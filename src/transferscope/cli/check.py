"""Whether all that a study has stored still is what was written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from transferscope.cli.console import EXIT_DONE, EXIT_FAILED
from transferscope.execute.store.local import Store
from transferscope.report.workspace import Workspace
from transferscope.study.plan import plan

if TYPE_CHECKING:
    from rich.console import Console


def check_results(out: Path, *, console: Console) -> int:
    """Read every stored file of a study on this machine, and name those that are damaged; nothing is changed.

    Returns:
        The exit code: 0, or 1 where a file is damaged.

    Raises:
        BadInput: there is no study in the folder.
    """
    store = Store(out / "store")
    there = [task for task in plan(Workspace(out).study()).graph if store.path(task.key).exists()]
    flaws = [(task.title, store.flaw(task.key)) for task in there]
    damaged = [(title, flaw) for title, flaw in flaws if flaw]
    for title, flaw in damaged:
        console.print(f"damaged: {title}: {flaw}", highlight=False, markup=False, soft_wrap=True)
    again = "; transferscope run computes again what it needs of them" if damaged else ""
    console.print(f"{len(there)} results looked at, {len(damaged)} damaged{again}", highlight=False)
    return EXIT_FAILED if damaged else EXIT_DONE
