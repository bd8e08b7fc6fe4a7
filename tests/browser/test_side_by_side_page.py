"""Two studies side by side, in a real browser."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from made_findings import made_finding
from synthetic_report import HOSTILE

from transferscope.analyses.claims import not_measured
from transferscope.analyses.contract import all_claims
from transferscope.report.compare.differences import ReadStudy, claim_pairs, differences, warnings
from transferscope.report.compare.side_by_side import Comparison, side_by_side_page

CLAIMS = all_claims()

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Studies of hostile names, one with results of an analysis that the other lacks a target of."""
    claim = CLAIMS[0]
    found = made_finding(
        claim=claim, verdict="holds", effect=0.1, low=0.05, high=0.15, num_seeds=3, num_images=100
    )
    a = ReadStudy(
        label="A",
        folder=Path("runs/a"),
        document={"name": HOSTILE, "targets": {HOSTILE: {}}, "seeds": [0, 1, 2], "analyses": {}},
        findings={claim.id: found} | {other.id: not_measured(other, "no") for other in CLAIMS[1:]},
        tables={"parameter_distance": {"parameter_distance": distances(HOSTILE, 1.0)}},
        provenance={},
    )
    undecided = replace(found, p_value=0.3, low=-0.3, high=0.5, num_seeds=5)
    b = replace(
        a,
        label="B",
        folder=Path("runs/b"),
        document={"name": "Second", "targets": {HOSTILE: {}, "far": {}}, "seeds": [0, 1], "analyses": {}},
        findings={claim.id: undecided},
        tables={
            "parameter_distance": {
                "parameter_distance": pl.concat([distances(HOSTILE, 3.0), distances("far", 2.0)])
            }
        },
    )
    compared = Comparison(
        a=a, b=b, warnings=warnings(a, b), claims=claim_pairs(a, b), differences=differences(a, b)
    )
    file = tmp_path_factory.mktemp("compared") / "comparison.html"
    file.write_text(side_by_side_page(compared), encoding="utf-8")
    return file


def distances(target: str, scale: float) -> pl.DataFrame:
    """A small table of distances."""
    rows = [
        {
            "target": target,
            "pair": pair,
            "seed_a": a,
            "seed_b": b,
            "module": module,
            "depth": depth,
            "distance": scale * (1 + (depth or 0) + 0.1 * a + (pair == "RI-T & RI-T")),
            "relative_to_travelled": 1.0 + 0.1 * b,
            "cosine": 0.1 * a,
        }
        for pair in ("P-T & P-T", "RI-T & RI-T")
        for a, b in ((0, 1), (0, 2), (1, 2))
        for depth, module in ((None, "all"), (0, "stem"), (1, "head"))
    ]
    return pl.DataFrame(rows)


@pytest.mark.parametrize(("width", "color_scheme"), [(1280, "light"), (400, "dark")])
def test_two_studies_side_by_side(visit: Any, page_file: Path, width: int, color_scheme: str) -> None:
    seen = visit(width, color_scheme, file=page_file)
    page = seen.page
    table = page.get_by_role("table", name="Claims in both studies")
    assert table.get_by_role("row").count() == 1 + len(CLAIMS)
    cells = table.get_by_role("row").nth(1).get_by_role("cell")
    texts = [" ".join(text.split()) for text in cells.all_inner_texts()]
    assert texts[0].startswith("holds (strong) +0.100 [0.050, 0.150] medium 3 seeds, 100 images")
    assert texts[1].startswith("undecided +0.100 [−0.300, 0.500] medium 5 seeds")
    assert texts[2] == "changed"
    assert page.locator('.of-study [data-verdict="not measurable"]').count() == 2 * (len(CLAIMS) - 1)
    assert "3 seeds in A, 2 in B" in page.get_by_role("note").first.inner_text()
    assert page.locator("#differences th", has_text="targets.far").first.is_visible()
    page.evaluate("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
    figures = page.locator(".side-by-side")
    # three of the whole network, one a target; the second target is B's own
    assert figures.count() == 5
    assert figures.locator("svg").count() == 9
    assert figures.get_by_text("A has no such figure.").count() == 1
    boxes = figures.first.locator("figure").evaluate_all(
        "all => all.map((one) => one.getBoundingClientRect().x)"
    )
    assert (boxes[0] < boxes[1]) == (width == 1280)
    ticks = figures.nth(3).locator("figure")
    numbers = [
        {text for text in ticks.nth(side).locator("svg text").all_text_contents() if text.isdigit()}
        for side in (0, 1)
    ]
    assert numbers[0] == numbers[1]
    assert len(numbers[0]) > 2
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert seen.complaints == []
    assert len(seen.requests) == 1


@pytest.mark.parametrize(("width", "color_scheme"), [(1280, "dark"), (400, "light")])
def test_axe_finds_nothing_serious(visit: Any, page_file: Path, width: int, color_scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    page = visit(width, color_scheme, file=page_file, bypass_csp=True).page
    found = axe.Axe().run(page).response
    serious = [one["id"] for one in found["violations"] if one["impact"] in ("serious", "critical")]
    assert serious == []
