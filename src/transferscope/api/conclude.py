"""After the tasks: what is written for people, and what is said."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from transferscope.core.files import write_atomically
from transferscope.study.plan import Plan

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from transferscope.analyses.findings import Finding
    from transferscope.execute.loop import Outcome
    from transferscope.report.workspace import Workspace

EXIT_DONE, EXIT_FAILED = 0, 1


def conclude(
    the_plan: Plan,
    workspace: Workspace,
    outcome: Outcome,
    num_workers: int,
    device: str,
    console: Console,
    *,
    with_images: bool = True,
) -> int:
    import json

    from transferscope.execute.progress.terminal import drawing
    from transferscope.report.workspace import outputs_key, provenance
    from transferscope.report.write import write_outputs

    with workspace.writing():
        logs = workspace.write_logs(outcome.failed)
        origin: dict[str, Any] = provenance(
            the_plan, workspace.store, outcome, num_workers=num_workers, device=device
        )
        write_atomically(workspace.provenance_file, json.dumps(origin, indent=1) + "\n")
        with drawing(console) as on_progress:
            written = write_outputs(the_plan, workspace, origin, on_progress, with_images=with_images)
        if outcome.complete:
            # last, so that a run that was stopped while it drew draws again
            origin |= {
                "outputs_key": outputs_key(the_plan, with_images=with_images),
                "outputs": workspace.outputs(),
            }
            write_atomically(workspace.provenance_file, json.dumps(origin, indent=1) + "\n")
    return tell(the_plan, written.findings, outcome, logs, workspace, console)


def tell(
    the_plan: Plan,
    findings: Sequence[Finding],
    outcome: Outcome,
    logs: Mapping[str, Path],
    workspace: Workspace,
    console: Console,
) -> int:
    """Print the findings, how the tasks ended, and where the report is; the exit code."""
    from rich.console import Console

    from transferscope.report.console import print_findings, print_notes, print_outcome, print_waiting
    from transferscope.report.given_names import counted

    print_findings(findings, console, counted(the_plan.study.instances))
    if console.quiet and not outcome.complete:
        print_outcome(outcome, logs, Console(stderr=True, width=console.width))
    print_outcome(outcome, logs, console)
    infos = [workspace.store.info(task.key) for task in outcome.succeeded]
    print_notes(infos, console)
    print_waiting((info for info in infos if info["kind"] == "train"), console)
    console.print(f"report: {workspace.report}", highlight=False, soft_wrap=True)
    return EXIT_DONE if outcome.complete else EXIT_FAILED
