"""`transferscope report`: what was measured, drawn again for the screen and for a paper."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from transferscope.cli.arguments import NoImages
from transferscope.cli.console import make_console
from transferscope.core.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from transferscope.report.paper.publication import Format
    from transferscope.report.workspace import Workspace


MARKDOWN = "md"


def command(
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="The --out folder of a run; none with --compare.")
    ] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            metavar="pdf|png|svg|md",
            help="Figures for a paper in this format, in the size of its column; or md: the answer, the advice and the "
            "claims as Markdown, in report.md. Repeatable.",
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
    if compare is not None:
        if folder is not None or formats or latex or no_images:
            raise BadInput("report --compare takes two folders, --out and --json, and nothing else.")
        _draw_comparison(*compare, out or Path("runs/compared"), as_json=as_json, console=make_console())
        return
    if folder is None:
        raise BadInput("report: expected the --out folder of a run, as in: transferscope report runs/first")
    if out is not None:
        raise BadInput("report: --out goes with --compare; a report is written into the run's own folder.")
    console = make_console(quiet=as_json)
    exit_code = _draw_report(
        folder,
        formats=formats or (),
        with_latex=latex,
        as_json=as_json,
        with_images=not no_images,
        console=console,
    )
    raise typer.Exit(exit_code)


def _draw_report(
    out: Path,
    *,
    formats: Sequence[str] = (),
    with_latex: bool = False,
    as_json: bool = False,
    with_images: bool = True,
    console: Console,
) -> int:
    """Draw tables, findings, figures and report again from the results that there are.

    Args:
        out: folder of a run.
        formats: pdf, png or svg (text as paths): the figures so too, in the size of a paper's column; md: the answer,
            the advice and the claims as Markdown.
        with_latex: the claims and the tables that are short enough in LaTeX too.
        as_json: print the findings as they stand in findings.json too.
        with_images: show test images, and keep them in the tables.
        console: where to print.

    Raises:
        BadInput: the folder holds no study, or can't be written to; or a format that there isn't.
    """
    from transferscope.api.run import RunOptions, conclude
    from transferscope.execute.loop import Outcome
    from transferscope.report.workspace import Workspace
    from transferscope.study.plan import plan

    chosen = _formats([name for name in formats if name != MARKDOWN])
    workspace = Workspace(out)
    the_plan = plan(workspace.study())
    workspace.discard_damaged(the_plan, "transferscope run computes it again", console)
    there = workspace.store.present(task.key for task in the_plan.graph)
    cached = [task for task in the_plan.graph if task.key in there]
    if not cached and workspace.report.exists():
        raise BadInput(_made_otherwise(workspace))
    outcome = Outcome(cached=cached, not_run=workspace.missing(the_plan))
    options = RunOptions(out=out, device="cpu", images=with_images)
    exit_code = conclude(the_plan, workspace, outcome, options, console)
    _publish(workspace, chosen, with_latex, console)
    if MARKDOWN in formats:
        _write_markdown(workspace, console)
    if as_json:
        print(workspace.findings_file.read_text(encoding="utf-8"), end="")
    return exit_code


def _made_otherwise(workspace: Workspace) -> str:
    """The message where a folder has a report, and nothing of what this version would draw it from."""
    from transferscope import __version__

    versions = {}
    if workspace.provenance_file.exists():
        versions = json.loads(workspace.provenance_file.read_text(encoding="utf-8")).get("versions", {})
    version = versions.get("transferscope", "(unknown version)")
    return (
        f"{workspace.root} holds no result of its study as transferscope {__version__} computes it, and the report "
        f"there was written by transferscope {version}. Nothing was changed. Read "
        f"{workspace.report.name} as it is, or compute the results anew into another folder: transferscope run "
        f"{workspace.root / 'study.yaml'} --out NEW_DIR"
    )


def _draw_comparison(a: Path, b: Path, out: Path, *, as_json: bool, console: Console) -> None:
    """Write the page and the tables of two studies side by side.

    Args:
        a, b: folders of two runs.
        out: folder to write to.
        as_json: print what was found as JSON instead of where it is.
        console: where to print.

    Raises:
        BadInput: one of them is no finished run.
    """
    from transferscope.api.compare_studies import DOCUMENT, compare_studies

    found = compare_studies(a, b, out=out)
    if as_json:
        print((out / DOCUMENT).read_text(encoding="utf-8"), end="")
        return
    for line in found.warnings:
        console.print(f"before you compare: {line}", highlight=False, soft_wrap=True)
    counts = found.claims["verdict"].value_counts(sort=True).rows()
    verdicts = ", ".join(f"{count} {name}" for name, count in counts)
    console.print(f"verdicts of the claims: {verdicts}", highlight=False, soft_wrap=True)
    console.print(f"side by side: {found.report}", highlight=False, soft_wrap=True)


def _formats(names: Sequence[str]) -> list[Format]:
    from transferscope.report.paper.publication import FORMATS

    for name in names:
        if name not in FORMATS:
            raise BadInput(f"--format {name}: unknown. Valid: {', '.join((*FORMATS, MARKDOWN))}.")
    return [name for name in FORMATS if name in names]


def _write_markdown(workspace: Workspace, console: Console) -> None:
    from transferscope.core.files import write_atomically
    from transferscope.report.paper.markdown import markdown

    path = workspace.root / "report.md"
    with workspace.writing():
        write_atomically(path, markdown(workspace.findings_file.read_text(encoding="utf-8")))
    console.print(f"for a model card: {path}", highlight=False, soft_wrap=True)


def _publish(workspace: Workspace, formats: Sequence[Format], with_latex: bool, console: Console) -> None:
    """Write figures and tables for a paper beside those of the report."""
    from transferscope.core.files import write_atomically
    from transferscope.report.paper.publication import figures_in, tables_in
    from transferscope.report.workspace import read_findings

    written: list[Path] = []
    with workspace.writing():
        for path, data in figures_in(workspace.root / "figures", formats):
            write_atomically(path, data)
            written.append(path)
        if with_latex:
            findings = read_findings(workspace.findings_file.read_text())
            for path, text in tables_in(workspace.root / "tables", findings):
                write_atomically(path, text)
                written.append(path)
    if written:
        folders = sorted({f"{path.parent}/*{path.suffix}" for path in written})
        console.print(
            f"for a paper: {len(written)} files, {', '.join(folders)}", highlight=False, soft_wrap=True
        )
