"""`transferscope demo`."""

# No `from __future__ import annotations` here: `runs_a_study` hands the annotations of a function to typer.

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from transferscope.cli.arguments import Out
from transferscope.cli.run import runs_a_study

if TYPE_CHECKING:
    from transferscope.core.config import Study


@runs_a_study
def command(
    out: Out = Path("runs/demo"),
    quick: Annotated[
        bool, typer.Option("--quick", help="A smaller variant, in a third of the time.")
    ] = False,
) -> "tuple[Study, Path]":
    """Run the embedded study: offline, minutes on two cores.

    Example: transferscope demo

    Example: transferscope demo --quick --out runs/quick
    """
    from transferscope.study.file import load_study
    from transferscope.study.templates import embedded_study

    return load_study(embedded_study(), variant="quick" if quick else None), out
