"""The report in a real browser."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path
from typing import Any

import pytest
from synthetic_report import ANALYSES, HOSTILE, NUM_PICTURES, NUM_ROWS

pytestmark = pytest.mark.browser

NUM_PANELS = 45
SMALLEST_TEXT_PX = 9.5
everywhere = pytest.mark.parametrize(
    ("width", "color_scheme"), list(itertools.product((1280, 400), ("light", "dark")))
)

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


@everywhere
def test_whole_report_shows_and_nothing_leaves_it(visit: Any, width: int, color_scheme: str) -> None:
    seen = visit(width, color_scheme)
    page = seen.page
    page.evaluate("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
    for name, title in ANALYSES.items():
        assert page.locator(f"#analysis-{name}").is_visible()
        assert page.get_by_role("heading", name=title, exact=True).is_visible()
    panels = page.locator("figure svg[role=img]")
    assert panels.count() == NUM_PANELS
    sizes = panels.evaluate_all("all => all.map((svg) => svg.getBoundingClientRect().toJSON())")
    assert all(size["width"] > 250 and size["height"] > 150 for size in sizes)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert [url for url in seen.requests if not url.startswith(("file:", "data:"))] == []
    assert len(seen.requests) == len(set(seen.requests))
    assert seen.complaints == []


@everywhere
def test_text_is_legible(visit: Any, width: int, color_scheme: str) -> None:
    page = visit(width, color_scheme).page
    # One section's tables stand for all: the others look the same.
    opened = page.locator("#analysis-mistakes details, #provenance details")
    opened.evaluate_all("all => all.forEach((details) => { details.open = true; })")
    assert page.evaluate(CONTRASTS) == []
    smallest = page.evaluate(SMALLEST_TEXT)
    assert smallest >= SMALLEST_TEXT_PX
    displays = page.locator(".whole").evaluate_all("all => all.map((name) => getComputedStyle(name).display)")
    assert set(displays) == {"inline"}


def test_hostile_text_is_only_text(visit: Any) -> None:
    seen = visit()
    page = seen.page
    assert HOSTILE in page.locator("h1").inner_text()
    assert HOSTILE in page.get_by_role("note").first.inner_text()
    assert page.locator("script").count() == 1
    sources = page.locator("img").evaluate_all("all => all.map((image) => image.src)")
    assert len(sources) == NUM_PICTURES
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert seen.complaints == []


@everywhere
def test_pictures_are_shown_with_their_words(visit: Any, width: int, color_scheme: str) -> None:
    seen = visit(width, color_scheme)
    gallery = seen.page.locator("#analysis-mistakes .gallery")
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
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
    assert seen.complaints == []


def test_rows_are_sorted_by_value_with_missing_ones_last(visit: Any) -> None:
    page = visit().page
    page.locator("summary", has_text="feature_reuse_summary").click()
    table = page.locator("#table-feature_reuse_summary")
    header = table.locator("th", has_text="gain")
    gains = table.locator("tbody td:nth-child(2)")
    header.get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert gains.all_inner_texts() == ["−2.50", "0.100", "12.0", "–"]
    assert header.get_attribute("aria-sort") == "ascending"
    page.keyboard.press("Enter")
    assert gains.all_inner_texts() == ["12.0", "0.100", "−2.50", "–"]


def test_rows_are_filtered(visit: Any) -> None:
    page = visit().page
    details = page.locator("details.table", has=page.locator("#table-mistakes"))
    details.locator("summary").first.click()
    rows = details.locator("table.data tbody tr")
    assert rows.count() == 50
    details.get_by_role("searchbox").fill("SYMBOLS")
    assert rows.locator("visible=true").count() == 13
    assert details.locator("output").inner_text() == "13 of 50 rows"
    details.get_by_role("searchbox").fill("")
    assert rows.locator("visible=true").count() == 50


@pytest.mark.parametrize("java_script_enabled", [True, False])
def test_table_is_downloaded_whole(visit: Any, tmp_path: Path, java_script_enabled: bool) -> None:
    page = visit(java_script_enabled=java_script_enabled).page
    page.locator("summary", has_text="feature_reuse").first.click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download CSV").first.click()
    assert download.value.suggested_filename == "feature_reuse.csv"
    download.value.save_as(tmp_path / "table.csv")
    with (tmp_path / "table.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == NUM_ROWS
    assert rows[3]["target"] == HOSTILE


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
    page.locator("summary", has_text="mistakes_summary").click()
    assert page.get_by_text("12.0").locator("visible=true").count() == 1
    assert page.get_by_role("button").count() == 0
    assert page.locator(".filter").locator("visible=true").count() == 0


def test_print_is_light_and_complete(visit: Any) -> None:
    seen = visit(color_scheme="dark")
    page = seen.page
    page.get_by_role("button", name="Theme").click(click_count=2)
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator("#table-mistakes td").first.is_visible()
    assert not page.get_by_role("navigation").is_visible()
    assert page.pdf(prefer_css_page_size=True).startswith(b"%PDF")
    assert page.locator("details[open]").count() == 0
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


@pytest.mark.parametrize("width", [1280, 400])
def test_verdicts_stay_a_table_in_every_layout(visit: Any, width: int) -> None:
    page = visit(width).page
    table = page.get_by_role("table", name="Claims, tested on this study")
    assert table.get_by_role("row").count() == 1 + 10
    first = table.get_by_role("row").nth(1)
    assert first.get_by_role("cell").first.inner_text().strip() == "holds"
    first.get_by_role("link", name="Feature reuse").click()
    assert page.url.endswith("#analysis-feature_reuse")
