"""`transferscope init`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

TEMPLATES = ", ".join(
    sorted(file.stem for file in (Path(__file__).parent.parent / "study/studies").glob("*.yaml"))
)


def command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The study file to write.")],
    template: Annotated[
        str,
        typer.Option("--template", metavar="NAME", help=f"A study that comes along, to copy: {TEMPLATES}."),
    ] = "own-data",
) -> None:
    """Write a commented study file to start from.

    Example: transferscope init study.yaml

    Example: transferscope init paper-domainnet.yaml --template paper-domainnet
    """
    from transferscope.study.templates import write_template

    write_template(file, template)
    typer.echo(f"wrote {file}; edit it, then: transferscope run {file} --out runs/first")
