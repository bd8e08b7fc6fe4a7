"""A report as Markdown: what it holds, and that no text becomes markup."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from made_findings import made_finding

from transferscope.analyses.claims import not_measured
from transferscope.analyses.contract import Advice, all_claims
from transferscope.report.page.content import Answer
from transferscope.report.paper.markdown import escaped, markdown
from transferscope.report.workspace import findings_document

PLAN: Any = SimpleNamespace(study=SimpleNamespace(name="Cats | <b>dogs</b>", variant="quick"))
ADVICE = Advice(
    text="Start from the weights.",
    numbers="P-T .9, RI-T .7.",
    evidence="strong",
    why="p < .005",
    analysis="feature_reuse",
)


def test_it_has_the_answer_the_advice_and_the_measured_claims() -> None:
    claims = all_claims()
    held = made_finding(claims[0], "holds")
    findings = [held, not_measured(claims[1], "Not asked for.")]
    answer = Answer(paragraphs=["With numbers."], headlines=[], summary=["It helped."], advice=[ADVICE])
    lines = markdown(findings_document(findings, PLAN, answer)).splitlines()
    assert lines[0] == r"## Cats \| \<b\>dogs\</b\> (quick)"
    assert "It helped." in lines
    assert "With numbers." not in lines
    assert "- Start from the weights. (evidence: strong) P-T .9, RI-T .7." in lines
    (row,) = [line for line in lines if line.startswith(f"| {claims[0].statement[:20]}")]
    assert "✓ holds" in row
    assert row.count("|") == lines[lines.index("| --- | --- | --- | --- | --- |")].count("|")
    assert not any(claims[1].statement in line for line in lines)
    assert lines[-1] == "1 of 2 claims were not measured. Written by transferscope."


def test_without_a_summary_the_paragraphs_stand_there() -> None:
    text = markdown(findings_document([], PLAN, Answer(paragraphs=["Nothing was measured."], headlines=[])))
    assert "Nothing was measured." in text
    assert "###" not in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a|b", r"a\|b"),
        ("two\nlines", "two lines"),
        ("[x](javascript:1)", r"\[x\](javascript:1)"),
        ("_a_ *b* `c`", r"\_a\_ \*b\* \`c\`"),
        ("back\\slash", r"back\\slash"),
    ],
)
def test_no_text_is_markup(text: str, expected: str) -> None:
    assert escaped(text) == expected
