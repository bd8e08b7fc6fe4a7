"""What a run prints at its end."""

from __future__ import annotations

import io

import pytest
from made_findings import made_finding
from rich.console import Console

from transferscope.analyses.claims import not_measured
from transferscope.analyses.contract import all_claims
from transferscope.report.console import print_findings, print_waiting

BY_ID = {claim.id: claim for claim in all_claims()}


@pytest.mark.parametrize(
    ("infos", "expected"),
    [
        ([{"seconds": 3.0, "data_share": 0.02}, {"seconds": 1.0, "data_share": 0.1}], "training waited 4.0%"),
        ([{"seconds": 3.0, "data_share": None}, {"seconds": 1.0}], ""),
        ([], ""),
    ],
)
def test_how_long_training_waited_for_data(infos: list[dict[str, float]], expected: str) -> None:
    out = io.StringIO()
    print_waiting(infos, Console(file=out))
    assert out.getvalue().startswith(expected)
    assert bool(out.getvalue()) == bool(expected)


def test_claims_that_were_not_measured_are_counted_and_a_ratio_has_no_sign() -> None:
    close = made_finding(
        claim=BY_ID["p_t_are_close"],
        verdict="holds",
        effect=0.358,
        low=0.256,
        high=0.46,
        num_seeds=3,
        num_images=0,
    )
    missing = not_measured(BY_ID["later_checkpoints_are_better"], "The study does not run checkpoints.")
    out = io.StringIO()
    print_findings([close, missing], Console(file=out, width=140))
    said = out.getvalue()
    assert " 0.358 " in said
    assert "0.256 to 0.46" in said
    assert "+" not in said
    assert missing.claim.statement not in said
    assert "1 of 2 claims were not measured" in said
    assert " seeds " in said


def test_networks_that_were_given_are_counted_as_such() -> None:
    claim = BY_ID["p_t_are_close"]
    close = made_finding(
        claim=claim, verdict="holds", effect=0.3, low=0.2, high=0.4, num_seeds=3, num_images=0
    )
    out = io.StringIO()
    print_findings([close], Console(file=out, width=140), "network")
    assert " networks " in out.getvalue()
    assert "seed" not in out.getvalue()
