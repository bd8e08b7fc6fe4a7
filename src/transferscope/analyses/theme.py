"""The look of every figure, and how one is drawn; what a figure shows is the analysis's own affair.

Two surfaces must carry the same drawing: a white page and a near-black one. So the colours of data have a
contrast of at least 3 on both and stay apart under the common colour-vision deficiencies, and the colours
of text, axes and grids are given to the page when a drawing is placed in it (`report.drawings`). Every mark is
labelled with what it stands for, in the names of the axes and legends.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

KIND_COLORS: Mapping[str, str] = {"P-T": "#2467b8", "RI-T": "#d95f14", "P": "#0fa39a", "RI": "#94603a"}
"""One colour a kind of network."""
PAIR_COLORS: Mapping[str, str] = {
    "P-T & P-T": "#2467b8",
    "P-T & RI-T": "#9443f0",
    "RI-T & RI-T": "#d95f14",
    "RI-T & RI-T, same init": "#6b665d",
    "P-T & P": "#0fa39a",
    "RI-T & RI": "#94603a",
}
"""One colour a kind of pair; two of a kind have the kind's colour."""
OTHER_COLOR = "#848cc2"
"""For whatever has no colour of its own."""
CATEGORY_COLORS: tuple[str, ...] = (*PAIR_COLORS.values(), OTHER_COLOR)
"""For targets, modules and other names, in order of appearance; Altair's default here."""
KIND_DASHES: Mapping[str, tuple[int, ...]] = {"P-T": (1, 0), "RI-T": (6, 3), "P": (2, 2), "RI": (8, 3, 2, 3)}
"""One dash pattern a kind, for those who print in grey."""
PAIR_DASHES: Mapping[str, tuple[int, ...]] = {
    "P-T & P-T": (1, 0),
    "P-T & RI-T": (4, 2),
    "RI-T & RI-T": (6, 3),
    "RI-T & RI-T, same init": (8, 3, 2, 3),
    "P-T & P": (2, 2),
    "RI-T & RI": (10, 3),
}
"""One dash pattern a kind of pair."""
CATEGORY_SHAPES = ("circle", "triangle-up", "square", "diamond", "cross", "triangle-down")
CATEGORY_DASHES: tuple[list[int], ...] = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [4, 2], [10, 3])
"""Symbols and dashes for whatever has colours in order of appearance: no two are told apart by colour alone."""
SEQUENTIAL_SCHEME = "viridis"
"""Vega's scheme for heat maps of amounts."""
DIVERGING_SCHEME = "blueorange"
"""Vega's scheme for heat maps of differences; set the domain's middle to 0."""

INK = "#1d2127"
"""Text, and lines that are not data; follows the page's theme."""
MUTED = "#59626d"
"""Titles of axes and other secondary text; follows the page's theme."""
AXIS = "#8d96a1"
"""Axis lines and ticks; follows the page's theme."""
GRID = "#e3e7eb"
"""Grid lines; follows the page's theme."""
ON_DARK, ON_LIGHT = "#fdfdfd", "#101010"
"""Text on dark and on light cells of a heat map, the same in both themes."""

PANEL_WIDTH_PX = 340
"""Width of a whole panel, axes and legend included: a phone's screen less its margins."""
PANEL_HEIGHT_PX = 270
"""Height of a whole panel."""

FONT = "Arial, Helvetica, Liberation Sans, sans-serif"
"""Fonts of equal metrics, so that a drawing measured with one fits when shown with another."""

_NAMES_ARE_LONG = "length(join(domain('x'), '')) > 40"
"""Whether the names below an axis, by Vega's reckoning, don't fit side by side; false in a facet."""

_ID = re.compile(r'\bid="([^"]+)"')


def color_scale(names: Iterable[str], colors: Mapping[str, str] = PAIR_COLORS) -> Any:
    """An Altair scale for `names`, in the order of `colors`; what has none of its own comes last."""
    import altair as alt

    present = set(names)
    known = [name for name in colors if name in present]
    domain = known + sorted(present.difference(known))
    return alt.Scale(domain=domain, range=[colors.get(name, OTHER_COLOR) for name in domain])


def dash_scale(names: Iterable[str], dashes: Mapping[str, tuple[int, ...]] = PAIR_DASHES) -> Any:
    """An Altair scale of dash patterns, in the same order as `color_scale`, so that the legends merge."""
    import altair as alt

    present = set(names)
    known = [name for name in dashes if name in present]
    domain = known + sorted(present.difference(known))
    return alt.Scale(domain=domain, range=[list(dashes.get(name, (1, 2))) for name in domain])


