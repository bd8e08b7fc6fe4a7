"""`transferscope watch`: a page that shows a run while it goes on."""

from __future__ import annotations

import threading
from typing import Annotated

import typer

from transferscope.cli.arguments import Folder
from transferscope.cli.console import make_console, told_when_stopped


def command(
    folder: Folder,
    port: Annotated[
        int,
        typer.Option(
            "--port", metavar="N", min=0, max=65535, help="Of this machine's loopback; a free one by default."
        ),
    ] = 0,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Print the address, and open nothing.")
    ] = False,
) -> None:
    """Show a run in the browser while it goes on.

    A page that fills in: tasks, curves, time left. Served to this machine only; Ctrl-C ends the page, not the run.

    Example: transferscope watch runs/first

    Example: transferscope watch runs/first --port 8080 --no-browser
    """
    import webbrowser

    from transferscope.cli.live.server import WatchServer
    from transferscope.cli.status import watcher_of

    console = make_console()
    with told_when_stopped("the run goes on"), WatchServer(watcher_of(folder), port) as server:
        console.print(
            f"watching {folder} at {server.url} (this machine only; Ctrl-C ends it)", highlight=False
        )
        if console.is_terminal and not no_browser:  # apart, as some browsers only return when they are closed
            threading.Thread(target=webbrowser.open, args=(server.url,), daemon=True).start()
        server.serve_forever(poll_interval=0.2)
