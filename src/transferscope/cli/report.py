"""Drawing again what was measured, for the screen and for a paper."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from transferscope.api.run import RunOptions, conclude
from transferscope.core.errors import BadInput
from transferscope.core.files import write_atomically
from transferscope.report.workspace import Workspace
from transferscope.study.plan import plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from transferscope.report.paper.publication import Format


def draw_report(
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
        formats: pdf, png or svg (text as paths): the figures so too, in the size of a paper's column.
        with_latex: the claims and the tables that are short enough in LaTeX too.
        as_json: print the findings as they stand in findings.json too.
        with_images: show test images, and keep them in the tables.
        console: where to print.

    Raises:
        BadInput: the folder holds no study, or can't be written to; or a format that there isn't.
    """
    from transferscope.execute.loop import Outcome

    chosen = _formats(formats)
    workspace = Workspace(out)
    the_plan = plan(workspace.study())
    workspace.discard_damaged(the_plan, "transferscope run computes it again", console)
    there = workspace.store.present(task.key for task in the_plan.graph)
    cached = [task for task in the_plan.graph if task.key in there]
    outcome = Outcome(cached=cached, not_run=workspace.missing(the_plan))
    options = RunOptions(out=out, device="cpu", images=with_images)
    exit_code = conclude(the_plan, workspace, outcome, options, console)
    _publish(workspace, chosen, with_latex, console)
    if as_json:
        print(workspace.findings_file.read_text(encoding="utf-8"), end="")
    return exit_code


def draw_comparison(a: Path, b: Path, out: Path, *, as_json: bool, console: Console) -> None:
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
            raise BadInput(f"--format {name}: unknown. Valid: {', '.join(FORMATS)}.")
    return [name for name in FORMATS if name in names]


def _publish(workspace: Workspace, formats: Sequence[Format], with_latex: bool, console: Console) -> None:
    """Write figures and tables for a paper beside those of the report."""
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
