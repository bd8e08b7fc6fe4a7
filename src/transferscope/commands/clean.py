"""Removing cached results that no study refers to."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from transferscope.errors import BadInput
from transferscope.plan import plan
from transferscope.store import Store
from transferscope.study_file import load_study

if TYPE_CHECKING:
    from rich.console import Console


def clean(folder: Path, *, remove: bool, console: Console) -> None:
    """Show what lies in the results of a run, or of all runs below a folder, that their studies don't refer to.

    Args:
        folder: the --out folder of a run, or a folder that holds some.
        remove: whether to remove it too.
        console: where to print.

    Raises:
        BadInput: there is no run, a study can't be read, or a run is under way; nothing was removed then.
    """
    from contextlib import ExitStack

    from rich.table import Table

    from transferscope.execute.snapshot_folders import unfinished_trainings

    studies = sorted(path for path in folder.rglob("study.yaml") if (path.parent / "store").is_dir())
    if not studies:
        raise BadInput(f"{folder} holds no run: there is no study.yaml beside a store. Name an --out folder.")
    table = Table(title="Results that no study here refers to", title_justify="left")
    for column in ("run", "kind", "result"):
        table.add_column(column)
    table.add_column("MB", justify="right")
    with ExitStack() as stack:
        found, left = [], []
        for path in studies:
            store = Store(path.parent / "store")
            stack.enter_context(store.unused())
            keys = {task.key for task in plan(load_study(path)).graph}
            found += [(path.parent, store, stored) for stored in store.unreferenced(keys)]
            left += [(path.parent, *one) for one in unfinished_trainings(store, keys).items()]
        for run, _, stored in found:
            table.add_row(str(run), stored.kind, stored.title, f"{stored.num_bytes / 1e6:,.1f}")
        for run, place, size in left:
            table.add_row(str(run), "unfinished", f"training {place.name[:16]}", f"{size / 1e6:,.1f}")
        if found or left:
            console.print(table)
        size = sum(stored.num_bytes for *_, stored in found) + sum(size for *_, size in left)
        total = f"{len(found) + len(left)} results, {size / 1e6:,.1f} MB"
        if left:
            total += f", {len(left)} of them trainings that were stopped"
        if not remove:
            hint = (
                f"; remove with: transferscope clean {folder} --yes"
                if found or left
                else ": nothing to remove"
            )
            console.print(f"{total}{hint}", highlight=False, soft_wrap=True)
            return
        for _, store, stored in found:
            store.remove(stored.key)
        for _, place, _ in left:
            shutil.rmtree(place)
        console.print(f"removed {total}", highlight=False)
