"""The report's page as text: well-formed, escaped, complete, the same every time."""

from __future__ import annotations

import base64
import dataclasses
import gzip
import math
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import polars as pl
import pytest
from file_modules import module_of
from made_findings import made_finding

from transferscope.analyses.claims import not_measured
from transferscope.analyses.contract import Advice, Gallery, Picture, PictureRow, all_claims
from transferscope.analyses.findings import adjusted
from transferscope.core.tables import Column
from transferscope.report.page import numbers
from transferscope.report.page.content import Answer, ReportContent, ReportTable, Section, Setting
from transferscope.report.page.data_tables import MAX_PACKED_BYTES, SHOWN_ROWS
from transferscope.report.page.render import prose, render

CLAIMS = all_claims()

VOID = {"meta", "link", "input", "br", "img"}
MAX_BYTES = 3_000_000


class Page(HTMLParser):
    """Checks that what is opened is closed, and collects ids, references and addresses."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.references: set[str] = set()
        self.addresses: list[str] = []
        self.tags: Counter[str] = Counter()
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.note(tag, dict(attrs))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.note(tag, dict(attrs))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def note(self, tag: str, attributes: dict[str, str | None]) -> None:
        self.tags[tag] += 1
        assert not any(name.startswith("on") for name in attributes), attributes
        if "id" in attributes:
            self.ids.append(attributes["id"] or "")
        for name, value in attributes.items():
            address = value or ""
            if name == "aria-labelledby" or name == "data-table":
                self.references.add(address)
            if name in ("href", "src", "xlink:href", "action"):
                self.addresses.append(address)
            self.references.update(re.findall(r"url\(#([^)]+)\)", address))
        self.references.update(address[1:] for address in self.addresses if address.startswith("#"))


@pytest.fixture(scope="module")
def synthetic() -> ModuleType:
    return module_of(Path(__file__).parents[2] / "browser" / "synthetic_report.py")


@pytest.fixture(scope="module")
def content(synthetic: ModuleType) -> ReportContent:
    return synthetic.synthetic_content()


@pytest.fixture(scope="module")
def html(content: ReportContent) -> str:
    return render(content)


@pytest.fixture
def bare() -> ReportContent:
    """A report of nothing but a title."""
    return ReportContent(
        title="Bare",
        description="",
        variant=None,
        answer=Answer(paragraphs=["Nothing was measured."], headlines=[]),
        findings=[],
        sections=[],
        study_yaml="",
        provenance={},
    )


def with_table(bare: ReportContent, frame: pl.DataFrame) -> ReportContent:
    columns = [Column(name, "float", "a number") for name in frame.columns]
    section = Section(
        name="x",
        title="X",
        shows="",
        how_to_read="",
        caveats="",
        source="",
        panels=[],
        tables=[ReportTable(name="x", columns=columns, frame=frame)],
        findings=[],
    )
    return dataclasses.replace(bare, sections=[section])


def test_page_is_well_formed_and_its_references_lead_somewhere(html: str) -> None:
    page = Page(html)
    assert page.open == []
    assert [id_ for id_, times in Counter(page.ids).items() if times > 1] == []
    assert page.references <= set(page.ids)
    assert page.tags["svg"] >= 45
    assert page.tags["h1"] == page.tags["main"] == page.tags["nav"] == 1


def test_page_points_nowhere_outside(html: str) -> None:
    assert {re.split("[,#]", address)[0] for address in Page(html).addresses} == {
        "",
        "data:",
        "data:text/yaml;charset=utf-8;base64",
        "data:image/png;base64",
    }
    assert "default-src 'none'" in html


def test_user_text_is_escaped(html: str, synthetic: ModuleType) -> None:
    assert synthetic.HOSTILE not in html
    assert "<script>alert" not in html
    assert "<img src=x" not in html
    assert Page(html).tags["script"] == 1
    assert Page(html).tags["img"] == synthetic.NUM_PICTURES + synthetic.NUM_STRIPS


def test_two_renders_are_equal(synthetic: ModuleType, html: str) -> None:
    assert render(synthetic.synthetic_content()) == html


def test_page_is_small(html: str) -> None:
    assert len(html.encode()) < MAX_BYTES


def test_first_page_says_variant_gap_and_verdicts(html: str) -> None:
    first_page = html.partition('class="analysis"')[0]
    assert "Reduced variant “quick" in first_page
    assert re.search(r'Something is missing in\s+<a href="#analysis-criticality">', first_page)
    assert "5 hold with strong evidence</li>" in first_page
    assert "1 does not hold, with strong evidence</li>" in first_page
    assert "3 are undecided</li>" in first_page
    assert "1 is not measurable here</li>" in first_page
    assert "−0.196" in first_page
    assert "[−0.310, −0.081]" in first_page


def test_full_and_complete_study_has_no_notice(bare: ReportContent) -> None:
    html = render(bare)
    assert 'role="note"' not in html
    assert "Nothing was measured." in html


def test_missing_numbers_say_so(bare: ReportContent) -> None:
    frame = pl.DataFrame({"value": [None, math.nan, 0.5]})
    html = render(with_table(bare, frame))
    assert html.count('data-missing><abbr title="not available">–</abbr>') == 2
    assert ">0.500</td>" in html


def test_a_table_is_packed_whole(bare: ReportContent) -> None:
    frame = pl.DataFrame({"value": [row / 7 for row in range(5000)]})
    html = render(with_table(bare, frame))
    assert packed(html).equals(frame)
    assert f"The first {SHOWN_ROWS} of 5\u202f000 rows." in html
    assert "(all 5\u202f000 rows)" in html
    assert html.count('<td class="numeric">') == SHOWN_ROWS
    assert "<code>tables/x.csv</code>" in html


def test_of_a_large_table_the_first_rows_are_packed(bare: ReportContent) -> None:
    frame = pl.DataFrame({"value": [math.sin(row) for row in range(30_000)]})
    html = render(with_table(bare, frame))
    rows = packed(html)
    assert 1000 < rows.height < 30_000
    assert rows.equals(frame.head(rows.height))
    assert f"(first {rows.height:,} rows)".replace(",", "\u202f") in html
    assert len(html) < 2 * MAX_PACKED_BYTES + 60_000


def test_the_same_table_gives_the_same_bytes(bare: ReportContent) -> None:
    frame = pl.DataFrame({"value": [1.5, math.nan, None]})
    assert render(with_table(bare, frame)) == render(with_table(bare, frame))


def test_a_picture_is_embedded_with_its_words(bare: ReportContent) -> None:
    shown = Picture(png=b"\x89PNG not really", alt='image "1"', caption=["a", "P-T: b"])
    absent = Picture(png=None, alt="image 2", caption=["<c>"])
    rows = [PictureRow(title="Wrong", pictures=[shown, absent]), PictureRow(title="Right", pictures=[])]
    gallery = Gallery(name="t", title="Target t", summary="How & why.", rows=rows)
    section = dataclasses.replace(
        with_table(bare, pl.DataFrame()).sections[0], tables=[], galleries=[gallery]
    )
    html = render(dataclasses.replace(bare, sections=[section]))
    source = base64.b64encode(b"\x89PNG not really").decode()
    assert f'<img src="data:image/png;base64,{source}" alt="image &#34;1&#34;"' in html
    assert html.count("<img") == 1
    assert html.count(">no picture<") == 1
    assert "<span>&lt;c&gt;</span>" in html
    assert "How &amp; why." in html
    assert ">None.</p>" in html
    assert Page(html).open == []


def packed(html: str) -> pl.DataFrame:
    found = re.search(r'data-packed="([A-Za-z0-9+/=]+)"', html)
    assert found is not None
    return pl.read_csv(gzip.decompress(base64.b64decode(found[1])))


def test_provenance_adds_up_tasks(bare: ReportContent) -> None:
    tasks = [{"title": f"task {n}", "kind": "train", "seconds": float(n), "cached": n < 3} for n in range(12)]
    html = render(dataclasses.replace(bare, provenance={"tasks": tasks, "command": "transferscope demo"}))
    assert re.search(r'<th scope="row">train</th>(<td class="numeric">[^<]+</td>){3}', html)
    assert "1 min 06 s" in html
    assert "task 11</th>" in html
    assert "task 1</th>" not in html
    assert "<code>transferscope demo</code>" in html


def test_prose_has_paragraphs_and_code_and_nothing_else() -> None:
    assert str(prose("One\nline of `code`.\n\n<b>P-T</b>")) == (
        '<p>One line of <code>code</code>.</p>\n<p>&lt;b&gt;<span class="whole">P-T</span>&lt;/b&gt;</p>'
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (math.nan, "–"),
        (0.0, "0"),
        (3, "3"),
        (-12, "−12"),
        (0.12345, "0.123"),
        (-0.9996, "−1.00"),
        (9.996, "10.0"),
        (12345.6, "12346"),
        (1.2345e-7, "1.23×10⁻⁷"),
        (-4e12, "−4.00×10¹²"),
        (math.inf, "∞"),
        (-math.inf, "−∞"),
    ],
)
def test_number(value: float | None, text: str) -> None:
    assert numbers.number(value) == text


@pytest.mark.parametrize(
    ("interval", "texts"),
    [
        ((0.1234, 0.1, 0.2), ("+0.123", "[0.100, 0.200]")),
        ((-0.00004, -0.05, 0.02), ("0.0000", "[−0.0500, 0.0200]")),
        ((0.00004, -0.05, 0.02), ("0.0000", "[−0.0500, 0.0200]")),
        ((2.5, math.nan, math.nan), ("+2.50", "")),
        ((math.nan, math.nan, math.nan), ("–", "")),
        ((0.0, 0.0, 0.0), ("0", "[0, 0]")),
        ((3e-6, 1e-6, 5e-6), ("+3.00×10⁻⁶", "[1.00×10⁻⁶, 5.00×10⁻⁶]")),
        ((1.0, 0.5, math.inf), ("+1.00", "[0.50, ∞]")),
    ],
)
def test_effect(interval: tuple[float, float, float], texts: tuple[str, str]) -> None:
    assert numbers.effect(*interval) == texts


def test_a_ratio_has_no_plus() -> None:
    assert numbers.effect(0.683, 0.525, 0.841, unit="x") == ("0.683", "[0.525, 0.841]")
    assert numbers.effect(0.012, -0.05, 0.08, unit="nats")[0].startswith("+")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0.1234, "0.123 s"),
        (59.0, "59.0 s"),
        (61.0, "1 min 01 s"),
        (3600 * 1234.5, "1\u202f234 h 30 min"),
    ],
)
def test_duration(seconds: float | None, text: str) -> None:
    assert numbers.duration(seconds) == text


def test_a_claim_shows_its_p_values_and_whose_it_is(bare: ReportContent) -> None:
    claims = [claim for claim in CLAIMS if claim.analysis in ("feature_reuse", "low_level_statistics")]
    numbers_of = {"effect": 0.2, "low": 0.1, "high": 0.3, "num_seeds": 3, "num_images": 100}
    findings = [made_finding(claim=claim, verdict="holds", p_value=0.001, **numbers_of) for claim in claims]
    html = render(dataclasses.replace(bare, findings=adjusted(findings)))
    adjusted_p = numbers.number(0.001 * len(claims))
    assert html.count(f'0.00100 <span class="unit">({adjusted_p})</span>') == len(claims)
    assert html.count("beyond the paper") == sum(claim.origin == "transferscope" for claim in claims)
    assert f"{len(claims)} hold with strong evidence</li>" in html


def test_what_was_not_measured_is_counted_and_marked_apart(bare: ReportContent) -> None:
    html = render(dataclasses.replace(bare, findings=[not_measured(CLAIMS[0], "No blocks were shuffled.")]))
    assert "1 is not measurable here</li>" in html
    row = html.partition("<tbody")[2].partition("</tbody>")[0]
    assert re.search(
        r'data-verdict="not measurable"><svg.*stroke-dasharray=.*</svg>\s*not measurable here<', row, re.S
    )
    assert "undecided" not in row
    few = not_measured(CLAIMS[0], "2 seeds; at least 3 are needed to decide.")
    html = render(dataclasses.replace(bare, findings=[dataclasses.replace(few, num_seeds=2)]))
    assert "1 is undecided</li>" in html
    assert "not measurable here</li>" not in html


def test_what_to_do_has_its_evidence_and_how_sure_it_is(bare: ReportContent) -> None:
    item = Advice(text="Start from <P>.", numbers="Gain +3.", evidence="open", why="2 seeds", analysis="x")
    with_section = with_table(bare, pl.DataFrame({"value": [1.0]}))
    made = dataclasses.replace(bare.answer, advice=[item], summary=["It <helped>."])
    html = render(dataclasses.replace(with_section, answer=made))
    assert '<p class="do">Start from &lt;P&gt;.</p>' in html
    assert re.search(
        r'data-evidence="open">Open:</span> 2 seeds. Gain \+3. <a href="#analysis-x">X</a>', html
    )
    assert "<li>It &lt;helped&gt;.</li>" in html
    assert "What to do with this" not in render(bare)


def test_how_it_was_computed_is_said(bare: ReportContent) -> None:
    content = with_table(bare, pl.DataFrame({"value": [1.0]}))
    setting = Setting(name="draws", value="[1, 2]", meaning="How many <draws>")
    section = dataclasses.replace(content.sections[0], settings=[setting])
    html = render(dataclasses.replace(content, sections=[section]))
    assert re.search(r"<code>draws</code></dt><dd><code>\[1, 2\]</code>.*How many &lt;draws&gt;", html)


def test_an_interval_is_drawn_around_its_threshold(bare: ReportContent) -> None:
    claim = next(claim for claim in CLAIMS if claim.threshold == 1.0 and claim.side == "below")
    seen = {"num_seeds": 3, "num_images": 10}
    drawn = made_finding(claim=claim, verdict="holds", effect=0.6, low=0.2, high=0.8, **seen)
    html = render(dataclasses.replace(bare, findings=adjusted([drawn])))
    # 0.8 below the threshold is the farthest; a tenth is left beyond it
    assert 'class="claimed" x="0"' in html
    assert f'd="M{50 - 50 / 1.1:.1f} 7H{50 - 50 * 0.2 / 0.88:.1f}"' in html
    assert f'd="M{50 - 50 * 0.4 / 0.88:.1f} 2.5V11.5"' in html
    unknown = not_measured(claim, "No seeds.")
    assert 'class="strip"' not in render(dataclasses.replace(bare, findings=[unknown]))
