"""Make a standalone drawing part of the page: its colours, its ids, and the labels of its marks.

Every mark of a chart carries what it stands for as a label (`figures.draw`). In the page that label becomes
`data-tip`, which the page's script shows beside the pointer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from xml.etree import ElementTree

from transferscope.analyses.theme import AXIS, FONT, GRID, INK, MUTED, with_ids

_PAGE_COLORS: Mapping[str, str] = {
    INK: "currentColor",
    "black": "currentColor",  # symbols of a legend that has shapes and no colours
    MUTED: "var(--muted, #59626d)",
    AXIS: "var(--axis, #8d96a1)",
    GRID: "var(--grid, #e3e7eb)",
}
_NEEDLESS = frozenset({"class", "role", "font-family", "pointer-events"})
_GEOMETRY = frozenset({"d", "transform", "x", "y", "x1", "x2", "y1", "y2", "width", "height", "offset"})
_INHERITED = ("fill", "stroke", "stroke-width", "stroke-dasharray", "font-size", "text-anchor")
"""Attributes that children inherit: they move to the group if all of its children have the same value."""
_RGB = re.compile(r"rgb\((\d+), (\d+), (\d+)\)")
_LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_CIRCLE = re.compile(r"M([\d.]+),0A\1,\1,0,1,1,-\1,0A\1,\1,0,1,1,\1,0Z?")
_MANY_DIGITS = re.compile(r"(?<![\w.])([-−]?)(\d+\.\d{4,}|\d+(?:\.\d+)?e[-+−]?\d+)(?![\w.])")
_NUMBER = re.compile(r"[-−]?[\d.]+(?:e[-+−]?\d+)?")
_MARKS_WITH_WORDS = frozenset({"point", "bar", "tick", "rule mark", "rect mark", "line mark", "area mark"})
_MARKS_OF_MANY_ROWS = frozenset({"line mark", "area mark"})


def inline_svg(svg: str, prefix: str, *, title: str = "", summary: str = "") -> str:
    """The drawing made fit to stand in an HTML page, beside others and under either theme.

    Args:
        svg: a drawing by `figures.draw`.
        prefix: put in front of every id; unique in the page.
        title, summary: what a screen reader says in place of the drawing.
    """
    root = ElementTree.fromstring(with_ids(svg, f"{prefix}-"))
    width, height = root.get("width", ""), root.get("height", "")
    for parent in root.iter():
        for child in [child for child in parent if _is_idle(child, width, height)]:
            parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        _suit_page(element)
    for group in root:
        _shorten(group)
    root.attrib.clear()
    spoken = ". ".join(part.rstrip(". ") for part in (title, summary) if part)
    root.attrib.update(
        {"class": "drawing", "role": "img", "viewBox": f"0 0 {width} {height}", "width": "100%"}
        | ({"aria-label": spoken} if spoken else {})
        | {"font-family": FONT, "style": f"--natural-width:{width}px"}
    )
    return ElementTree.tostring(root, encoding="unicode")


def tip(label: str, mark: str) -> str:
    """The text shown beside the pointer for a mark; empty if the mark has none.

    Args:
        label: "name: value; name: value; ...", place across and place up first.
        mark: what kind of mark it is. A line or an area has many rows and the label of the first, so only the
            names that all of them share are shown.
    """
    parts = [part.rpartition(": ") for part in label.split("; ")]
    if mark not in _MARKS_WITH_WORDS:
        return ""
    if mark in _MARKS_OF_MANY_ROWS:
        parts = [part for part in parts[2:] if not _NUMBER.fullmatch(part[2]) and part[2] != "null"]
    named = [(name, value) for name, _, value in parts if name]
    return "; ".join(f"{name}: {_short(value)}" for name, value in _with_interval(named))


def _with_interval(named: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The two ends of an interval as one value: the upper end is called high, the lower one by the axis."""
    high = next((part for part in named if part[0] == "high" or part[0].endswith("_high")), None)
    low = next((part for part in reversed(named[:2]) if _NUMBER.fullmatch(part[1])), None)
    if high is None or low is None or high is low:
        return named
    both = (f"{low[0]}, 95 % interval", f"{_short(low[1])} to {_short(high[1])}")
    return [both if part is low else part for part in named if part is not high]


def _short(value: str) -> str:
    """Numbers with at most four digits."""
    return _MANY_DIGITS.sub(lambda match: f"{match[1]}{float(match[2].replace('−', '-')):.4g}", value)


def _is_idle(element: ElementTree.Element, width: str, height: str) -> bool:
    """True if the element draws nothing, or only paints the page white behind the drawing."""
    is_backdrop = (
        element.get("fill") == "white" and element.get("width") == width and element.get("height") == height
    )
    draws_nothing = element.tag.endswith("path") and (
        element.get("display") == "none" or element.get("d") in ("", "M0,0h0v0h0Z")
    )
    return is_backdrop or draws_nothing


def _shorten(group: ElementTree.Element) -> None:
    """Remove what can't be seen, and move attributes that all children of a group share to the group."""
    if group.tag == "defs":
        return
    for child in list(group):
        _shorten(child)
        is_empty_frame = child.tag == "path" and not {"fill", "stroke", "data-tip"} & set(child.attrib)
        is_empty_group = child.tag == "g" and not len(child) and "data-tip" not in child.attrib
        if is_empty_frame or is_empty_group:
            group.remove(child)
    for name in _INHERITED:
        values = {child.get(name) for child in group}
        is_text = name == "fill" and any(child.tag == "text" for child in group)  # follows the theme itself
        if group.tag == "g" and len(group) > 1 and len(values) == 1 and None not in values and not is_text:
            group.set(name, values.pop() or "")
            for child in group:
                del child.attrib[name]


def _two_decimals(match: re.Match[str]) -> str:
    return f"{float(match[0]):.2f}".rstrip("0").rstrip(".")


def _hex(color: str) -> str:
    """rgb(60, 79, 138) as #3c4f8a."""
    found = _RGB.fullmatch(color)
    return color if found is None else "#" + "".join(f"{int(part):02x}" for part in found.groups())


def _suit_page(element: ElementTree.Element) -> None:
    """Gives colours to the page, keeps what a mark says, and drops links, roles and needless digits."""
    said = tip(element.get("aria-label", ""), element.get("aria-roledescription", ""))
    for name, value in list(element.attrib.items()):
        is_link = name.endswith("href") and not value.startswith("data:")
        is_default = name == "opacity" and value == "1"
        if is_link or is_default or name in _NEEDLESS or name.startswith("aria-"):
            del element.attrib[name]
        elif name in ("fill", "stroke"):
            element.set(name, _PAGE_COLORS.get(value, _hex(value)))
        elif name in _GEOMETRY:
            element.set(name, _LONG_NUMBER.sub(_two_decimals, value))
    if said:
        element.set("data-tip", said)
    circle = _CIRCLE.fullmatch(element.get("d", ""))
    if circle and element.tag == "path":
        element.tag = "circle"
        del element.attrib["d"]
        element.set("r", circle[1])
