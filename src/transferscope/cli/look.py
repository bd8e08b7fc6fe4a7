"""Commands that look at a study: before, while and after it runs."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from transferscope.cli.app import app
from transferscope.cli.arguments import Device, Folder, Json, NoImages, Set, StoreUrl, StudyFile, Variant
from transferscope.cli.console import make_console, told_when_stopped
from transferscope.core.errors import BadInput


@app.command()
def plan(
    study: StudyFile,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Say what is cached there.")
    ] = None,
    store: StoreUrl = None,
    set_: Set = None,
    variant: Variant = None,
    throughput: Annotated[
        str | None,
        typer.Option(
            "--throughput",
            metavar="IMAGES/S",
            help="Training images a second of one device, or measure: adds the cost in device-hours.",
        ),
    ] = None,
    simulate: Annotated[
        bool, typer.Option("--simulate", help="Add the time that the study would take on so many devices.")
    ] = False,
    gpus: Annotated[
        str, typer.Option("--gpus", metavar="N,N,...", help="Numbers of devices for --simulate.")
    ] = "1,8,64,512",
    without_data: Annotated[
        bool,
        typer.Option(
            "--without-data",
            help="Take the official sizes of DomainNet, CheXpert and ImageNet where they aren't at hand.",
        ),
    ] = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Show what a study would run, and its cost.

    The tasks as a tree, which of them are cached, and the cost in image passes; --throughput measure turns these into
    hours of this machine.

    Example: transferscope plan study.yaml --out runs/first

    Example: transferscope plan study.yaml --throughput measure

    \b
    Example: transferscope plan study.yaml --throughput 2500 \\
        --simulate --gpus 1,8,64,512
    """
    from transferscope.cli.plan import show_plan
    from transferscope.core.datasets import assuming_official_data
    from transferscope.study.file import load_study

    with assuming_official_data() if without_data else nullcontext():
        show_plan(
            load_study(study, overrides=set_ or (), variant=variant),
            out,
            store_url=store,
            throughput=throughput,
            device_counts=gpus if simulate else None,
            device=device,
            as_json=as_json,
            console=make_console(),
        )


@app.command()
def status(
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
        from transferscope.cli.check import check_results

        raise typer.Exit(check_results(folder, console=make_console()))
    from transferscope.cli.status import follow as follow_run
    from transferscope.cli.status import show_status

    if follow and as_json:
        raise BadInput("--follow and --json: choose one of them.")
    if follow:
        with told_when_stopped("the run goes on"):
            raise typer.Exit(follow_run(folder, console=make_console()))
    show_status(folder, as_json=as_json, console=make_console())


@app.command()
def watch(
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
    from transferscope.cli.watch import watch as serve

    console = make_console()
    with told_when_stopped("the run goes on"):
        serve(folder, port=port, with_browser=console.is_terminal and not no_browser, console=console)


@app.command()
def report(
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="The --out folder of a run; none with --compare.")
    ] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            metavar="pdf|png|svg",
            help="Figures for a paper in this format, in the size of its column; repeatable.",
        ),
    ] = None,
    latex: Annotated[
        bool, typer.Option("--latex", help="Claims and short tables in LaTeX too (booktabs, longtable).")
    ] = False,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option("--compare", metavar="DIR DIR", help="Two runs side by side, in one HTML file."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="With --compare: where to; runs/compared by default."),
    ] = None,
    no_images: NoImages = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the findings as JSON; with --compare what differs.")
    ] = False,
) -> None:
    """Draw a report again, or compare two runs.

    Tables, findings, figures and report.html are made anew from the results in a folder. Nothing is trained, and
    nothing is measured.

    Example: transferscope report runs/first --format pdf --latex

    \b
    Example: transferscope report --compare runs/first runs/second \\
        --out runs/compared
    """
    from transferscope.cli.report import draw_comparison, draw_report

    if compare is not None:
        if folder is not None or formats or latex or no_images:
            raise BadInput("report --compare takes two folders, --out and --json, and nothing else.")
        draw_comparison(*compare, out or Path("runs/compared"), as_json=as_json, console=make_console())
        return
    if folder is None:
        raise BadInput("report: expected the --out folder of a run, as in: transferscope report runs/first")
    if out is not None:
        raise BadInput("report: --out goes with --compare; a report is written into the run's own folder.")
    console = make_console(quiet=as_json)
    exit_code = draw_report(
        folder,
        formats=formats or (),
        with_latex=latex,
        as_json=as_json,
        with_images=not no_images,
        console=console,
    )
    raise typer.Exit(exit_code)
