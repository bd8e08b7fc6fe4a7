"""What is drawn is not drawn again while nothing changed, and findings come back as they were written."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
from made_findings import made_finding

from transferscope.analyses.claims import not_measured
from transferscope.analyses.contract import all_claims
from transferscope.analyses.findings import judge
from transferscope.core.errors import BadInput
from transferscope.report.page.content import Answer
from transferscope.report.workspace import Workspace, findings_document, outputs_key, read_findings
from transferscope.report.write import all_findings
from transferscope.study.file import load_study
from transferscope.study.plan import plan

CLAIMS = all_claims()

DEMO = Path(__file__).parents[2] / "src/transferscope/study/studies/demo.yaml"


def test_findings_come_back_as_written() -> None:
    the_plan = plan(load_study(DEMO))
    held = made_finding(
        claim=CLAIMS[0],
        verdict="holds",
        effect=0.5,
        low=0.25,
        high=0.75,
        num_seeds=3,
        num_images=10,
        note="n",
    )
    unknown = not_measured(CLAIMS[1], "why")
    own = not_measured(replace(CLAIMS[1], id="somebodys_own", statement="Mine.", unit="x"), "why")
    back = read_findings(
        findings_document([held, unknown, own], the_plan, Answer(paragraphs=[], headlines=[]))
    )
    assert back[2].claim == own.claim
    assert back[0].claim == CLAIMS[0]
    assert (back[0].effect, back[0].low, back[0].verdict, back[0].note) == (0.5, 0.25, "holds", "n")
    assert back[1].verdict == "undecided"
    assert math.isnan(back[1].effect)


def test_a_claim_that_an_analysis_brings_along_comes_after_the_papers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mine = judge(
        replace(CLAIMS[0], id="somebodys_own", table="own"),
        {"own": pl.DataFrame({"seed": [0, 1, 2, 3], "x": [1.0, 1.1, 0.9, 1.0]})},
        lambda rows: float(rows["x"].mean()),  # type: ignore[arg-type]
    )
    module = SimpleNamespace(findings=lambda tables, study: [mine])
    monkeypatch.setattr("transferscope.report.write.analysis_module", lambda _: module)
    result = SimpleNamespace(tables={"own": pl.DataFrame({"x": [1]})}, missing=0)
    found = all_findings(SimpleNamespace(study=None), {"own": result})  # type: ignore[arg-type, dict-item]
    assert [one.claim.id for one in found] == [*(claim.id for claim in CLAIMS), "somebodys_own"]
    assert found[-1].verdict == "holds"
    assert found[-1].p_adjusted == found[-1].p_value, "the only one that was tested"


def test_key_of_the_outputs_follows_study_and_tasks() -> None:
    whole, again = (plan(load_study(DEMO)) for _ in range(2))
    quick = plan(load_study(DEMO, variant="quick"))
    renamed = plan(load_study(DEMO, overrides=["name=another"]))
    assert outputs_key(whole) == outputs_key(again)
    assert len({outputs_key(one) for one in (whole, quick, renamed)}) == 3


def test_drawn_only_while_every_file_is_there(tmp_path: Path) -> None:
    the_plan = plan(load_study(DEMO))
    workspace = Workspace(tmp_path)
    assert not workspace.is_drawn(the_plan)
    table = tmp_path / "tables" / "x.csv"
    table.parent.mkdir()
    for path in (workspace.report, workspace.findings_file, workspace.study_file, table):
        path.write_text("x")
    origin = {"outputs_key": outputs_key(the_plan), "outputs": workspace.outputs()}
    workspace.provenance_file.write_text(json.dumps(origin))
    assert workspace.is_drawn(the_plan)
    assert not workspace.is_drawn(plan(load_study(DEMO, variant="quick")))
    table.write_text("y")
    assert not workspace.is_drawn(the_plan)
    table.unlink()
    assert not workspace.is_drawn(the_plan)


def test_findings_of_another_version_are_refused() -> None:
    with pytest.raises(
        BadInput, match=r"schema version 1, and this version .* reads 2. Run `transferscope report`"
    ):
        read_findings(json.dumps({"study": "s", "findings": [{"id": "p_t_are_close", "verdict": "holds"}]}))
