"""What Python and notebooks see of a study and of a finished run."""

from __future__ import annotations

import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest
import tiny

import transferscope as ts
from transferscope.api.results import Results
from transferscope.core.errors import BadInput
from transferscope.core.tables import html_table


@pytest.fixture(scope="module")
def found(tiny_run: tiny.TinyRun) -> Results:
    return ts.open_run(tiny_run.out)


def cells(html: str) -> list[list[str]]:
    """The text of each row of a table."""
    table = ElementTree.fromstring(html)
    return [["".join(cell.itertext()) for cell in row] for row in table.iter("tr")]


def test_what_is_measured_is_shown(found: Results) -> None:
    rows = cells(found.findings._repr_html_())[1:]
    measured = [finding for finding in found.findings if finding.is_measured]
    assert [row[0] for row in rows] == [finding.claim.statement for finding in measured]
    assert len(measured) < len(found.findings) or "could not be measured" not in found.findings._repr_html_()
    assert {finding.claim.analysis for finding in found.findings.of("barriers")} == {"barriers"}
    assert list(found.findings[:2]) == [found.findings[0], found.findings[1]]


def test_the_study_is_that_of_the_run(found: Results, tiny_run: tiny.TinyRun) -> None:
    assert found.study == tiny_run.plan.study
    rows = dict(cells(found.study._repr_html_()))
    assert rows["seeds"] == "0, 1, 2"
    assert rows["targets"] == "digits (rendered_digits), scans (radiographs)"


def test_figures_share_a_page(found: Results) -> None:
    barriers = found.figures.of("barriers")
    assert barriers
    assert set(barriers) < set(found.figures)
    page = ElementTree.fromstring(found.figures._repr_html_().replace("&nbsp;", " "))
    ids = [element.get("id") for element in page.iter() if element.get("id")]
    assert ids
    assert len(ids) == len(set(ids))
    with pytest.raises(KeyError, match="Did you mean"):
        found.figures["barriers-bazin"]


def test_tables_and_report_are_at_hand(found: Results) -> None:
    assert found.tables["barriers"].height
    assert found.report.is_file()
    assert str(found.report) in found._repr_html_()


def test_run_again_computes_nothing(tiny_run: tiny.TinyRun, tmp_path: Path) -> None:
    out = shutil.copytree(tiny_run.out, tmp_path / "out")
    before = out.joinpath("provenance.json").read_bytes()
    again = ts.run(ts.load_study(tiny_run.study_file), out=out, device="cpu")
    assert again.exit_code == 0
    assert out.joinpath("provenance.json").read_bytes() == before
    with pytest.raises(BadInput, match="load_study"):
        ts.run(again.study, out=out, overrides=["seeds=[0,1]"])


def test_a_table_escapes_what_it_shows() -> None:
    html = html_table([("<b>", 1)], head=("a & b", "c"), caption="x > y")
    assert "<b>" not in html
    assert cells(html) == [["a & b", "c"], ["<b>", "1"]]
