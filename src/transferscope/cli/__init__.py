"""The command line: parses and calls. Everything heavy is imported when a command runs.

A command is a function in one of the files here, registered with `app`.
"""

from __future__ import annotations

import sys

from transferscope.cli import compute, look, prepare  # in this order they stand in the help
from transferscope.cli.app import app
from transferscope.cli.console import EXIT_BAD_INPUT, unbuffer
from transferscope.core.errors import BadInput

__all__ = ["app", "compute", "look", "main", "prepare"]


def main() -> None:
    """Run the command line; the user's mistakes are told without a traceback."""
    unbuffer()
    try:
        app()
    except BadInput as error:
        for problem in error.problems:
            print(f"error: {problem}", file=sys.stderr)
        sys.exit(EXIT_BAD_INPUT)
