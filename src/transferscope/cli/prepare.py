"""Commands before and after a study: its file, its data, its cache."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from transferscope.cli.app import app, data_app
from transferscope.cli.arguments import Device, Json
from transferscope.cli.console import make_console

TEMPLATES = ", ".join(
    sorted(file.stem for file in (Path(__file__).parent.parent / "study/studies").glob("*.yaml"))
)


@app.command()
def clean(
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
    from transferscope.cli.clean import clean as clean_up

    clean_up(folder, remove=yes, as_json=as_json, console=make_console())


@app.command()
def init(
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


@data_app.command("check")
def data_check(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATASET",
            help="NAME, NAME:PATH (imagefolder:photos), or a study file: all of its data sets.",
        ),
    ],
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Override an option, e.g. image_size_px=64; repeatable."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="PNG", help="The contact sheet to write; DATASET-sheet.png by default."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Count, check and draw the images of a data set.

    Says what the data set holds and what is wrong with it, and draws its images by class. Ends with 2 where a study of
    these data would stop at images that can't be used.

    \b
    Example: transferscope data check imagefolder:photos \\
        --set image_size_px=64 --out photos.png
    """
    from transferscope.cli.data_check import check_data

    raise typer.Exit(check_data(data, set_ or (), out, as_json=as_json, console=make_console()))


@app.command()
def doctor(
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where a run would write to; nothing is left there.")
    ] = Path("runs"),
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Check this machine, in about 10 seconds.

    Says what is installed and whether results can be kept, and computes numbers that are known. Ends with 1 where
    something is wrong: a library is missing or too old, results can't be kept, a number is off.

    Example: transferscope doctor

    Example: transferscope doctor --out /data/runs --json
    """
    from transferscope.cli.doctor_command import examine

    raise typer.Exit(examine(out, device=device, as_json=as_json, console=make_console()))
