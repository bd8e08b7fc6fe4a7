"""The register of the paper's claims."""

from __future__ import annotations

import math

import pytest

from transferscope.analysis import analysis_names
from transferscope.claims import BY_ID, CLAIMS
from transferscope.findings import Claim


def test_no_claim_stands_there_twice() -> None:
    assert len(BY_ID) == len(CLAIMS)
    assert len({claim.statement for claim in CLAIMS}) == len(CLAIMS)


def test_every_claim_has_its_analysis_and_every_analysis_a_claim() -> None:
    assert {claim.analysis for claim in CLAIMS} == set(analysis_names())


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
