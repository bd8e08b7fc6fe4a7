"""The command line: parses and calls. Everything heavy is imported when a command runs.

Each file holds one command, `command`: its options, its help, and what it prints.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from transferscope import __version__
from transferscope.cli import (
    average,
    clean,
    compare,
    data_check,
    demo,
    init,
    plan,
    report,
    run,
    status,
    watch,
)
from transferscope.cli.console import EXIT_BAD_INPUT, unbuffer
from transferscope.cli.doctor import command as doctor
from transferscope.core.errors import BadInput

__all__ = ["app", "main"]

HELP = """What did the pre-trained weights give you, and where in the network does it sit?

Begin with `transferscope demo --quick`: a small study on data that come along, offline, in a minute or two. With your
own data: init, plan, run. With networks that are trained already: compare.
"""
EPILOG = "transferscope COMMAND --help has the options of a command, with examples to copy."
COMMANDS = {
    "run": run,
    "demo": demo,
    "compare": compare,
    "average": average,
    "plan": plan,
    "status": status,
    "watch": watch,
    "report": report,
    "clean": clean,
    "init": init,
    "doctor": doctor,
}
"""In this order they stand in the help."""

app = typer.Typer(
    name="transferscope",
    help=HELP,
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
    rich_markup_mode=None,  # laid out by rich, help would take four times as long as all else that it takes
)
for _name, _file in COMMANDS.items():
    app.command(_name)(_file.command)

data_app = typer.Typer(help="Look at data before anything is trained on them.", no_args_is_help=True)
data_app.command("check")(data_check.command)
app.add_typer(data_app, name="data")


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line; the user's mistakes are told without a traceback."""
    unbuffer()
    try:
        app()
    except BadInput as error:
        for problem in error.problems:
            print(f"error: {problem}", file=sys.stderr)
        sys.exit(EXIT_BAD_INPUT)
