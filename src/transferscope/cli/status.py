"""`transferscope status`: how far a study has come, once or until its run ends, and whether its results are intact."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from transferscope.cli.arguments import Folder, Json
from transferscope.cli.console import EXIT_DONE, EXIT_FAILED, make_console, told_when_stopped
from transferscope.core.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from transferscope.cli.live.state import Snapshot, Watcher

EVERY_S = 1.0
"""How often a run that is followed is looked at."""
START_S = 2.0
"""How long nothing may be under way before it is believed: one process may follow another."""


def command(
    folder: Folder,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the run that is under way ends.")
    ] = False,
    as_json: Json = False,
    check: Annotated[
        bool, typer.Option("--check", help="Read every stored file, and name those that are damaged.")
    ] = False,
) -> None:
    """Show how far the study in a folder has come.

    Example: transferscope status runs/first

    Example: transferscope status runs/first --follow
    """
    if check:
        raise typer.Exit(check_results(folder, console=make_console()))
    if follow and as_json:
        raise BadInput("--follow and --json: choose one of them.")
    if follow:
        with told_when_stopped("the run goes on"):
            raise typer.Exit(_follow(folder, console=make_console()))
    show_status(folder, as_json=as_json, console=make_console())


def show_status(out: Path, *, as_json: bool = False, console: Console) -> None:
    """How far the study in a folder has come.

    Raises:
        BadInput: there is no study in it.
    """
    from transferscope.cli.plan_tree import plan_tree

    if as_json:
        from transferscope.cli.live.state import as_document

        console.file.write(json.dumps(as_document(watcher_of(out).look()), indent=1) + "\n")
        return
    from transferscope.report.workspace import Workspace
    from transferscope.study.plan import plan

    workspace = Workspace(out)
    the_plan = plan(workspace.study())
    console.print(plan_tree(the_plan, workspace.store))
    left, report = len(workspace.missing(the_plan)), workspace.report
    if left:
        command = "run" if the_plan.study.instances is None else "compare"
        console.print(
            f"{left} tasks to run; the command that started it goes on: transferscope {command} ... --out {out}"
        )
    elif report.exists():
        console.print(f"complete: {report}")
    else:
        console.print(f"all tasks are done; draw the report with: transferscope report {out}")


def _follow(out: Path, *, console: Console) -> int:
    """Say in short how a run goes, until it ends: in place on a terminal, a line for each change elsewhere.

    Returns:
        0 where nothing is left to run, else 1.

    Raises:
        BadInput: there is no study in the folder.
    """
    from transferscope.cli.live.state import short

    watcher = watcher_of(out)
    last = None
    if console.is_terminal:
        from rich.live import Live

        with Live(console=console, auto_refresh=False) as live:
            for last in _looks(watcher):
                live.update(_in_short(last), refresh=True)
    else:
        said = ""
        for last in _looks(watcher):
            counts = short(last, with_time_left=False)
            if counts != said:
                console.print(short(last), highlight=False, markup=False)
            said = counts
    return 0 if last is not None and last.is_complete else 1


def watcher_of(out: Path) -> Watcher:
    """What looks at a folder. Raises BadInput where there is no study in it."""
    from transferscope.cli.live.state import Watcher
    from transferscope.report.workspace import Workspace
    from transferscope.study.plan import plan

    return Watcher(out, lambda: plan(Workspace(out).study()))


def _looks(watcher: Watcher) -> Iterator[Snapshot]:
    """A snapshot every second until nothing is under way."""
    idle_since: float | None = None
    while True:
        snapshot = watcher.look()
        yield snapshot
        now = time.monotonic()
        idle_since = None if snapshot.is_running else (idle_since or now)
        if snapshot.is_complete or (idle_since is not None and now - idle_since >= START_S):
            return
        time.sleep(EVERY_S)


def _in_short(snapshot: Snapshot) -> str:
    from rich.markup import escape

    from transferscope.cli.live.state import short
    from transferscope.core.machine import duration

    lines = [f"[bold]{escape(snapshot.study)}[/bold]: {short(snapshot)}"]
    for one in snapshot.running:
        loss = "" if one.loss is None else f", loss {one.loss:.3g}"
        share = f"{one.share:4.0%}" if one.share else "   …"
        lines.append(f"  {share} {escape(one.title)}, {duration(one.seconds)}{loss}")
    for failed in snapshot.failed:
        told = escape(f"{failed['title']}: {failed['reason']}")
        lines.append(f"  [red]failed[/red] {told}")
    return "\n".join(lines)


def check_results(out: Path, *, console: Console) -> int:
    """Read every stored file of a study on this machine, and name those that are damaged; nothing is changed.

    Returns:
        The exit code: 0, or 1 where a file is damaged.

    Raises:
        BadInput: there is no study in the folder.
    """
    from transferscope.execute.store.local import Store
    from transferscope.report.workspace import Workspace
    from transferscope.study.plan import plan

    store = Store(out / "store")
    there = [task for task in plan(Workspace(out).study()).graph if store.path(task.key).exists()]
    flaws = [(task.title, store.flaw(task.key)) for task in there]
    damaged = [(title, flaw) for title, flaw in flaws if flaw]
    for title, flaw in damaged:
        console.print(f"damaged: {title}: {flaw}", highlight=False, markup=False, soft_wrap=True)
    again = "; transferscope run computes again what it needs of them" if damaged else ""
    console.print(f"{len(there)} results looked at, {len(damaged)} damaged{again}", highlight=False)
    return EXIT_FAILED if damaged else EXIT_DONE
