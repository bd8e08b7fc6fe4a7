"""Convert the text of a drawing to paths, so that it looks the same with and without the font.

Programs that draw or set text don't read fonts embedded in an SVG, and replace what they don't have. So every text
becomes the outlines of its letters, in the font of the PDF figures where this machine has it or one of equal
metrics (Arial, Helvetica, Liberation Sans), else in the one that comes with matplotlib, set to the same widths: the
layout was made with those.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from transferscope.analyses.theme import FONT

SVG = "http://www.w3.org/2000/svg"
FALLBACK = "DejaVu Sans"
"""Comes with matplotlib."""
_ANCHORS = {"start": 0.0, "middle": 0.5, "end": 1.0}
_COMMANDS = {1: "M", 2: "L", 3: "Q", 4: "C", 79: "Z"}
"""Of matplotlib's paths: move, line, curve with one control point and with two, close."""


def with_outlines(svg: str) -> str:
    """The drawing with every text as a path that is called by its words (aria-label)."""
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    root = ElementTree.fromstring(svg)
    for parent in root.iter():
        for place, child in enumerate(list(parent)):
            if child.tag == f"{{{SVG}}}text":
                parent[place] = _outlined(child)
    return ElementTree.tostring(root, encoding="unicode")


def _outlined(text: ElementTree.Element) -> ElementTree.Element:
    """The group of paths in place of a text element: one a line."""
    size = float(re.sub("px$", "", text.get("font-size", "11px")))
    is_bold = text.get("font-weight") == "bold"
    anchor = _ANCHORS[text.get("text-anchor", "start")]
    group = ElementTree.Element(f"{{{SVG}}}g")
    for name, value in text.attrib.items():
        if not name.startswith(("font-", "text-")):
            group.set(name, value)
    words = []
    x = y = 0.0
    for line in (text, *text):
        if line is not text:
            x = float(line.get("x", x))
            y += float(line.get("dy", 0))
        if line.text:
            width = _width(line.text, is_bold) * size / 1000
            data = _data(line.text, is_bold, size, x - anchor * width, y, width)
            ElementTree.SubElement(group, f"{{{SVG}}}path", {"d": data})
            words.append(line.text)
    if words and "aria-label" not in group.attrib:
        group.set("aria-label", " ".join(words))
    return group


def _data(text: str, is_bold: bool, size: float, x: float, y: float, width: float) -> str:
    """The outlines of a line as the data of a path, from x on, on the baseline y, as wide as `width`."""
    from matplotlib.textpath import TextPath, text_to_path
    from matplotlib.transforms import Affine2D

    font = _font(is_bold)
    own_width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    own_width *= size / font.get_size_in_points()
    stretch = width / own_width if own_width else 1.0
    place = Affine2D().scale(stretch, -1).translate(x, y)
    path = TextPath((0, 0), text, size=size, prop=font, usetex=False).transformed(place)
    return "".join(
        _COMMANDS[int(code)]
        + ("" if code == path.CLOSEPOLY else " ".join(f"{x:.2f},{y:.2f}" for x, y in points.reshape(-1, 2)))
        for points, code in path.iter_segments(simplify=False)
    )


@cache
def _font(is_bold: bool) -> Any:
    """The first of the fonts that the drawings ask for that is here, as matplotlib knows it."""
    from matplotlib.font_manager import FontProperties, findfont

    weight = "bold" if is_bold else "normal"
    for family in (name.strip() for name in FONT.split(",")[:-1]):
        try:
            found = findfont(FontProperties(family=family, weight=weight), fallback_to_default=False)
        except ValueError:
            continue
        return FontProperties(fname=found)
    return FontProperties(family=FALLBACK, weight=weight)


@cache
def _metrics(is_bold: bool) -> dict[int, int]:
    """Widths of Helvetica's letters, which are Arial's, in thousandths of the size."""
    import matplotlib

    name = "phvb8a.afm" if is_bold else "phvr8a.afm"
    text = (Path(matplotlib.get_data_path()) / "fonts" / "afm" / name).read_text(encoding="latin-1")
    return {int(code): int(width) for code, width in re.findall(r"^C (\d+) ; WX (\d+) ;", text, re.MULTILINE)}


def _width(text: str, is_bold: bool) -> int:
    """In thousandths of the size; a letter that the metrics lack is as wide as a digit."""
    metrics = _metrics(is_bold)
    return sum(metrics.get(ord(letter), metrics[ord("0")]) for letter in text.replace("−", "+"))
