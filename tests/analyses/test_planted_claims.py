"""Claims on studies whose truth is known: how often each verdict is right, through the analyses' own statistics.

At its threshold a claim must be said to hold, and not to hold, in at most 3 % of studies; tools/simulate_claims.py
draws many. Here are few: above 5 of 40 is one test run in a thousand at 3 %, and nearly every one at 25 %.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pytest
from planted_studies import TARGETS, Scenario, all_planted, study

from transferscope.analyses.claims import Finding
from transferscope.analyses.contract import all_claims, analysis_module

CLAIMS = all_claims()
PLANTED = all_planted()
SCENARIOS = [(name, scenario) for name, module in PLANTED.items() for scenario in module.SCENARIOS]

STUDIES = 40
AT_MOST = 5
CLEAR_STUDIES = 8
"""Enough where the truth is far from the threshold."""
NUM_SEEDS, CLEAR_SEEDS = 3, 6
NO_STUDY: Any = None

every_scenario = pytest.mark.parametrize(
    ("analysis", "scenario"), SCENARIOS, ids=[f"{name}-{scenario.name}" for name, scenario in SCENARIOS]
)


def findings(analysis: str, tables: Any) -> list[Finding]:
    return list(analysis_module(analysis).findings(tables, NO_STUDY))


@every_scenario
def test_verdicts_are_right_as_often_as_is_said(analysis: str, scenario: Scenario) -> None:
    is_near = bool({"at the threshold", "not favoured"} & set(scenario.truths.values()))
    rng, studies = np.random.default_rng(11), STUDIES if is_near else CLEAR_STUDIES
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    num_seeds = NUM_SEEDS if is_near else CLEAR_SEEDS
    for _ in range(studies):
        for found in findings(analysis, study(scenario, rng, num_seeds, TARGETS[::3])):
            counts[found.claim.id][found.verdict] += 1
            assert (found.verdict != "undecided") == (found.p_value < 0.025)
    for claim, truth in scenario.truths.items():
        count = counts[claim]
        match truth:
            case "holds" | "does not hold":
                assert count[truth] >= 0.85 * studies, (claim, count)
            case "no claim":
                assert count["undecided"] == studies, (claim, count)
            case "at the threshold" | "not favoured":
                assert count["holds"] <= AT_MOST, (claim, count)
                if truth == "at the threshold":
                    assert count["does not hold"] <= AT_MOST, (claim, count)


@every_scenario
def test_two_seeds_decide_nothing(analysis: str, scenario: Scenario) -> None:
    for found in findings(analysis, study(scenario, np.random.default_rng(5), 2)):
        assert found.verdict == "undecided", found
        assert all(one.verdict == "undecided" for one in found.targets)
        assert math.isnan(found.p_value)
        assert found.note


@every_scenario
def test_images_are_named_where_test_images_decide(analysis: str, scenario: Scenario) -> None:
    for found in findings(analysis, study(scenario, np.random.default_rng(5), NUM_SEEDS)):
        rests_on_images = found.claim.id not in getattr(PLANTED[analysis], "WITHOUT_TEST_IMAGES", ())
        assert not found.is_measured or (found.num_images > 0) == rests_on_images, found.claim.id


@every_scenario
def test_seeds_without_a_difference_decide_nothing(analysis: str, scenario: Scenario) -> None:
    for found in findings(analysis, study(scenario, np.random.default_rng(5), NUM_SEEDS, scale=0.0)):
        assert math.isnan(found.low)
        assert found.note
        assert found.verdict == "undecided", found
        assert math.isnan(found.p_value)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
@pytest.mark.parametrize("truth", ["at the threshold", "holds", "does not hold"])
def test_every_claim_is_planted(claim: Any, truth: str) -> None:
    """A claim that is added needs a study in which it is true, one in which it is not, and one in between."""
    scenarios = [one for one in PLANTED[claim.analysis].SCENARIOS if one.truths.get(claim.id) == truth]
    assert scenarios, (
        f"tests/analyses/{claim.analysis}/planted.py has no scenario where {claim.id} is: {truth}"
    )


def test_scenarios_speak_of_claims_that_exist() -> None:
    spoken_of = {(name, claim) for name, scenario in SCENARIOS for claim in scenario.truths}
    assert spoken_of <= {(claim.analysis, claim.id) for claim in CLAIMS}
