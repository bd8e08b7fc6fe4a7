"""A folder that version 0.1 wrote, without its store: what is read of it, and what is said."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

import transferscope as ts
from transferscope.cli import app
from transferscope.core.errors import BadInput

KEPT = Path(__file__).resolve().parents[1] / "support" / "run_of_0_1"
PAGE = "<html>the report that 0.1 wrote</html>"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(KEPT, tmp_path / "run")
    (tmp_path / "run" / "report.html").write_text(PAGE)
    return tmp_path / "run"


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "store" not in path.parts
    }


def test_its_report_is_not_overwritten_by_one_without_results(folder: Path) -> None:
    before = files(folder)
    with pytest.raises(BadInput, match=r"was written by transferscope 0\.1\.0\. Nothing was changed"):
        CliRunner().invoke(app, ["report", str(folder)], catch_exceptions=False, standalone_mode=False)
    assert files(folder) == before


def test_its_status_says_what_is_to_be_computed(folder: Path) -> None:
    done = CliRunner().invoke(app, ["status", str(folder)], catch_exceptions=False, standalone_mode=False)
    assert "9 tasks to run" in done.output


def test_its_findings_are_refused_by_their_schema_version(folder: Path) -> None:
    with pytest.raises(BadInput, match="schema version 1, and this version of transferscope reads 2"):
        _ = ts.open_run(folder).findings