def themed(chart: Any) -> dict[str, Any]:
    """The chart's Vega-Lite with the theme laid under its own configuration; the chart is left as it is.

    Only for a whole chart, never for a layer or a part of one: Altair refuses those. `draw` does it by
    itself.
    """
    import altair as alt

    own = {} if chart.config is alt.Undefined else chart.config.to_dict()
    bare = chart.copy(deep=False)
    bare.config = alt.Undefined
    with alt.data_transformers.enable("default", max_rows=None):
        spec = bare.to_dict(validate=False)  # which takes as long as the rest; tests check each panel
    # not as an alt.Config: to check the same theme for every chart takes half the time of drawing
    spec["config"] = _merged(_merged(spec.get("config", {}), _theme()), own)
    return spec


_NOT_IN_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Control characters, which names can hold and XML can't."""


def draw(chart: Any) -> str:
    """The chart as a standalone SVG in the light theme; the same chart gives the same bytes."""
    return draw_specification(themed(chart))


def draw_specification(specification: Mapping[str, Any]) -> str:
    """A finished Vega-Lite specification (`themed`) as `draw` draws it."""
    import vl_convert

    # An empty list of allowed addresses: a drawing reads its data from the spec and from nowhere else.
    svg = vl_convert.vegalite_to_svg(dict(specification), allowed_base_urls=[])
    return with_ids(_NOT_IN_XML.sub("\ufffd", svg), "")


def with_ids(svg: str, prefix: str) -> str:
    """Ids counted anew in order of appearance: the renderer counts on from one drawing to the next."""
    new_ids = {old: f"{prefix}{count}" for count, old in enumerate(dict.fromkeys(_ID.findall(svg)))}
    svg = _ID.sub(lambda match: f'id="{new_ids[match[1]]}"', svg)
    return re.sub(r"url\(#([^)]+)\)", lambda match: f"url(#{new_ids.get(match[1], match[1])})", svg)


def _theme() -> dict[str, Any]:
    """The configuration of Vega-Lite that all figures share."""
    text = {"font": FONT}
    label = {"labelColor": INK, "labelFontSize": 11, "labelFont": FONT}
    title = {"titleColor": MUTED, "titleFontSize": 11, "titleFont": FONT, "titleFontWeight": "normal"}
    return {
        "autosize": {"type": "fit", "contains": "padding"},
        "background": "white",
        "padding": 6,
        "font": FONT,
        "view": {
            "continuousWidth": PANEL_WIDTH_PX,
            "continuousHeight": PANEL_HEIGHT_PX,
            "discreteWidth": PANEL_WIDTH_PX,
            "discreteHeight": PANEL_HEIGHT_PX,
            "stroke": None,
        },
        "axis": {
            "aria": False,
            **label,
            **title,
            "domainColor": AXIS,
            "tickColor": AXIS,
            "gridColor": GRID,
            "tickSize": 4,
            "titlePadding": 8,
            "labelOverlap": "greedy",
            "labelSeparation": 5,
            "labelLimit": 150,
        },
        "axisQuantitative": {"tickCount": 5},
        "axisX": {"labelFlush": True},
        "axisDiscrete": {"grid": False},
        "axisXDiscrete": {
            "labelAngle": {"expr": f"{_NAMES_ARE_LONG} ? -45 : 0"},
            "labelAlign": {"expr": f"{_NAMES_ARE_LONG} ? 'right' : 'center'"},
            "labelBaseline": "top",
            "labelOverlap": {"expr": f"{_NAMES_ARE_LONG} ? false : 'greedy'"},
            "labelLimit": 90,
        },
        "legend": {
            "aria": False,
            **label,
            **title,
            "orient": "top",
            "direction": "horizontal",
            "columns": 2,
            "columnPadding": 14,
            "rowPadding": 3,
            "symbolSize": 80,
            "symbolStrokeWidth": 2,
            "symbolOpacity": 1,
            "labelLimit": 160,
            "titleOrient": "top",
            "titleLimit": PANEL_WIDTH_PX - 20,
            "gradientLength": 180,
            "gradientThickness": 10,
        },
        "header": {**label, **title},
        "title": {
            **text,
            "aria": False,
            "color": INK,
            "fontSize": 12,
            "fontWeight": "bold",
            "anchor": "start",
            "offset": 8,
        },
        "text": {**text, "color": INK, "fontSize": 11},
        "line": {"strokeWidth": 2},
        "point": {"filled": True, "size": 40},
        "rule": {"color": AXIS},
        "tick": {"color": INK},
        "errorbar": {"ticks": False},
        "range": {
            "category": list(CATEGORY_COLORS),
            "heatmap": {"scheme": SEQUENTIAL_SCHEME},
            "ramp": {"scheme": SEQUENTIAL_SCHEME},
            "ordinal": {"scheme": SEQUENTIAL_SCHEME},
            "diverging": {"scheme": DIVERGING_SCHEME},
        },
    }


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid on `under`, mapping by mapping."""
    both = {
        key: _merged(under[key], value)
        if isinstance(value, Mapping) and isinstance(under.get(key), Mapping)
        else value
        for key, value in over.items()
    }
    return {**under, **both}
