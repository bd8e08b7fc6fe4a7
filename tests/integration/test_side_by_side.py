"""Two finished runs side by side: from their folders to page, tables and JSON."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
from tiny import TinyRun
from typer.testing import CliRunner

import transferscope
from transferscope.cli import app
from transferscope.core.errors import BadInput


def test_two_runs_side_by_side(tiny_run: TinyRun, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(tiny_run.out, other, ignore=shutil.ignore_patterns("store", "figures"))
    findings = json.loads((other / "findings.json").read_text())
    measured = next(entry for entry in findings["findings"] if entry["num_seeds"])
    measured |= {"p_value": 0.3 if measured["verdict"] != "undecided" else 0.001, "p_adjusted": 1.0}
    (other / "findings.json").write_text(json.dumps(findings))
    study = other / "study.yaml"
    study.write_text(study.read_text().replace("momentum: 0.9", "momentum: 0.8"))

    before = {path: path.stat().st_mtime_ns for path in tiny_run.out.rglob("*")}
    found = transferscope.compare_studies(tiny_run.out, other, out=tmp_path / "compared")
    assert {path: path.stat().st_mtime_ns for path in tiny_run.out.rglob("*")} == before

    changed = found.claims.filter(found.claims["verdict"] == "changed")
    assert changed["claim"].to_list() == [measured["id"]]
    assert "training.momentum" in found.differences["key"].to_list()
    assert any("Another training recipe" in line for line in found.warnings)
    page = found.report.read_text()
    assert page.count('<svg class="drawing"') >= 2
    assert measured["statement"][:20] in page
    assert len(page) < 3_000_000

    document = json.loads((tmp_path / "compared/comparison.json").read_text())
    assert [row["claim"] for row in document["claims"]] == found.claims["claim"].to_list()
    with (tmp_path / "compared/tables/claims.csv").open() as file:
        assert {row["verdict"] for row in csv.DictReader(file)} >= {"same", "changed"}
    name = next(path.stem for path in (tiny_run.out / "tables").glob("*.csv"))
    with (tmp_path / f"compared/tables/{name}.csv").open() as file:
        studies = [row["study"] for row in csv.DictReader(file)]
    assert studies.count("A") == studies.count("B") > 0

    printed = CliRunner().invoke(
        app,
        ["report", "--compare", str(tiny_run.out), str(other), "--out", str(tmp_path / "again"), "--json"],
    )
    assert printed.exit_code == 0, printed.output
    assert json.loads(printed.stdout)["claims"] == document["claims"]
    assert (tmp_path / "again/comparison.html").read_text() == page


def test_what_cannot_be_compared_is_said(tiny_run: TinyRun, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no finished study"):
        transferscope.compare_studies(tiny_run.out, tmp_path, out=tmp_path / "out")
    broken = tmp_path / "broken"
    shutil.copytree(tiny_run.out, broken, ignore=shutil.ignore_patterns("store", "figures"))
    (broken / "tables" / "mistakes.parquet").unlink()
    with pytest.raises(BadInput, match="transferscope report"):
        transferscope.compare_studies(broken, tiny_run.out, out=tmp_path / "out")
    (broken / "findings.json").write_text("{}")
    with pytest.raises(BadInput, match="schema version"):
        transferscope.compare_studies(broken, tiny_run.out, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
