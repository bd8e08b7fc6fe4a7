"""What is drawn is not drawn again while nothing changed, and findings come back as they were written."""

from __future__ import annotations

import json
import math
from pathlib import Path

from transferscope.claims import CLAIMS
from transferscope.findings import Finding, not_measured
from transferscope.plan import plan
from transferscope.study_file import load_study
from transferscope.workspace import Workspace, findings_document, outputs_key, read_findings

DEMO = Path(__file__).parents[2] / "src/transferscope/studies/demo.yaml"


def test_findings_come_back_as_written() -> None:
    the_plan = plan(load_study(DEMO))
    held = Finding(
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
    back = read_findings(findings_document([held, unknown], the_plan))
    assert back[0].claim is CLAIMS[0]
    assert (back[0].effect, back[0].low, back[0].verdict, back[0].note) == (0.5, 0.25, "holds", "n")
    assert back[1].verdict == "undecided"
    assert math.isnan(back[1].effect)


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
