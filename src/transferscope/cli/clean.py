"""`transferscope clean`: cached results that no study refers to."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from transferscope.cli.arguments import Json
from transferscope.cli.console import make_console
from transferscope.core.errors import BadInput

if TYPE_CHECKING:
    from rich.console import Console

    from transferscope.cli.clean_shared import Unused
    from transferscope.execute.store.local import Store

STOPPED = "unfinished"
"""Kind of what a training left that was stopped."""


def command(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="The --out folder of a run, or one that holds some.")
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Remove what is shown.")] = False,
    as_json: Json = False,
) -> None:
    """Show or remove cached results of no study.

    Results that no study in the folder refers to any more are listed; with --yes they are removed.

    Example: transferscope clean runs

    Example: transferscope clean runs --yes
    """
    clean(folder, remove=yes, as_json=as_json, console=make_console())


def clean(folder: Path, *, remove: bool, as_json: bool = False, console: Console) -> None:
    """Show what lies in the results of a run, or of all runs below a folder, that their studies don't refer to.

    Where these runs share results in a folder, what no study that was run with it refers to is shown as well.

    Args:
        folder: the --out folder of a run, or a folder that holds some.
        remove: whether to remove it too.
        as_json: print it as one JSON document instead.
        console: where to print.

    Raises:
        BadInput: there is no run, a study can't be read, or a run is under way; nothing was removed then.
    """
    from transferscope.cli.clean_shared import unused_under, why_not
    from transferscope.execute.store.local import Store
    from transferscope.execute.store.remote import remembered_url
    from transferscope.study.file import load_study
    from transferscope.study.plan import plan

    studies = sorted(path for path in folder.rglob("study.yaml") if (path.parent / "store").is_dir())
    if not studies:
        raise BadInput(f"{folder} holds no run: there is no study.yaml beside a store. Name an --out folder.")
    with ExitStack() as stack:
        found: list[Unused] = []
        needed: dict[str, set[str]] = {}
        for path in studies:
            store = Store(path.parent / "store")
            stack.enter_context(store.unused())
            keys = {task.key for task in plan(load_study(path)).graph}
            found += _unused(path.parent, store, keys)
            url = remembered_url(store.root)
            if url is not None:
                needed.setdefault(url, set()).update(keys)
        for url, keys in sorted(needed.items()):
            found += unused_under(url, keys, stack)
        untouched = [reason for reason in map(why_not, sorted(needed)) if reason]
        if not as_json:
            _show(found, folder, console, removing=remove)
            for reason in untouched:
                console.print(reason, highlight=False, markup=False, soft_wrap=True)
        if remove:
            for each in found:
                each.remove()
    if as_json:
        print(_document(found, untouched, removed=remove))
    elif remove:
        console.print(f"removed {_total(found)}", highlight=False)


def _unused(run: Path, store: Store, keys: set[str]) -> list[Unused]:
    """Results and stopped trainings of a run that are none of these keys'."""
    from transferscope.cli.clean_shared import Unused
    from transferscope.execute.store.snapshot_folders import unfinished_trainings

    results = [
        Unused(
            place=str(run),
            kind=stored.kind,
            title=stored.title,
            num_bytes=stored.num_bytes,
            remove=partial(store.remove, stored.key),
        )
        for stored in store.unreferenced(keys)
    ]
    stopped = [
        Unused(
            place=str(run),
            kind=STOPPED,
            title=f"training {place.name[:16]}",
            num_bytes=size,
            remove=partial(shutil.rmtree, place),
        )
        for place, size in unfinished_trainings(store, keys).items()
    ]
    return [*results, *stopped]


def _show(found: Sequence[Unused], folder: Path, console: Console, *, removing: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(title="Results that no study here refers to", title_justify="left")
    for column in ("run", "kind", "result"):
        table.add_column(column)
    table.add_column("MB", justify="right")
    for each in found:
        # as text: titles of others' results may look like markup
        row = (each.place, each.kind, each.title, f"{each.num_bytes / 1e6:,.1f}")
        table.add_row(*map(Text, row))
    if found:
        console.print(table)
    if not removing:
        hint = f"; remove with: transferscope clean {folder} --yes" if found else ": nothing to remove"
        console.print(f"{_total(found)}{hint}", highlight=False, soft_wrap=True)


def _total(found: Sequence[Unused]) -> str:
    total = f"{len(found)} results, {sum(each.num_bytes for each in found) / 1e6:,.1f} MB"
    stopped = sum(each.kind == STOPPED for each in found)
    return f"{total}, {stopped} of them trainings that were stopped" if stopped else total


def _document(found: Sequence[Unused], untouched: Sequence[str], *, removed: bool) -> str:
    results = [
        {"run": each.place, "kind": each.kind, "title": each.title, "bytes": each.num_bytes} for each in found
    ]
    document = {
        "removed": removed,
        "bytes": sum(each.num_bytes for each in found),
        "results": results,
        "untouched": list(untouched),
    }
    return json.dumps(document, indent=1)
