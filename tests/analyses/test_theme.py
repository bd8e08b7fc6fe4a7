"""The theme's promises: readable on both surfaces, the same bytes every time, fit for the page."""

from __future__ import annotations

import itertools
import re
from xml.etree import ElementTree

import altair as alt
import numpy as np
import polars as pl
import pytest

from transferscope.analyses import theme as figures
from transferscope.analyses.shared.over_seeds import banded

LIGHT_PAGE, DARK_PAGE = "#ffffff", "#14171b"
DEFICIENCIES = {
    "none": np.eye(3),
    "protan": np.array(
        [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    ),
    "deutan": np.array(
        [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    ),
    "tritan": np.array(
        [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
    ),
}
"""Machado, Oliveira, Fernandes 2009, full severity, on linear RGB."""


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


@pytest.mark.parametrize("page", [LIGHT_PAGE, DARK_PAGE])
@pytest.mark.parametrize("color", [*figures.KIND_COLORS.values(), *figures.CATEGORY_COLORS])
def test_data_stands_out_on_both_pages(color: str, page: str) -> None:
    assert contrast(color, page) >= 3


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
@pytest.mark.parametrize("colors", [tuple(figures.KIND_COLORS.values()), figures.CATEGORY_COLORS])
def test_colors_stay_apart_for_all_eyes(colors: tuple[str, ...], deficiency: str) -> None:
    seen = [lab(DEFICIENCIES[deficiency] @ linear(color)) for color in colors]
    assert min(float(np.linalg.norm(a - b)) for a, b in itertools.combinations(seen, 2)) > 15


def test_same_chart_gives_same_bytes(chart: alt.Chart, heat_map: alt.Chart) -> None:
    first = figures.draw(chart)
    figures.draw(heat_map)
    assert figures.draw(chart) == first


def test_drawing_is_as_wide_as_a_phone_and_links_nowhere(chart: alt.Chart) -> None:
    svg = figures.draw(chart)
    root = ElementTree.fromstring(svg)
    assert (root.get("width"), root.get("height")) == (
        str(figures.PANEL_WIDTH_PX),
        str(figures.PANEL_HEIGHT_PX),
    )
    assert set(re.findall(r"https?://[^\"]+", svg)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }


def test_drawing_reads_nothing_from_elsewhere() -> None:
    elsewhere = alt.Chart("https://example.invalid/data.csv").mark_point().encode(x="x:Q")
    with pytest.raises(ValueError, match="not allowed"):
        figures.draw(elsewhere)


def test_chart_may_be_large() -> None:
    rows = pl.DataFrame({"x": np.arange(6000) % 10})
    figures.draw(alt.Chart(rows).mark_bar().encode(x="x:O", y="count()"))


@pytest.mark.parametrize(("prefix", "tilted"), [("", 0), ("stage1.block", 10)])
def test_no_name_below_an_axis_is_dropped(prefix: str, tilted: int) -> None:
    names = [f"{prefix}{number}" for number in range(10)]
    rows = pl.DataFrame({"module": names, "distance": range(10)})
    svg = figures.draw(alt.Chart(rows).mark_bar().encode(x="module:N", y="distance:Q"))
    shown = [text for text in re.findall(r">([^<]+)</text>", svg) if text in names]
    assert set(shown) == set(names)
    assert svg.count("rotate(-45)") == tilted


def test_own_configuration_wins_and_chart_is_left_alone(chart: alt.Chart) -> None:
    own = chart.configure_axis(grid=False)
    axis = figures.themed(own)["config"]["axis"]
    assert axis["grid"] is False
    assert axis["domainColor"] == figures.AXIS
    assert own.to_dict()["config"]["axis"] == {"grid": False}


def test_scales_keep_one_order() -> None:
    names = ["zebra", "RI-T & RI-T", "P-T & P-T"]
    colors = figures.color_scale(names).to_dict()
    dashes = figures.dash_scale(names).to_dict()
    assert colors["domain"] == dashes["domain"] == ["P-T & P-T", "RI-T & RI-T", "zebra"]
    assert colors["range"][-1] == figures.OTHER_COLOR
    assert figures.PAIR_COLORS.keys() == figures.PAIR_DASHES.keys()


def test_nothing_is_told_apart_by_colour_alone() -> None:
    rows = pl.DataFrame(
        {
            "x": [1, 2] * 3,
            "target": ["a", "a", "b", "b", "c", "c"],
            **{name: [0.5] * 6 for name in ("mean", "low", "high", "images_low", "images_high", "value")},
        }
    )
    chart = banded(rows, rows, alt.X("x:O"), alt.Color("target:N", sort=None, title=None), "y").to_dict()
    lines = [layer["mark"]["strokeDash"] for layer in chart["layer"] if layer["mark"]["type"] == "line"]
    (points,) = (layer for layer in chart["layer"] if layer["mark"]["type"] == "point")
    symbols = points["encoding"]["shape"]["scale"]
    assert len({tuple(dash) for dash in lines}) == len(set(symbols["range"])) == 3
    assert symbols["domain"] == points["encoding"]["color"]["scale"]["domain"] == ["a", "b", "c"]


def linear(color: str) -> np.ndarray:
    """Linear RGB of a #rrggbb colour."""
    parts = np.array([int(color[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    """WCAG 2 contrast ratio."""
    darker, lighter = sorted(float(linear(color) @ [0.2126, 0.7152, 0.0722]) for color in (one, other))
    return (lighter + 0.05) / (darker + 0.05)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b* (D65) of linear RGB."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ np.clip(rgb, 0, 1) / [0.9505, 1, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])
