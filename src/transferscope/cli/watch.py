"""A page that shows a run while it goes on."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from transferscope.cli.status import watcher_of

if TYPE_CHECKING:
    from rich.console import Console


def watch(out: Path, *, port: int, with_browser: bool, console: Console) -> None:
    """Serve the page until Ctrl-C.

    Args:
        out: the --out folder of a run; whether one is under way or not.
        port: of the loopback; 0 for one that is free.
        with_browser: whether to open the page.
        console: where to print.

    Raises:
        BadInput: there is no study in the folder, or the port can't be had.
    """
    import webbrowser

    from transferscope.cli.live.server import WatchServer

    with WatchServer(watcher_of(out), port) as server:
        console.print(f"watching {out} at {server.url} (this machine only; Ctrl-C ends it)", highlight=False)
        if with_browser:  # apart, as some browsers only return when they are closed
            threading.Thread(target=webbrowser.open, args=(server.url,), daemon=True).start()
        server.serve_forever(poll_interval=0.2)
