"""Two studies in one HTML page: claims beside each other, figures in pairs on equal axes, what differs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl
from markupsafe import Markup

from transferscope.analyses.claims import Finding
from transferscope.analyses.contract import Panel, analysis_module, analysis_names, drawn_tables
from transferscope.analyses.shared.phrases import counted
from transferscope.analyses.theme import draw_specification, themed
from transferscope.core.tables import Column
from transferscope.execute.store.artifacts import DTYPES
from transferscope.report.compare.differences import ClaimPair, Difference, ReadStudy
from transferscope.report.page import render
from transferscope.report.page.content import ReportTable
from transferscope.report.page.data_tables import data_table
from transferscope.report.page.drawings import inline_svg
from transferscope.report.page.equal_axes import with_equal_axes

CLAIM_COLUMNS = (
    Column("claim", "str", "Id of the claim"),
    Column("statement", "str", "The claim"),
    Column("verdict", "str", "same, changed, only in A, only in B, or in neither"),
    *(
        replace(column, name=f"{column.name}_{label}", meaning=f"{column.meaning}, in {label.upper()}")
        for label in ("a", "b")
        for column in (
            Column("verdict", "str", "Verdict, or not measured"),
            Column("evidence", "str", "How sure it is"),
            Column("effect", "float", "The claim's number"),
            Column("low", "float", "Lower end of its 95 % interval over seeds, or networks that were given"),
            Column("high", "float", "Upper end"),
            Column("num_seeds", "int", "Seeds, or networks that were given"),
            Column("num_images", "int", "Test images behind each instance's number"),
        )
    ),
    Column("remark", "str", "What differs in the measurement"),
)
DIFFERENCE_COLUMNS = (
    Column("key", "str", "Key in the study file"),
    Column("a", "str", "Its value in A"),
    Column("b", "str", "Its value in B"),
)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two studies with their differences."""

    a: ReadStudy
    b: ReadStudy
    warnings: Sequence[str]
    claims: Sequence[ClaimPair]
    differences: Sequence[Difference]


def claims_table(claims: Sequence[ClaimPair]) -> pl.DataFrame:
    """One row a claim: `CLAIM_COLUMNS`."""
    schema = {column.name: DTYPES[column.dtype] for column in CLAIM_COLUMNS}
    rows = []
    for pair in claims:
        row: dict[str, Any] = {"claim": pair.claim.id, "statement": pair.claim.statement}
        row |= {"verdict": pair.change, "remark": pair.remark}
        for label, finding in (("a", pair.a), ("b", pair.b)):
            row[f"verdict_{label}"] = None if finding is None else _verdict(finding)
            row[f"evidence_{label}"] = None if finding is None else finding.evidence
            for name in ("effect", "low", "high", "num_seeds", "num_images"):
                row[f"{name}_{label}"] = None if finding is None else getattr(finding, name)
        rows.append(row)
    return pl.DataFrame(rows, schema=schema)


def differences_table(differences: Sequence[Difference]) -> pl.DataFrame:
    """One row a key: `DIFFERENCE_COLUMNS`."""
    rows = [{"key": one.key, "a": one.a, "b": one.b} for one in differences]
    return pl.DataFrame(rows, schema=dict.fromkeys(("key", "a", "b"), pl.String))


def side_by_side_page(compared: Comparison) -> str:
    """The page; the same studies give the same bytes."""
    sections = list(_sections(compared))
    tables = [
        ReportTable(name="claims", columns=CLAIM_COLUMNS, frame=claims_table(compared.claims)),
        ReportTable(
            name="differences", columns=DIFFERENCE_COLUMNS, frame=differences_table(compared.differences)
        ),
    ]
    return render.page(
        "side_by_side.html.j2",
        a=compared.a,
        b=compared.b,
        warnings=compared.warnings,
        summary=_summary(compared.claims),
        over=" or ".join(dict.fromkeys(f"{study.over}s" for study in (compared.a, compared.b))),
        claims=[_claim(pair, sections) for pair in compared.claims],
        sections=sections,
        differences=compared.differences,
        tables=[data_table(table, render.identifier("table", table.name)) for table in tables],
    )


