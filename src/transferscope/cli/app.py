"""The application that the commands register with."""

from __future__ import annotations

from typing import Annotated

import typer

from transferscope import __version__

HELP = """What did the pre-trained weights give you, and where in the network does it sit?

Begin with `transferscope demo --quick`: a small study on data that come along, offline, in a minute or two. With your
own data: init, plan, run. With networks that are trained already: compare.
"""
EPILOG = "transferscope COMMAND --help has the options of a command, with examples to copy."

app = typer.Typer(
    name="transferscope",
    help=HELP,
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
    rich_markup_mode=None,  # laid out by rich, help would take four times as long as all else that it takes
)

data_app = typer.Typer(help="Look at data before anything is trained on them.", no_args_is_help=True)
app.add_typer(data_app, name="data")


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit
