"""Figures and tables for a paper: the right size, fonts inside, nothing that LaTeX takes for a command."""

from __future__ import annotations

import io
import math
import re
import zlib
from pathlib import Path

import altair as alt
import polars as pl
import pytest
from PIL import Image

from transferscope import figures
from transferscope.claims import BY_ID
from transferscope.findings import Finding, not_measured
from transferscope.report.publication import claims_table, data_table, figure, figures_in, latex, tables_in


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


def test_a_drawing_without_a_size_is_refused() -> None:
    with pytest.raises(ValueError, match="without a size"):
        figure("<svg></svg>", "pdf")


def test_every_drawing_is_written_in_every_format(svg: str, tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / f"{name}.svg").write_text(svg)
    assert [path.name for path, _ in figures_in(tmp_path, ["pdf", "png"])] == [
        "a.pdf",
        "a.png",
        "b.pdf",
        "b.png",
    ]
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
    held = Finding(
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
    assert rows[4].endswith(r"& holds & +0.500 x & [0.250, 0.750] & 0.0100 & -- & 3 \\")
    assert rows[5].endswith(r"& undecided & -- & -- & -- & -- & -- \\")


def test_only_short_tables_are_written(tmp_path: Path) -> None:
    for name, height in (("short", 200), ("long", 201)):
        pl.DataFrame({"x": range(height)}).write_parquet(tmp_path / f"{name}.parquet")
    assert [path.name for path, _ in tables_in(tmp_path, [])] == ["claims.tex", "short.tex"]
