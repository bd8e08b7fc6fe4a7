"""The same chart of two studies on equal axes: where a mark lies higher, its number is larger.

Works on finished Vega-Lite specifications and knows nothing of analyses: a quantitative axis or colour that stands
at the same place of both charts gets the range that holds the numbers of both. Names and orders stay each study's
own.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Spec = dict[str, Any]

_PLACES = {"x": "x", "y": "y", "color": "color", "fill": "color"}
"""Channel -> the scale that it is on."""
_SECOND_ENDS = {"x": "x2", "y": "y2"}
_LISTS = ("hconcat", "vconcat", "concat")


@dataclass
class _Scale:
    """All of a chart that is on one scale."""

    encodings: list[dict[str, Any]] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    domains: list[float] = field(default_factory=list)
    """Ends that the chart itself asks for."""
    has_zero: bool = True
    is_log: bool = False


def with_equal_axes(a: Spec, b: Spec) -> tuple[Spec, Spec]:
    """Both charts with the range of every amount that they share.

    Args:
        a, b: finished Vega-Lite with its data inside (`figures.themed`); left as they are.

    Returns:
        Copies. A scale that only one of them has is unchanged.
    """
    pair = copy.deepcopy(a), copy.deepcopy(b)
    scales = [_scales(spec) for spec in pair]
    for place in scales[0].keys() & scales[1].keys():
        both = [of_chart[place] for of_chart in scales]
        domain = _domain(both)
        if domain is None:
            continue
        for encoding in (encoding for scale in both for encoding in scale.encodings):
            own = encoding.setdefault("scale", {})
            own["domain"] = list(domain)
            own.setdefault("nice", place[-1] != "color" and not any(scale.domains for scale in both))
            own.pop("zero", None)
    return pair


def _domain(both: list[_Scale]) -> tuple[float, float] | None:
    """What holds the numbers of both; what the charts ask for goes before what their data would need."""
    asked = [end for scale in both for end in scale.domains]
    if asked and not all(scale.domains for scale in both):
        asked += [value for scale in both if not scale.domains for value in scale.values]
    numbers = asked or [value for scale in both for value in scale.values]
    if any(scale.is_log for scale in both):
        numbers = [number for number in numbers if number > 0]
    elif not asked and all(scale.has_zero for scale in both):
        numbers.append(0.0)
    if not numbers or min(numbers) == max(numbers):
        return None
    return min(numbers), max(numbers)


def _scales(spec: Spec) -> dict[tuple[Any, ...], _Scale]:
    """Every scale of a chart by its place."""
    found: dict[tuple[Any, ...], _Scale] = {}
    for place, encoding, channel, rows in _amounts(spec, spec.get("datasets", {}), (), {}, None):
        name = _PLACES[channel]
        scale = found.setdefault((*place, name), _Scale())
        own = encoding[channel]
        options = own.get("scale") or {}
        scale.encodings.append(own)
        scale.has_zero &= name != "color" and options.get("zero", True)
        scale.is_log |= options.get("type") == "log"
        domain = options.get("domain")
        if isinstance(domain, list) and all(isinstance(end, int | float) for end in domain):
            scale.domains += [float(end) for end in domain]
        for end in (own, encoding.get(_SECOND_ENDS.get(channel, ""))):
            name_of_column = end.get("field") if isinstance(end, dict) else None
            if name_of_column:
                scale.values += _numbers(rows, name_of_column)
    return found


def _amounts(
    node: Spec, datasets: Mapping[str, list[Any]], place: tuple[Any, ...], above: Mapping[str, Any], data: Any
) -> Iterator[tuple[tuple[Any, ...], dict[str, Any], str, list[dict[str, Any]]]]:
    """Each quantitative encoding: its place, all encodings of its mark, its channel, the rows behind it."""
    data = node.get("data", data)
    encoding = {**above, **node.get("encoding", {})}
    for name in _LISTS:
        for index, child in enumerate(node.get(name, ())):
            yield from _amounts(child, datasets, (*place, name, index), encoding, data)
    for child in node.get("layer", ()):
        yield from _amounts(child, datasets, place, encoding, data)
    if "spec" in node:
        yield from _amounts(node["spec"], datasets, (*place, "spec"), encoding, data)
    if "mark" not in node:
        return
    rows = datasets.get(data["name"]) if isinstance(data, dict) and "name" in data else None
    for channel in _PLACES:
        own = encoding.get(channel)
        if not isinstance(own, dict) or not isinstance(rows, list):
            continue
        has_scale = own.get("scale", {}) is not None
        if has_scale and own.get("type") == "quantitative" and "field" in own:
            yield place, encoding, channel, rows


def _numbers(rows: list[dict[str, Any]], column: str) -> list[float]:
    values = (row.get(column) for row in rows)
    return [
        float(value)
        for value in values
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    ]
