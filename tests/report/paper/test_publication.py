"""Figures and tables for a paper: the right size, fonts inside, nothing that LaTeX takes for a command."""

from __future__ import annotations

import io
import math
import re
import zlib
from pathlib import Path
from xml.etree import ElementTree

import altair as alt
import numpy as np
import polars as pl
import pytest
import vl_convert
from made_findings import made_finding
from PIL import Image

from transferscope.analyses import theme as figures
from transferscope.analyses.claims import not_measured
from transferscope.analyses.contract import all_claims
from transferscope.report.page.outlines import SVG, with_outlines
from transferscope.report.paper.publication import (
    claims_table,
    data_table,
    figure,
    figures_in,
    latex,
    tables_in,
)

BY_ID = {claim.id: claim for claim in all_claims()}


@pytest.fixture(scope="module")
def svg() -> str:
    rows = pl.DataFrame({"x": [0, 1], "y": ["a", "b"]})
    return figures.draw(alt.Chart(rows).mark_bar().encode(x="x:Q", y="y:N"))


def test_a_panel_is_nine_centimetres_wide(svg: str) -> None:
    box = re.search(rb"/MediaBox \[([\d. ]+)\]", figure(svg, "pdf"))
    assert box is not None
    _, _, width, height = map(float, box[1].split())
    assert width * 2.54 / 72 == pytest.approx(9, abs=0.01)
    assert height / width == pytest.approx(figures.PANEL_HEIGHT_PX / figures.PANEL_WIDTH_PX, abs=0.01)
    image = Image.open(io.BytesIO(figure(svg, "png")))
    assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    assert image.size[0] / 300 * 2.54 == pytest.approx(9, abs=0.02)


def test_fonts_are_embedded(svg: str) -> None:
    data = figure(svg, "pdf")
    whole = data
    for stream in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", data, re.DOTALL):
        try:
            whole += zlib.decompress(stream)
        except zlib.error:
            continue
    assert b"/FontFile" in whole
    assert b"LiberationSans" in whole


def test_an_svg_for_a_paper_needs_no_font(svg: str) -> None:
    """Its size is in centimetres, its letters are paths of the same places and widths, called by their words."""
    data = figure(svg, "svg").decode()
    root = ElementTree.fromstring(data)
    assert root.get("width") == "9.000cm"
    assert root.get("viewBox") == ElementTree.fromstring(svg).get("viewBox")
    assert "<text" not in data
    assert "font-family" not in data
    words = {text.text for text in ElementTree.fromstring(svg).iter(f"{{{SVG}}}text")}
    called = {element.get("aria-label") for element in root.iter(f"{{{SVG}}}g")}
    assert words - {None} <= called
    as_text, as_paths = (
        np.asarray(Image.open(io.BytesIO(vl_convert.svg_to_png(one, scale=2))).convert("L"), float)
        for one in (
            svg,
            data.replace('width="9.000cm"', 'width="340"').replace('height="7.147cm"', 'height="270"'),
        )
    )
    assert as_text.shape == as_paths.shape
    assert np.abs(as_text - as_paths).mean() < 2.5, "of 255: letters a little off, nothing else"


def test_text_lies_where_its_anchor_says() -> None:
    drawn = '<svg xmlns="http://www.w3.org/2000/svg"><text text-anchor="{}" font-size="10px">{}</text></svg>'
    for anchor, place in (("start", 0.0), ("middle", -0.5), ("end", -1.0)):
        path = next(ElementTree.fromstring(with_outlines(drawn.format(anchor, "HH"))).iter(f"{{{SVG}}}path"))
        across = [float(x) for x, _ in re.findall(r"(-?[\d.]+),(-?[\d.]+)", path.get("d", ""))]
        width = 2 * 7.22  # an H of Helvetica is 722 thousandths of the size
        assert (min(across) + max(across)) / 2 == pytest.approx(width * (0.5 + place), abs=0.15)
        assert max(across) - min(across) == pytest.approx(width, rel=0.15)


def test_a_drawing_without_a_size_is_refused() -> None:
    with pytest.raises(ValueError, match="without a size"):
        figure("<svg></svg>", "pdf")


def test_every_drawing_is_written_in_every_format(svg: str, tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / f"{name}.svg").write_text(svg)
    assert [path.name for path, _ in figures_in(tmp_path, ["pdf", "svg"])] == [
        "a.pdf",
        "a.paper.svg",
        "b.pdf",
        "b.paper.svg",
    ]
    (tmp_path / "a.paper.svg").write_bytes(figure(svg, "svg"))
    assert len(list(figures_in(tmp_path, ["svg"]))) == 2
    assert list(figures_in(tmp_path, [])) == []


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("50 % of a_b & c#1 {x} $y$", r"50 \% of a\_b \& c\#1 \{x\} \$y\$"),
        ("\\input{secret}", r"\textbackslash{}input\{secret\}"),
        ("a~b^c", r"a\textasciitilde{}b\textasciicircum{}c"),
        ("−1.23×10⁻⁷", r"$-$1.23$\times$10$^{-7}$"),
        ("–", "--"),
    ],
)
def test_latex(text: str, escaped: str) -> None:
    assert latex(text) == escaped


def test_rows_of_a_table() -> None:
    frame = pl.DataFrame(
        {
            "target": ["a_b", "c&d"],
            "gain": [0.12345, math.nan],
            "ok": [True, False],
            "n": [3, None],
            "picture": [b"", b""],
        }
    )
    lines = data_table(frame).splitlines()
    assert lines[0] == r"\begin{longtable}{lrlr}"
    assert lines[2] == r"target & gain & ok & n \\"
    assert lines[5:7] == [r"a\_b & 0.123 & yes & 3 \\", r"c\&d & -- & no & -- \\"]
    assert lines[-1] == r"\end{longtable}"


def test_claims_have_their_numbers() -> None:
    ratio = next(claim for claim in BY_ID.values() if claim.unit == "x")
    held = made_finding(
        claim=ratio,
        verdict="holds",
        effect=0.5,
        low=0.25,
        high=0.75,
        num_seeds=3,
        num_images=10,
        p_value=0.01,
    )
    rows = claims_table([held, not_measured(ratio, "No seeds.")]).splitlines()
    assert rows[4].endswith(r"& holds (some) & medium & 0.500 x & [0.250, 0.750] & 0.0100 & -- & 3 \\")
    assert rows[5].endswith(r"& not measurable here & unknown & -- & -- & -- & -- & -- \\")


def test_only_short_tables_are_written(tmp_path: Path) -> None:
    for name, height in (("short", 200), ("long", 201)):
        pl.DataFrame({"x": range(height)}).write_parquet(tmp_path / f"{name}.parquet")
    assert [path.name for path, _ in tables_in(tmp_path, [])] == ["claims.tex", "short.tex"]
