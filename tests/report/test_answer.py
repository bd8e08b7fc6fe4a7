"""The first page: what no analysis says there, and how many claims hold."""

from __future__ import annotations

from pathlib import Path

import tiny
from first_page import on_page
from made_findings import made_finding

from transferscope.analyses.claims import Verdict, not_measured
from transferscope.analyses.contract import all_claims
from transferscope.report.answer import _tally

CLAIMS = all_claims()


def test_nothing_measured_is_said() -> None:
    made = on_page({})
    assert made.paragraphs == [
        "Nothing was measured that says what transfer gave.",
        "No claim was tested, from 3 seeds a kind.",
    ]
    assert (list(made.headlines), list(made.advice)) == ([], [])


def test_networks_that_failed_to_train_come_first() -> None:
    failed = "near: 1 training failed: P-T near seed 2 (near chance, 0.120 where chance is 0.100)."
    assert on_page({}, failed=[failed]).summary == [failed]


def test_claims_of_the_paper_and_our_own_are_counted_apart() -> None:
    findings = [not_measured(claim, "not run") for claim in CLAIMS]
    own = sum(claim.origin == "transferscope" for claim in CLAIMS)
    last = on_page({}, findings=findings).paragraphs[-1]
    papers = len(CLAIMS) - own
    counts = f"0 hold, 0 do not hold, 0 are undecided and {papers} were not measured"
    assert f"Of the paper's {papers} claims, {counts}" in last
    assert f"of this tool's own {own} claims, 0 hold" in last


def test_counts_of_claims_are_in_the_number_that_grammar_asks_for() -> None:
    paper = [claim for claim in CLAIMS if claim.origin == "paper"][:3]
    verdicts: tuple[Verdict, ...] = ("holds", "does not hold", "undecided")
    findings = [made_finding(claim, verdict) for claim, verdict in zip(paper, verdicts, strict=True)]
    last = on_page({}, findings=findings).paragraphs[-1]
    assert (
        last == "Of the paper's 3 claims, 1 holds, 1 does not hold and 1 is undecided, from 3 seeds a kind."
    )


def test_the_seeds_are_those_that_analyses_use(tmp_path: Path) -> None:
    study = tiny.study(tmp_path, "mistakes", "barriers", seeds=[0, 1, 2, 3])
    analyses = {**study.analyses, "barriers": study.analyses["barriers"].model_copy(update={"seeds": 2})}
    assert _tally(study, []).endswith("from 4 seeds a kind.")
    assert _tally(study.model_copy(update={"analyses": analyses}), []).endswith("from 2 to 4 seeds a kind.")
