"""The report in a real browser."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path
from typing import Any

import pytest
from synthetic_report import ANALYSES, HOSTILE, NUM_PICTURES, NUM_ROWS, NUM_STRIPS

pytestmark = pytest.mark.browser

NUM_PANELS = 45 + 2 + 1
"""Of the sections, of the first page, of the provenance."""
SMALLEST_TEXT_PX = 9.5
# Colors don't depend on the width, nor places on the colors.
in_every_layout = pytest.mark.parametrize(
    ("width", "color_scheme"), [(1600, "light"), (1280, "dark"), (800, "light"), (400, "dark")]
)
OPEN_ALL = "document.querySelectorAll('details').forEach((details) => { details.open = true; })"

CONTRASTS = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const luminance = (color) => [...rgba(color)].slice(0, 3).map((part) => part / 255)
    .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if (rgba(color)[3] === 255) return color;
    }
    return "white";
  };
  const low = [];
  for (const element of document.querySelectorAll("body *:not(script)")) {
    const hasText = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!hasText || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const text = element instanceof SVGElement ? style.fill : style.color;
    const [darker, lighter] = [luminance(text), luminance(behind(element))].sort((a, b) => a - b);
    const contrast = (lighter + 0.05) / (darker + 0.05);
    if (contrast < 4.5) low.push([contrast.toFixed(2), element.textContent.slice(0, 40)]);
  }
  return low;
}"""

SMALLEST_TEXT = """() => Math.min(...Array.from(document.querySelectorAll("figure svg text"), (text) => {
  const svg = text.ownerSVGElement;
  return parseFloat(getComputedStyle(text).fontSize) * svg.clientWidth / svg.viewBox.baseVal.width;
}))"""


