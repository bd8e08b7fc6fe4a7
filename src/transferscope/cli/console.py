"""Where commands print."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

LOG_WIDTH = 140
EXIT_DONE, EXIT_FAILED, EXIT_BAD_INPUT, EXIT_INTERRUPTED = 0, 1, 2, 130


def make_console(*, quiet: bool = False) -> Console:
    """The console of a terminal, or of a log: colours only on a terminal, and not where NO_COLOR is set.

    Args:
        quiet: print nothing.
    """
    from rich.console import Console

    console = Console(quiet=quiet)
    # a log has no width of its own
    return console if console.is_terminal else Console(quiet=quiet, width=LOG_WIDTH)


@contextmanager
def told_when_stopped(text: str) -> Iterator[None]:
    """Ctrl-C ends with 130 and a word: typer would end without one."""
    import typer

    try:
        yield
    except KeyboardInterrupt:
        print(f"\nstopped; {text}", file=sys.stderr)
        raise typer.Exit(EXIT_INTERRUPTED) from None


def unbuffer() -> None:
    """Lines appear when they are printed, in a log too."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)
