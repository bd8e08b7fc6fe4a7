"""From a report's content to its one HTML file.

The page needs nothing but itself: styles, drawings, data and the few lines of script stand in it, and its
content policy forbids every request. The script only adds comfort; all can be read without it. All text is
escaped; only the drawings, the styles and the script are put in as they are.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from importlib import resources
from itertools import islice
from typing import Any

import jinja2
from markupsafe import Markup, escape

from transferscope.analysis import Gallery
from transferscope.figures import inline_svg
from transferscope.findings import Finding, Verdict
from transferscope.report import numbers
from transferscope.report.content import DrawnPanel, ReportContent, ReportTable, Section

SHOWN_ROWS = 50
"""Rows of a table that the page shows."""
MAX_EMBEDDED_CSV_BYTES = 60_000
"""A table beyond this is embedded, for download, with the rows shown only."""
LONGEST_TASKS = 10

_PLURALS: Mapping[Verdict, str] = {"holds": "hold", "does not hold": "do not hold", "undecided": "undecided"}
_CODE = re.compile(r"`([^`]+)`")
_KIND_NAME = re.compile(r"\b(?:P|RI)-T\b")
_OUT_OF_ID = re.compile(r"[^A-Za-z0-9_-]+")


def render(content: ReportContent) -> str:
    """The report as one HTML page; the same content gives the same bytes."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("transferscope", "report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
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
    return environment.get_template("page.html.j2").render(
        content=content,
        tally=_tally(content.findings),
        among_all=_among_all(content.findings),
        findings=[_finding(finding) for finding in content.findings],
        sections=[_section(section) for section in content.sections],
        section_titles={section.name: section.title for section in content.sections},
        provenance=_provenance(content.provenance),
        style=Markup(_resource("page.css")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


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


def _tally(findings: Sequence[Finding]) -> list[tuple[Verdict, str]]:
    """How many claims have which verdict, in words."""
    counts = Counter(finding.verdict for finding in findings)
    return [
        (verdict, f"{counts[verdict]} {verdict if counts[verdict] == 1 else plural}")
        for verdict, plural in _PLURALS.items()
    ]


def _among_all(findings: Sequence[Finding]) -> str:
    """How many of the claims that hold do so when all are tested at once."""
    count, hold = (
        sum(finding.holds_among_all for finding in findings),
        sum(finding.verdict == "holds" for finding in findings),
    )
    tested = sum(not numbers.is_missing(finding.p_value) for finding in findings)
    if not hold:
        return ""
    return (
        f"Of the {hold} that hold, {count} {'holds' if count == 1 else 'hold'} also when the chance of a single wrong "
        f"verdict among all {tested} tested is to stay below 5 % (p in brackets, after Holm, below 0.05)."
    )


def _section(section: Section) -> dict[str, Any]:
    panel_ids = _unique([identifier("figure", section.name, panel.name) for panel in section.panels])
    return {
        "section": section,
        "id": identifier("analysis", section.name),
        "panels": [_panel(panel, id_) for panel, id_ in zip(section.panels, panel_ids, strict=True)],
        "galleries": [_gallery(section.name, gallery) for gallery in section.galleries],
        "findings": [_finding(finding) for finding in section.findings],
        "tables": [_table(table) for table in section.tables],
    }


def _panel(panel: DrawnPanel, id_: str) -> dict[str, Any]:
    svg = inline_svg(panel.svg, id_, title=panel.title, summary=panel.summary)
    return {"id": id_, "title": panel.title, "summary": panel.summary, "svg": Markup(svg)}


def _gallery(section: str, gallery: Gallery) -> dict[str, Any]:
    return {
        "id": identifier("gallery", section, gallery.name),
        "title": gallery.title,
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


def _finding(finding: Finding) -> dict[str, Any]:
    effect, interval = numbers.effect(finding.effect, finding.low, finding.high)
    return {
        "finding": finding,
        "claim": finding.claim,
        "effect": effect,
        "has_effect": not numbers.is_missing(finding.effect),
        "interval": interval,
        "p_value": "" if numbers.is_missing(finding.p_value) else numbers.number(finding.p_value),
        "p_adjusted": "" if numbers.is_missing(finding.p_adjusted) else numbers.number(finding.p_adjusted),
        "unit": finding.claim.unit,
    }


def _table(table: ReportTable) -> dict[str, Any]:
    shown = table.frame.select([column.name for column in table.columns]).head(SHOWN_ROWS)
    whole = table.frame.write_csv().encode()
    is_whole = len(whole) <= MAX_EMBEDDED_CSV_BYTES
    csv = whole if is_whole else shown.write_csv().encode()
    return {
        "name": table.name,
        "id": identifier("table", table.name),
        "columns": table.columns,
        "rows": [[_cell(value) for value in row] for row in shown.iter_rows()],
        "num_rows": table.frame.height,
        "num_shown": shown.height,
        "csv": base64.b64encode(csv).decode(),
        "csv_rows": table.frame.height if is_whole else shown.height,
    }


def _cell(value: object) -> dict[str, Any]:
    """What a table's cell shows, and what it is sorted by where that differs."""
    if numbers.is_missing(value):
        return {"text": numbers.NOT_AVAILABLE, "missing": True, "key": None}
    if isinstance(value, bool):
        return {"text": "yes" if value else "no", "missing": False, "key": None}
    if isinstance(value, int | float):
        return {"text": numbers.number(value), "missing": False, "key": repr(value)}
    return {"text": str(value), "missing": False, "key": None}


def _provenance(provenance: Mapping[str, Any]) -> dict[str, Any]:
    tasks: Sequence[Mapping[str, Any]] = provenance.get("tasks", [])
    by_kind: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for task in tasks:
        by_kind[str(task["kind"])].append(task)
    return {
        "command": provenance.get("command", ""),
        "facts": [
            (name.replace("_", " "), _fact(value))
            for name, value in provenance.items()
            if name not in ("command", "tasks")
        ],
        "kinds": [
            {
                "kind": kind,
                "count": len(of_kind),
                "cached": sum(bool(task.get("cached")) for task in of_kind),
                "seconds": sum(task["seconds"] or 0.0 for task in of_kind),
            }
            for kind, of_kind in sorted(by_kind.items())
        ],
        "longest": list(islice(sorted(tasks, key=lambda task: -(task["seconds"] or 0.0)), LONGEST_TASKS)),
    }


def _fact(value: object) -> dict[str, Any]:
    """A mapping as pairs, all else as text."""
    if isinstance(value, Mapping):
        return {"pairs": [(str(key), _as_text(part)) for key, part in value.items()], "text": ""}
    return {"pairs": [], "text": _as_text(value)}


def _as_text(value: object) -> str:
    if value is None:
        return numbers.NOT_AVAILABLE
    if isinstance(value, float):
        return numbers.number(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_as_text(part) for part in value)
    return json.dumps(value, default=str, ensure_ascii=False) if isinstance(value, Mapping) else str(value)


def _unique(names: Sequence[str]) -> list[str]:
    """The names, with a number behind those that came before."""
    seen: Counter[str] = Counter()
    unique = []
    for name in names:
        seen[name] += 1
        unique.append(name if seen[name] == 1 else f"{name}--{seen[name]}")
    return unique


def _resource(name: str) -> str:
    return resources.files("transferscope.report").joinpath(name).read_text(encoding="utf-8")
