"""From a report's content to its one HTML file.

The page needs nothing but itself: styles, drawings, data and the few lines of script stand in it, and its
content policy forbids every request. The script only adds comfort: without it all but the further rows of long
tables can be read. All text is escaped; only the drawings, the styles and the script are put in as they are.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup, escape

from transferscope.analyses.claims import REPEAT_RATES, Finding, Mark, Result, Standing
from transferscope.analyses.contract import AdviceEvidence, Gallery
from transferscope.report.page import numbers
from transferscope.report.page.content import DrawnPanel, ReportContent, Section
from transferscope.report.page.data_tables import data_table
from transferscope.report.page.drawings import inline_svg
from transferscope.report.page.provenance import provenance_of

_TALLY: Mapping[Standing, tuple[str, str]] = {
    "holds (strong)": ("holds with strong evidence", "hold with strong evidence"),
    "holds (some)": ("holds with some evidence", "hold with some evidence"),
    "does not hold (strong)": ("does not hold, with strong evidence", "do not hold, with strong evidence"),
    "does not hold (some)": ("does not hold, with some evidence", "do not hold, with some evidence"),
    "negligible": ("is about an effect shown to be negligible", "are about effects shown to be negligible"),
    "undecided (hint)": ("is undecided, with a hint", "are undecided, with a hint"),
    "undecided": ("is undecided", "are undecided"),
    "not measurable here": ("is not measurable here", "are not measurable here"),
}
"""Standing -> the words behind the number of claims with it: for one claim, and for several."""
_ADVICE: Mapping[AdviceEvidence, str] = {
    "strong": "Strong evidence:",
    "some": "Some evidence:",
    "hint": "A hint only:",
    "shown to be negligible": "Negligible:",
    "open": "Open:",
    "not measurable here": "Not measurable here:",
    "indirect": "Indirect:",
}
_UNSEEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_CODE = re.compile(r"`([^`]+)`")
_KIND_NAME = re.compile(r"\b(?:P|RI)-T\b")
_OUT_OF_ID = re.compile(r"[^A-Za-z0-9_-]+")


def render(content: ReportContent) -> str:
    """The report as one HTML page; the same content gives the same bytes."""
    provenance = provenance_of(content.provenance)
    chart = provenance["chart"]
    return page(
        "page.html.j2",
        content=content,
        tally=_tally(content.findings),
        findings=[finding_on_page(finding) for finding in content.findings],
        sections=[_section(section) for section in content.sections],
        networks=content.networks and data_table(content.networks.table, "table-networks"),
        data=content.data,
        data_tables=[
            data_table(table, identifier("table", table.name))
            for table in (content.data.tables if content.data else ())
        ],
        advice_evidence=_ADVICE,
        repeat_rates=REPEAT_RATES,
        section_titles={section.name: section.title for section in content.sections},
        split=[_panel(panel, identifier("figure", "answer", panel.name)) for panel in content.answer.figures],
        provenance=provenance | {"chart": chart and _panel(chart, "figure-provenance-time")},
        study_file=base64.b64encode(content.study_yaml.encode()).decode(),
    )


def page(template: str, **values: Any) -> str:
    """A page from its template, with style and script in it."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("transferscope", "report/page"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        identifier=identifier,
        prose=prose,
        words=words,
        given=numbers.given,
        count=numbers.count,
        duration=numbers.duration,
    )
    script = _resource("page.js")
    return environment.get_template(template).render(
        **values,
        style=Markup(_resource("page.css")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _shown(value: Any) -> Any:
    """What would turn the direction of the page's own words behind a name, or is no letter, by its number."""
    if not isinstance(value, str) or not _UNSEEN.search(value):
        return value
    return type(value)(_UNSEEN.sub(lambda found: f"[U+{ord(found[0]):04X}]", value))


def identifier(*parts: str) -> str:
    """An id for an element, from names."""
    return "-".join(_OUT_OF_ID.sub("-", part) for part in parts)


def prose(text: str) -> Markup:
    """Paragraphs where there are blank lines."""
    paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", text) if part.strip()]
    return Markup("\n").join(Markup("<p>{}</p>").format(words(part)) for part in paragraphs)


def words(text: str) -> Markup:
    """One line of prose: `code` where there are backticks, and no line break within P-T and RI-T."""
    marked = _CODE.sub(r"<code>\1</code>", str(escape(text)))
    return Markup(_KIND_NAME.sub(r'<span class="whole">\g<0></span>', marked))


def _tally(findings: Sequence[Finding]) -> list[tuple[Mark, str]]:
    """How many claims stand how, in words."""
    counts = Counter(finding.standing for finding in findings)
    marks: dict[Standing, Mark] = {finding.standing: finding.mark for finding in findings}
    return [
        (marks[standing], f"{counts[standing]} {words[counts[standing] > 1]}")
        for standing, words in _TALLY.items()
        if counts[standing]
    ]


def _section(section: Section) -> dict[str, Any]:
    panel_ids = _unique([identifier("figure", section.name, panel.name) for panel in section.panels])
    drawn = list(zip(section.panels, map(_panel, section.panels, panel_ids), strict=True))
    names = dict.fromkeys(panel.group for panel in section.panels)
    strips = [gallery for gallery in section.galleries if gallery.group in names and gallery.group]
    return {
        "section": section,
        "id": identifier("analysis", section.name),
        "groups": [
            {
                "name": name,
                "panels": [shown for panel, shown in drawn if panel.group == name and not panel.secondary],
                "galleries": [_gallery(section.name, strip) for strip in strips if strip.group == name],
            }
            for name in sorted(names, key=bool)  # what speaks of all of them comes first
        ],
        # folded away, they stand below no name of a group
        "further": [shown | {"title": panel.title} for panel, shown in drawn if panel.secondary],
        "galleries": [
            _gallery(section.name, gallery) for gallery in section.galleries if gallery not in strips
        ],
        "findings": [finding_on_page(finding) for finding in section.findings],
        "tables": [data_table(table, identifier("table", table.name)) for table in section.tables],
    }


def _panel(panel: DrawnPanel, id_: str) -> dict[str, Any]:
    svg = inline_svg(panel.svg, id_, title=panel.title, summary=panel.summary)
    return {
        "id": id_,
        "title": _below(panel.group, panel.title),
        "summary": panel.summary,
        "svg": Markup(svg),
    }


def _below(group: str, title: str) -> str:
    """A title below the name of its group, which it need not say again."""
    own = title.removeprefix(f"{group}: ") if group else title
    return own if own == title else own[:1].upper() + own[1:]


def _gallery(section: str, gallery: Gallery) -> dict[str, Any]:
    return {
        "id": identifier("gallery", section, gallery.name),
        "title": _below(gallery.group, gallery.title),
        "summary": gallery.summary,
        "rows": [
            {
                "title": row.title,
                "empty": row.empty,
                "pictures": [
                    {"source": _address(picture.png), "alt": picture.alt, "caption": picture.caption}
                    for picture in row.pictures
                ],
            }
            for row in gallery.rows
        ],
    }


def _address(png: bytes | None) -> str:
    """The picture itself as an address, so that nothing is fetched."""
    return "" if png is None else f"data:image/png;base64,{base64.b64encode(png).decode()}"


def finding_on_page(finding: Finding, reach: float | None = None) -> dict[str, Any]:
    """What the templates need of a finding.

    Args:
        finding: what was found.
        reach: how far its strip reaches to either side of the threshold; by default as far as it needs.
    """
    return {
        "finding": finding,
        "claim": finding.claim,
        **_result_on_page(finding, finding.claim.unit),
        "p_value": "" if numbers.is_missing(finding.p_value) else numbers.number(finding.p_value),
        "p_adjusted": "" if numbers.is_missing(finding.p_adjusted) else numbers.number(finding.p_adjusted),
        "unit": finding.claim.unit,
        "places": _places(finding, reach),
        "targets": [
            {"target": one.target, "unit": finding.claim.unit, **_result_on_page(one, finding.claim.unit)}
            for one in finding.targets
        ],
    }


def _result_on_page(result: Result, unit: str) -> dict[str, Any]:
    effect, interval = numbers.effect(result.effect, result.low, result.high, unit=unit)
    return {
        "effect": effect,
        "has_effect": not numbers.is_missing(result.effect),
        "interval": interval,
        "standing": result.standing,
        "mark": result.mark,
        "size": "" if result.size == "unknown" else result.size,
    }


def reach(findings: Sequence[Finding]) -> float:
    """How far effects and intervals reach from their thresholds, and a little more."""
    distances = [
        abs(value - finding.claim.threshold)
        for finding in findings
        for value in (finding.effect, finding.low, finding.high)
        if math.isfinite(value)
    ]
    return 1.1 * max(distances, default=0.0) or 1.0


def _places(finding: Finding, width: float | None) -> dict[str, float] | None:
    """Where effect and interval lie in a strip from 0 to 100 with the threshold in its middle; none where none is."""
    threshold = finding.claim.threshold
    ends = [end for end in (finding.low, finding.high) if math.isfinite(end)]
    if not math.isfinite(finding.effect):
        return None
    width = width or reach([finding])
    low, high = (min(ends), max(ends)) if len(ends) == 2 else (finding.effect, finding.effect)
    places = {"low": low, "high": high, "effect": finding.effect}
    return {name: round(50 + 50 * (value - threshold) / width, 1) for name, value in places.items()}


def _unique(names: Sequence[str]) -> list[str]:
    """The names, with a number behind those that came before."""
    seen: Counter[str] = Counter()
    unique = []
    for name in names:
        seen[name] += 1
        unique.append(name if seen[name] == 1 else f"{name}--{seen[name]}")
    return unique


def _resource(name: str) -> str:
    return resources.files("transferscope.report.page").joinpath(name).read_text(encoding="utf-8")
