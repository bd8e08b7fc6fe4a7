"""A drawing in the page: no id twice, the page's colours, nothing that leads outside, words for every mark."""

from __future__ import annotations

import io
import re
from xml.etree import ElementTree

import altair as alt
import numpy as np
import polars as pl
import pytest
import vl_convert
from PIL import Image

from transferscope.analyses import theme as figures
from transferscope.report.page.drawings import inline_svg, tip


@pytest.fixture(scope="module")
def chart() -> alt.Chart:
    rows = pl.DataFrame({"x": [0.0, 1.0, 2.0], "y": [1.0, None, 3.0], "kind": ["P-T", "RI-T", "P-T"]})
    return (
        alt.Chart(rows, title="A title")
        .mark_line(clip=True, point=True)
        .encode(x="x:Q", y="y:Q", color="kind:N")
    )


@pytest.fixture(scope="module")
def heat_map() -> alt.Chart:
    rows = pl.DataFrame({"x": [0, 1], "y": ["a", "<b>&"], "v": [0.5, 1.0]})
    return alt.Chart(rows).mark_rect().encode(x="x:O", y="y:N", color="v:Q")


def test_inline_drawings_share_no_id(chart: alt.Chart, heat_map: alt.Chart) -> None:
    inline = [
        inline_svg(figures.draw(one), prefix) for prefix, one in (("a", chart), ("b", chart), ("c", heat_map))
    ]
    ids = [id_ for svg in inline for id_ in re.findall(r'\bid="([^"]+)"', svg)]
    assert len(ids) >= 3
    assert len(ids) == len(set(ids))
    for svg in inline:
        assert set(re.findall(r"url\(#([^)]+)\)", svg)) <= set(re.findall(r'\bid="([^"]+)"', svg))


def test_inline_drawing_follows_the_page(chart: alt.Chart, heat_map: alt.Chart) -> None:
    for one in (chart, heat_map):
        root = ElementTree.fromstring(inline_svg(figures.draw(one), "p"))
        fills = {text.get("fill") for text in root.iter("text")}
        assert fills <= {"currentColor", "var(--muted, #59626d)"}
        assert not any(element.get("fill") == "white" for element in root.iter("rect"))
        assert root.get("viewBox") == f"0 0 {figures.PANEL_WIDTH_PX} {figures.PANEL_HEIGHT_PX}"
        assert root.get("width") == "100%"


def test_what_is_left_out_cannot_be_seen(chart: alt.Chart, heat_map: alt.Chart) -> None:
    """The page's drawing, in the colours of a light page, is the standalone one pixel by pixel."""
    for one in (chart, heat_map, alt.hconcat(heat_map, heat_map)):
        svg = figures.draw(one)
        inline = re.sub(r"var\(--\w+, (#\w+)\)", r"\1", inline_svg(svg, "p"))
        size = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', inline)
        assert size is not None
        inline = inline.replace("currentColor", figures.INK).replace(
            'width="100%"', f'width="{size[1]}" height="{size[2]}" xmlns="http://www.w3.org/2000/svg"'
        )
        assert len(inline) < len(svg)
        before, after = (
            np.asarray(Image.open(io.BytesIO(vl_convert.svg_to_png(text))).convert("RGBA"), float)
            for text in (svg, inline.replace(">", '><rect width="9999" height="9999" fill="white"/>', 1))
        )
        assert np.abs(before - after).max() <= 50, "of 255: edges move by less than a hundredth of a pixel"


def test_inline_drawing_says_what_it_shows(heat_map: alt.Chart) -> None:
    svg = inline_svg(figures.draw(heat_map), "p", title='A "title".', summary="What <it> shows.")
    root = ElementTree.fromstring(svg)
    assert root.get("role") == "img"
    assert root.get("aria-label") == 'A "title". What <it> shows'
    assert "<b>&" in {text.text for text in root.iter("text")}


def test_inline_drawing_drops_links() -> None:
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'
        '<a xlink:href="https://example.invalid" href="javascript:alert(1)"/>'
        '<path d="M0,0.12345h1" stroke="red"/><image href="data:image/png;base64,AA=="/></svg>'
    )
    inline = inline_svg(svg, "p")
    assert "invalid" not in inline
    assert "javascript" not in inline
    assert 'd="M0,0.12h1"' in inline
    assert "data:image/png" in inline


def test_every_mark_says_what_it_stands_for(heat_map: alt.Chart) -> None:
    root = ElementTree.fromstring(inline_svg(figures.draw(heat_map), "p"))
    tips = [element.get("data-tip") for element in root.iter() if element.get("data-tip")]
    assert tips == ["x: 0; y: a; v: 0.5", "x: 1; y: <b>&; v: 1"]
    assert not any(
        name.startswith("aria-roledescription") for element in root.iter() for name in element.attrib
    )


def test_symbols_of_a_legend_without_colours_follow_the_page() -> None:
    rows = pl.DataFrame({"x": [0, 1], "y": [0, 1], "level": ["a", "b"]})
    chart = alt.Chart(rows).mark_point().encode(x="x:Q", y="y:Q", shape="level:N")
    inline = inline_svg(figures.draw(chart), "p")
    assert "black" not in inline
    assert "#000" not in inline


@pytest.mark.parametrize(
    ("label", "mark", "said"),
    [
        ("size: 32; metric: 0.737565536354; kind: P-T", "point", "size: 32; metric: 0.7376; kind: P-T"),
        ("size: 32; metric: −0.737565536354", "bar", "size: 32; metric: −0.7376"),
        (
            "alpha (0: a, 1: b): −0.5; loss: 1.2; pair: P-T & P; line: a & b",
            "line mark",
            "pair: P-T & P; line: a & b",
        ),
        ("size: 32; metric: 0.7; high: 0.8; kind: P-T", "area mark", "kind: P-T"),
        (
            "size: 32; share: 0.21164021164; high: 0.5; target: t",
            "rule mark",
            "size: 32; share, 95 % interval: 0.2116 to 0.5; target: t",
        ),
        ("metric: 0.5; what: mean; high: 0.6", "rule mark", "metric, 95 % interval: 0.5 to 0.6; what: mean"),
        ("loss: 1.23456789e-7", "point", "loss: 1.235e-07"),
        ("seed 0.123456a: x", "point", "seed 0.123456a: x"),
        ("Title text 'Blocks'", "title", ""),
        ("", "", ""),
    ],
)
def test_tip(label: str, mark: str, said: str) -> None:
    assert tip(label, mark) == said
