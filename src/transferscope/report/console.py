"""What a run prints at its end."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from transferscope.analyses.claims import Finding, Mark, Result
from transferscope.execute.loop import Outcome

_COLORS: Mapping[Mark, str] = {"holds": "green", "does not hold": "red"}
_SYMBOLS: Mapping[Mark, str] = {
    "holds": "✓",
    "does not hold": "✗",
    "undecided": "?",
    "negligible": "≈",
    "not measurable": "–",
}


def marked(result: Result) -> str:
    """Symbol, verdict and evidence, such as ✓ holds (strong)."""
    return f"{_SYMBOLS[result.mark]} {result.standing}"


def print_findings(findings: Sequence[Finding], console: Console, over: str = "seed") -> None:
    """The verdicts on the claims that were measured as a table, and how many were not.

    Args:
        findings: of all claims.
        console: where to print.
        over: what intervals are over: a seed, or a network where these were given.
    """
    table = Table(title="Claims, and what this study says", title_justify="left")
    table.add_column("claim", ratio=1)
    table.add_column("verdict (evidence)", no_wrap=True)
    table.add_column("size", no_wrap=True)
    table.add_column("effect", justify="right", no_wrap=True)
    table.add_column("95 % interval", no_wrap=True)
    table.add_column(f"{over}s", justify="right")
    measured = [finding for finding in findings if finding.is_measured]
    for finding in measured:
        interval, sign = "–", "" if finding.claim.unit == "x" else "+"  # a ratio has no sign
        if math.isfinite(finding.low):
            interval = f"{finding.low:{sign}.3g} to {finding.high:{sign}.3g}"
        effect = f"{finding.effect:{sign}.3g}" if math.isfinite(finding.effect) else "–"
        claim = finding.claim.statement
        if finding.targets_that_hold and finding.verdict == "undecided":
            claim += f" ({finding.targets_that_hold})"
        words = Text(marked(finding), style=_COLORS.get(finding.mark, ""))
        table.add_row(claim, words, finding.size, effect, interval, str(finding.num_seeds))
    if measured:
        console.print(table)
    if missing := len(findings) - len(measured):
        console.print(
            f"{missing} of {len(findings)} claims were not measured: the study doesn't run or hold what they need; "
            "the report names it for each",
            soft_wrap=True,
        )


def print_outcome(outcome: Outcome, logs: Mapping[str, Path], console: Console) -> None:
    """How many tasks there were, and which failed or could not run, with the place of the log."""
    for failure in outcome.failed:
        console.print(
            f"failed: {failure.task.title}: {failure.reason}", style="red", highlight=False, markup=False
        )
        console.print(f"  log: {logs[failure.task.key]}", highlight=False, markup=False, soft_wrap=True)
    for task in outcome.not_run:
        console.print(f"not run: {task.title}", highlight=False, markup=False)
    console.print(
        f"{len(outcome.succeeded)} tasks succeeded, {len(outcome.cached)} were cached, "
        f"{len(outcome.failed)} failed, {len(outcome.not_run)} not run",
        highlight=False,
    )


def print_waiting(trained: Iterable[Mapping[str, Any]], console: Console) -> None:
    """How much of its time the training of this run waited for data; nothing where nothing was trained.

    Args:
        trained: what was noted with the results of the training runs.
    """
    noted = [(info["seconds"], info["data_share"]) for info in trained if info.get("data_share") is not None]
    seconds = sum(own for own, _ in noted)
    if seconds:
        share = sum(own * share for own, share in noted) / seconds
        console.print(f"training waited {share:.1%} of its time for data", highlight=False)


def print_notes(noted: Iterable[Mapping[str, Any]], console: Console) -> None:
    """What is worth saying of tasks that succeeded: one that went on after a stop, an evaluation in smaller batches.

    Args:
        noted: what was noted with their results.
    """
    for info in noted:
        for note in info.get("notes", ()):
            console.print(f"note: {info['title']}: {note}", highlight=False, markup=False, soft_wrap=True)