def _summary(claims: Sequence[ClaimPair]) -> list[str]:
    """A few sentences: which verdicts differ, and how many agree."""
    changed = [pair for pair in claims if pair.change == "changed"]
    counts = Counter(pair.change for pair in claims)
    measured = counts["same"] + counts["changed"]
    lines = [f"Of {counted(measured, 'claim')} that both could test, {counts['same']} have the same verdict."]
    lines += [
        f"{pair.claim.statement} A: {_verdict(pair.a)}, B: {_verdict(pair.b)}."
        for pair in changed
        if {_verdict(pair.a), _verdict(pair.b)} == {"holds", "does not hold"}
    ]
    if any("undecided" in (_verdict(pair.a), _verdict(pair.b)) for pair in changed):
        one_sided = sum("undecided" in (_verdict(pair.a), _verdict(pair.b)) for pair in changed)
        lines.append(f"{counted(one_sided, 'claim')} could be decided in only one of the two.")
    only = [f"{counts[name]} {name}" for name in ("only in A", "only in B") if counts[name]]
    if only:
        lines.append(f"Tested {' and '.join(only)}.")
    return lines


def _verdict(finding: Finding | None) -> str:
    return finding.verdict if finding is not None and finding.is_measured else "not measured"


def _claim(pair: ClaimPair, sections: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    section = next((one for one in sections if one["name"] == pair.claim.analysis), None)
    shown = [finding if finding is not None and finding.is_measured else None for finding in (pair.a, pair.b)]
    reach = render.reach([finding for finding in shown if finding is not None])
    return {
        "claim": pair.claim,
        "change": pair.change,
        "remark": pair.remark,
        "section": section and section["id"],
        "section_title": section and section["title"],
        "a": shown[0] and render.finding_on_page(shown[0], reach),
        "b": shown[1] and render.finding_on_page(shown[1], reach),
    }


def _sections(compared: Comparison) -> Iterator[dict[str, Any]]:
    """Of each analysis that one of them ran, its main figures in pairs."""
    names = [name for name in analysis_names() if name in compared.a.tables or name in compared.b.tables]
    for name in sorted(names, key=lambda name: analysis_module(name).ORDER):
        drawn = [_panels(study, name) for study in (compared.a, compared.b)]
        pairs = [_pair(name, key, drawn) for key in dict.fromkeys([*drawn[0], *drawn[1]])]
        missing = [study.label for study in (compared.a, compared.b) if name not in study.tables]
        yield {
            "name": name,
            "id": render.identifier("analysis", name),
            "title": analysis_module(name).TITLE,
            "note": f"{missing[0]} has no results of this analysis." if missing else "",
            "pairs": pairs,
        }


def _panels(study: ReadStudy, name: str) -> dict[str, Panel]:
    """The main charts by name; none where the study has nothing to draw."""
    module = analysis_module(name)
    tables = study.tables.get(name)
    if tables is None:
        return {}
    if any(tables[table].is_empty() for table in drawn_tables(name)):
        return {}
    return {
        panel.name: replace(panel, summary=study.fitted(panel.summary))
        for panel in module.panels(tables)
        if not panel.secondary
    }


def _pair(analysis: str, name: str, drawn: Sequence[Mapping[str, Panel]]) -> dict[str, Any]:
    panels = [panels.get(name) for panels in drawn]
    specs = [None if panel is None else themed(panel.chart) for panel in panels]
    if specs[0] is not None and specs[1] is not None:
        specs = list(with_equal_axes(specs[0], specs[1]))
    first = next(panel for panel in panels if panel is not None)
    sides = []
    for label, spec in zip(("A", "B"), specs, strict=True):
        id_ = render.identifier("figure", analysis, name, label)
        svg = spec and inline_svg(draw_specification(spec), id_, title=f"{label}: {first.title}")
        sides.append({"label": label, "svg": svg and Markup(svg)})
    summary = first.summary if panels[0] is None or panels[1] is None else _common(*panels)
    return {"title": first.title, "summary": summary, "sides": sides}


def _common(a: Panel | None, b: Panel | None) -> str:
    """The caption that both have; where it names numbers of one study, only what comes before them."""
    assert a is not None
    assert b is not None
    if a.summary == b.summary:
        return a.summary
    sentences = zip(a.summary.split(". "), b.summary.split(". "), strict=False)
    common = [own for own, other in sentences if own == other]
    return ". ".join(common).rstrip(".") + "." if common else ""