@in_every_layout
def test_the_whole_report_shows_and_nothing_leaves_it(visit: Any, width: int, color_scheme: str) -> None:
    """Sections, drawings, pictures and text in one layout; the page takes longest to open, so it is opened once."""
    seen = visit(width, color_scheme)
    page = seen.page
    # One section's tables stand for all: the others look the same.
    opened = page.locator("#analysis-mistakes details, #provenance details")
    opened.evaluate_all("all => all.forEach((details) => { details.open = true; })")
    assert page.evaluate(CONTRASTS) == []
    assert page.evaluate(SMALLEST_TEXT) >= SMALLEST_TEXT_PX
    displays = page.locator(".whole").evaluate_all("all => all.map((name) => getComputedStyle(name).display)")
    assert set(displays) == {"inline"}
    page.evaluate(OPEN_ALL)
    for name, title in ANALYSES.items():
        assert page.locator(f"#analysis-{name}").is_visible()
        assert page.get_by_role("heading", name=title, exact=True).is_visible()
    panels = page.locator("figure svg[role=img]")
    page.locator("details.table tbody tr:nth-child(30)").first.wait_for()
    assert panels.count() == NUM_PANELS
    sizes = panels.evaluate_all("all => all.map((svg) => svg.getBoundingClientRect().toJSON())")
    assert all(size["width"] > 250 and size["height"] > 150 for size in sizes)
    check_gallery(page)
    check_strip(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert [url for url in seen.requests if not url.startswith(("file:", "data:"))] == []
    assert len(seen.requests) == len(set(seen.requests))
    assert seen.complaints == []


def check_gallery(page: Any) -> None:
    """Pictures are shown with their words."""
    gallery = page.locator("#analysis-mistakes .gallery")
    images = gallery.get_by_role("img")
    assert images.count() == NUM_PICTURES
    natural = images.evaluate_all("all => all.map((image) => [image.naturalWidth, image.clientWidth])")
    assert all(own == 32 and shown == 94 for own, shown in natural)
    assert images.nth(3).get_attribute("alt") == f"Test image 3: {HOSTILE}"
    captions = gallery.locator("figcaption")
    assert captions.count() == NUM_PICTURES + 1
    # a label keeps its case: g is another class than G
    assert captions.last.inner_text() == "g\nP-T: q (80 %)\nRI-T: g (70 %)"
    assert captions.last.evaluate("all => getComputedStyle(all, '::first-letter').textTransform") == "none"
    assert gallery.get_by_text("no picture", exact=True).count() == 1
    assert gallery.get_by_text("No image.", exact=True).is_visible()


def check_strip(page: Any) -> None:
    """Pictures stand beside the curves, in one row."""
    strip = page.locator("#analysis-feature_reuse .panels .filmstrip")
    images = strip.get_by_role("img")
    assert images.count() == NUM_STRIPS
    places = images.evaluate_all("all => all.map((image) => image.getBoundingClientRect().toJSON())")
    assert len({place["y"] for place in places}) == 1
    assert [place["x"] for place in places] == sorted({place["x"] for place in places})
    assert f"From above: {HOSTILE}. The first test image." in strip.inner_text()


def test_hostile_text_is_only_text(visit: Any) -> None:
    seen = visit()
    page = seen.page
    assert HOSTILE in page.locator("h1").inner_text()
    assert HOSTILE in page.get_by_role("note").first.inner_text()
    assert page.locator("script").count() == 1
    sources = page.locator("img").evaluate_all("all => all.map((image) => image.src)")
    assert len(sources) == NUM_PICTURES + NUM_STRIPS
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert seen.complaints == []


def opened(page: Any, name: str) -> Any:
    """The opened details of a table, with all of its rows at hand."""
    details = page.locator("details.table", has=page.locator(f"#table-{name}"))
    details.locator("summary").first.click()
    details.locator("output").filter(has_text="rows").wait_for()
    return details


def test_rows_are_sorted_by_value_with_missing_ones_last(visit: Any) -> None:
    page = visit().page
    details = opened(page, "feature_reuse_summary")
    header = details.locator("th", has_text="gain")
    gains = details.locator("tbody td:nth-child(2)")
    header.get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert gains.all_inner_texts() == ["−2.50", "0.100", "12.0", "–"]
    assert header.get_attribute("aria-sort") == "ascending"
    page.keyboard.press("Enter")
    assert gains.all_inner_texts() == ["12.0", "0.100", "−2.50", "–"]
    assert header.get_attribute("aria-sort") == "descending"
    details.locator("th", has_text="target").get_by_role("button").click()
    assert header.get_attribute("aria-sort") is None
    targets = details.locator("tbody td:nth-child(1)").all_inner_texts()
    assert HOSTILE in targets
    assert targets.index("rendered digits") < targets.index("symbols")


def test_all_rows_are_sorted_and_filtered_not_only_those_shown(visit: Any) -> None:
    details = opened(visit().page, "mistakes")
    rows = details.locator("table.data tbody tr")
    assert rows.count() == 100
    assert details.locator("output").inner_text() == f"100 of {NUM_ROWS} rows"
    details.get_by_role("searchbox").fill("SYMBOLS")
    assert rows.count() == NUM_ROWS / 4
    assert details.locator("output").inner_text() == f"100 of 100 rows, out of {NUM_ROWS}"
    details.get_by_role("searchbox").fill("no such row")
    assert rows.count() == 0
    details.get_by_role("searchbox").fill("")
    details.get_by_role("button", name="Show more rows").click()
    assert rows.count() == 200
    header = details.locator("th", has_text="accuracy")
    for _ in range(2):
        header.get_by_role("button").click()
    # the largest of all rows, which is not among those that the page has
    assert details.locator("tbody tr:first-child td:nth-child(5)").inner_text() == "0.970"
    for _ in range(3):
        details.get_by_role("button", name="Show more rows").click()
    assert rows.count() == NUM_ROWS
    assert details.locator("tbody tr:last-child td:nth-child(5)").inner_text() == "–"
    assert details.get_by_role("button", name="Show more rows").count() == 0


def test_rows_read_the_same_with_and_without_script(visit: Any) -> None:
    texts = []
    for java_script_enabled in (False, True):
        page = visit(java_script_enabled=java_script_enabled).page
        if java_script_enabled:
            opened(page, "mistakes")
        else:
            summaries = page.locator("details.table > summary", has_text="mistakes")
            summaries.filter(has_not_text="summary").first.click()
        rows = page.locator("#table-mistakes tbody tr")
        texts.append([rows.nth(row).locator("td").all_inner_texts() for row in range(8)])
    assert texts[0] == texts[1]


def test_table_is_downloaded_whole(visit: Any, tmp_path: Path) -> None:
    seen = visit()
    details = opened(seen.page, "feature_reuse")
    with seen.page.expect_download() as download:
        details.get_by_role("button", name="Download CSV").click()
    assert download.value.suggested_filename == "feature_reuse.csv"
    download.value.save_as(tmp_path / "table.csv")
    with (tmp_path / "table.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == NUM_ROWS
    assert rows[3]["target"] == HOSTILE
    assert seen.complaints == []


def test_study_file_is_downloaded(visit: Any, tmp_path: Path) -> None:
    page = visit(java_script_enabled=False).page
    page.locator("summary", has_text="Study file").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download study.yaml").click()
    download.value.save_as(tmp_path / "study.yaml")
    assert (tmp_path / "study.yaml").read_text(encoding="utf-8").startswith("name: digits\n")


def test_marks_say_what_they_stand_for(visit: Any) -> None:
    seen = visit(reduced_motion="reduce")  # a page that glides on hides the words
    page = seen.page
    bubble = page.locator("#tip")
    chart = page.locator("#analysis-feature_reuse figure", has_text="Accuracy by block size").first
    assert bubble.is_hidden()
    chart.scroll_into_view_if_needed()
    chart.locator("[data-tip]").last.hover()
    bubble.wait_for()
    assert bubble.inner_text().split("\n") == ["Block size (px): 1", "Test accuracy: 0.38", "kind: RI-T"]
    box, view = bubble.bounding_box(), page.viewport_size
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= view["width"]
    page.keyboard.press("Escape")
    assert bubble.is_hidden()
    chart.locator("[data-tip^='Block']").first.hover()
    assert bubble.is_visible()
    page.locator("h1").hover()
    assert bubble.is_hidden()
    assert seen.complaints == []


@pytest.mark.parametrize("width", [1280, 400])
def test_the_first_screen_has_the_answer(visit: Any, width: int) -> None:
    page = visit(width).page
    first = page.locator(".summary li").first
    assert first.bounding_box()["y"] < 900 if width > 400 else first.bounding_box()["y"] < 1800
    assert page.locator(".headlines li").count() >= 4
    certainties = page.locator(".advice .certainty").all_inner_texts()
    assert certainties == ["Strong evidence:", "Indirect:", "A hint only:", "Open:"]
    page.locator(".advice").get_by_role("link", name="Feature reuse").first.click()
    assert page.url.endswith("#analysis-feature_reuse")


@pytest.mark.parametrize(("width", "color_scheme"), [(1280, "light"), (400, "dark")])
def test_axe_finds_nothing_serious(visit: Any, width: int, color_scheme: str) -> None:
    """Rules of WCAG 2 A and AA and axe's best practices, with one section and its tables unfolded."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    page = visit(width, color_scheme).page
    page.evaluate(
        "document.querySelectorAll('#analysis-mistakes details, #answer details, #provenance details')"
        ".forEach((details) => { details.open = true; })"
    )
    found = axe.Axe().run(page).response
    assert len(found["passes"]) > 20
    violations = [
        (violation["id"], violation["impact"], [node["html"][:120] for node in violation["nodes"][:3]])
        for violation in found["violations"]
    ]
    assert violations == []


def test_theme_is_switched_and_remembered(visit: Any) -> None:
    page = visit(color_scheme="light").page
    background = "getComputedStyle(document.body).backgroundColor"
    button = page.get_by_role("button", name="Theme")
    light = page.evaluate(background)
    button.click()
    assert (button.inner_text(), page.evaluate(background)) == ("Theme: light", light)
    button.click()
    dark = page.evaluate(background)
    assert (button.inner_text(), dark != light) == ("Theme: dark", True)
    page.reload()
    assert page.evaluate(background) == dark
    button.click()
    assert (button.inner_text(), page.evaluate(background)) == ("Theme: auto", light)


def test_all_can_be_read_without_script(visit: Any) -> None:
    page = visit(java_script_enabled=False).page
    assert page.get_by_role("heading", name="The answer").is_visible()
    assert page.locator("figure svg").count() == NUM_PANELS
    assert page.locator(".tools, .further-rows").locator("visible=true").count() == 0
    page.locator("summary", has_text="mistakes_summary").click()
    assert page.get_by_text("12.0").locator("visible=true").count() == 1
    assert page.get_by_role("button").count() == 0


def test_print_is_light_and_complete(visit: Any) -> None:
    seen = visit(color_scheme="dark")
    page = seen.page
    page.get_by_role("button", name="Theme").click(click_count=2)
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("#table-mistakes td").first.is_visible()
    assert page.get_by_text("mistakes_summary", exact=True).is_visible()
    assert page.locator("#analysis-mistakes .more figure svg").first.is_visible()
    assert not page.get_by_role("navigation").is_visible()
    assert page.pdf(prefer_css_page_size=True).startswith(b"%PDF")
    assert page.locator("details[open]:not(.gallery, .body)").count() == 0
    assert seen.complaints == []


def test_page_can_be_walked_by_keyboard_and_by_landmark(visit: Any) -> None:
    page = visit().page
    for landmark in ("banner", "navigation", "main", "contentinfo"):
        assert page.get_by_role(landmark).count() == 1
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    levels = page.locator("h1, h2, h3, h4").evaluate_all("all => all.map((heading) => +heading.tagName[1])")
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert page.locator("th:not([scope])").count() == 0
    link = page.get_by_role("navigation").get_by_role("link", name="Provenance")
    link.click()
    assert page.get_by_role("heading", name="Provenance").is_visible()


def test_a_phone_shows_what_was_found_and_unfolds_the_rest(visit: Any) -> None:
    seen = visit(400, "light")
    page = seen.page
    bodies = page.locator("details.body")
    assert bodies.count() == len(ANALYSES)
    assert page.locator("details.body[open]").count() == 0
    section = page.locator("#analysis-mistakes")
    assert section.locator(".findings").is_visible()
    assert not section.locator(".panels").first.is_visible()
    summary = section.locator(".body > summary")
    assert "of Mistakes" in (summary.text_content() or "")
    summary.focus()
    page.keyboard.press("Enter")
    assert section.locator(".panels").first.is_visible()
    page.get_by_role("navigation").get_by_role("link", name="Barriers").click()
    assert page.locator("#analysis-barriers > .body").evaluate("body => body.open")
    page.emulate_media(media="print")
    page.pdf()
    assert page.locator("#analysis-feature_similarity > .body").evaluate("body => !body.open")
    page.emulate_media(media="screen")
    page.set_viewport_size({"width": 1280, "height": 900})
    assert page.locator("details.body[open]").count() == len(ANALYSES)
    assert page.locator(".body > summary").locator("visible=true").count() == 0
    assert seen.complaints == []


def test_without_a_script_a_phone_shows_all(visit: Any) -> None:
    page = visit(400, "light", java_script_enabled=False).page
    assert page.locator("details.body[open]").count() == len(ANALYSES)


@pytest.mark.parametrize("width", [1280, 400])
def test_verdicts_stay_a_table_in_every_layout(visit: Any, width: int) -> None:
    page = visit(width).page
    table = page.get_by_role("table", name="Claims, tested on this study")
    assert table.get_by_role("row").count() == 1 + 10
    first = table.get_by_role("row").nth(1)
    assert first.get_by_role("cell").first.inner_text().strip() == "holds (strong)"
    first.get_by_role("link", name="Feature reuse").click()
    assert page.url.endswith("#analysis-feature_reuse")
