"""tools/recompute.py, written from docs/findings.md alone, agrees with the analyses on made-up studies."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from file_modules import module_of
from planted_studies import TARGETS, all_planted, study

from transferscope.analyses.contract import all_claims, analysis_module
from transferscope.analyses.findings import adjusted
from transferscope.report.page.content import Answer
from transferscope.report.workspace import findings_document

PLANTED = all_planted()
PLAN: Any = SimpleNamespace(study=SimpleNamespace(name="planted", variant=None))
NO_STUDY: Any = None


@pytest.fixture(scope="module")
def recompute() -> ModuleType:
    return module_of(Path(__file__).parents[2] / "tools" / "recompute.py")


def test_every_claim_has_its_statistic(recompute: ModuleType) -> None:
    assert set(recompute.STATISTICS) == {claim.id for claim in all_claims()}


@pytest.mark.parametrize(("name", "num_seeds"), [("holds", 4), ("at the threshold", 2)])
@pytest.mark.parametrize("analysis", PLANTED)
def test_it_agrees(recompute: ModuleType, analysis: str, name: str, num_seeds: int) -> None:
    (scenario,) = (one for one in PLANTED[analysis].SCENARIOS if one.name == name)
    targets = [replace(target, images=0.5) for target in TARGETS[2:]]
    tables = study(scenario, np.random.default_rng(2), num_seeds, targets)
    findings = adjusted(list(analysis_module(analysis).findings(tables, NO_STUDY)))
    document = json.loads(findings_document(findings, PLAN, Answer(paragraphs=[], headlines=[])))
    assert recompute.differences(document["findings"], tables) == []
    measured = [entry for entry in document["findings"] if entry["num_seeds"]]
    measured[0]["effect"] += 0.01
    measured[0]["evidence"] = "certain"
    assert len(recompute.differences(document["findings"], tables)) == 2
