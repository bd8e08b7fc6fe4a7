"""The answer, the advice and the claims as Markdown, for a model card or a pull request."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from transferscope.analyses.claims import Finding
from transferscope.report.console import marked
from transferscope.report.page import numbers
from transferscope.report.workspace import read_findings

_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~])")


def markdown(document: str) -> str:
    """A findings.json as Markdown: the answer, what to do, and a table of the claims that were measured.

    Args:
        document: the text of a findings.json.

    Raises:
        BadInput: another version wrote it.
    """
    findings, read = read_findings(document), json.loads(document)
    measured = [finding for finding in findings if finding.is_measured]
    title = read["study"] + (f" ({read['variant']})" if read["variant"] else "")
    answer = read["answer"]
    parts = [
        f"## {escaped(title)}",
        *(escaped(text) for text in answer["summary"] or answer["paragraphs"]),
        *(["### What to do", _advice(answer["advice"])] if answer["advice"] else []),
        *(["### Claims", _claims(measured)] if measured else []),
        f"{len(findings) - len(measured)} of {len(findings)} claims were not measured. Written by transferscope.",
    ]
    return "\n\n".join(parts) + "\n"


def escaped(text: str) -> str:
    """The text with nothing in it that Markdown takes for markup, in one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _advice(advice: Sequence[dict[str, str]]) -> str:
    return "\n".join(
        f"- {escaped(one['text'])} (evidence: {escaped(one['evidence'])}) {escaped(one['numbers'])}".rstrip()
        for one in advice
    )


def _claims(findings: Sequence[Finding]) -> str:
    """One row a claim: symbol, verdict and evidence, size, effect with its 95 % interval, and the seeds."""
    rows = [
        ("Claim", "Verdict (evidence)", "Size", "Effect (95 % interval)", "Seeds"),
        ("---", "---", "---", "---", "---"),
    ]
    for finding in findings:
        claim = finding.claim
        effect, interval = numbers.effect(finding.effect, finding.low, finding.high, unit=claim.unit)
        where = f" ({finding.targets_that_hold})" if finding.targets_that_hold else ""
        shown = " ".join(part for part in (effect, claim.unit, interval) if part)
        rows.append(
            (
                escaped(claim.statement + where),
                escaped(marked(finding)),
                finding.size,
                shown,
                str(finding.num_seeds),
            )
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
