"""The register of the paper's claims."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from transferscope.analyses.claims import Claim
from transferscope.analyses.contract import all_claims, analysis_module, analysis_names

CLAIMS = all_claims()
BY_ID = {claim.id: claim for claim in CLAIMS}

DOCS = Path(__file__).parents[2] / "docs"
PAGES = [DOCS / "findings.md", *DOCS.glob("analyses/*.md")]


def test_no_claim_stands_there_twice() -> None:
    assert len(BY_ID) == len(CLAIMS)
    assert len({claim.statement for claim in CLAIMS}) == len(CLAIMS)


def test_every_claim_names_the_analysis_that_holds_it() -> None:
    for name in analysis_names():
        assert all(claim.analysis == name for claim in getattr(analysis_module(name), "CLAIMS", ()))


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_a_claim_stands_in_the_documentation_as_it_is_tested(claim: Claim) -> None:
    sign = ">" if claim.side == "above" else "<"
    lines = [line for page in PAGES for line in page.read_text().splitlines()]
    rows = [line for line in lines if line.startswith(f"| `{claim.id}` |")]
    assert len(rows) == 1
    assert f"| {claim.statistic} {sign} {claim.threshold:g} |" in rows[0]


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_a_claim_says_all_that_a_reader_needs(claim: Claim) -> None:
    assert claim.id.isidentifier()
    assert claim.id == claim.id.lower()
    assert claim.statement[0].isupper()
    assert claim.statement.endswith(".")
    assert claim.statistic
    assert claim.reason
    assert math.isfinite(claim.threshold)
    assert claim.side in ("above", "below")
