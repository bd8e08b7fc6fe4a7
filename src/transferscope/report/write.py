"""Write the tables, findings, figures and report of a finished run."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl
import yaml

from transferscope.analyses.claims import Finding, not_measured
from transferscope.analyses.contract import (
    IMAGES,
    Panel,
    all_claims,
    analysis_module,
    analysis_names,
    drawn_tables,
)
from transferscope.analyses.findings import adjusted
from transferscope.analyses.theme import draw
from transferscope.core.files import write_atomically
from transferscope.core.tables import csv_text
from transferscope.execute.progress.records import read_tasks
from transferscope.execute.store.artifacts import read_given
from transferscope.report.answer import answer
from transferscope.report.collect import AnalysisResult, collect
from transferscope.report.given_names import (
    answer_in_words,
    counted,
    finding_in_words,
    in_words_of,
    with_given_names,
)
from transferscope.report.page.content import (
    DataSection,
    DrawnPanel,
    GivenNetwork,
    GivenNetworks,
    ReportContent,
    ReportTable,
    Section,
    Setting,
)
from transferscope.report.page.render import render
from transferscope.report.preflight import COLUMNS, TABLE, caption_of, checked_networks, table_of, warnings_of
from transferscope.report.study_data import StudyData, study_data
from transferscope.report.workspace import Workspace, file_name, findings_document
from transferscope.study.file import resolved_yaml
from transferscope.study.plan import Plan

OUTPUTS = (
    "tables/*.parquet",
    "tables/*.csv",
    "tables/*.tex",
    "figures/*.svg",
    "figures/*.pdf",
    "figures/*.png",
    "report.md",
)
"""Files that an earlier run may have left in the folder."""
ANSWER = "answer"
"""The prefix of the names of the first page's figures."""


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What was written."""

    findings: Sequence[Finding]


def write_outputs(
    plan: Plan,
    workspace: Workspace,
    provenance: Mapping[str, Any],
    on_progress: Callable[[float, str], None] = lambda _share, _what: None,
    *,
    with_images: bool = True,
) -> Outputs:
    """Write everything that is drawn from the stored results; each file in one step.

    Args:
        plan: what was to be run.
        workspace: where the results are, and where to write.
        provenance: shown in the report.
        on_progress: told the share that is drawn, and what is drawn next.
        with_images: show test images in the report, and keep them in its tables.
    """
    results = collect(plan, workspace.store)
    if not with_images:
        results = {name: _without_images(result) for name, result in results.items()}
    findings = all_findings(plan, results)
    results = with_given_names(results, plan.study)
    fitted = in_words_of(plan.study.instances, plan.study.targets)
    _write_tables(workspace, results)
    names = [name for name in analysis_names() if name in results]
    sections = []
    for place, name in enumerate(names):
        on_progress(place / len(names), analysis_module(name).TITLE)
        own = [finding_in_words(one, fitted) for one in findings if one.claim.analysis == name]
        section = _section(name, results[name], own, workspace, plan)
        sections.append(section if with_images else replace(section, galleries=()))
    tables = {name: result.tables for name, result in results.items()}
    reasons = {key: task.failed for key, task in read_tasks(workspace.root).items() if task.failed}
    data = study_data(plan, workspace.store, reasons)
    for name, (_, frame) in data.tables.items():
        _write_table(workspace, name, frame, frame)
    beside = {name: data.beside(name) for name in plan.study.targets}
    first_page = answer(
        plan.study, tables, findings, lambda panel: _drawn(workspace, ANSWER, panel), beside, data.failed()
    )
    content = ReportContent(
        title=plan.study.name,
        description=plan.study.description,
        variant=plan.study.variant,
        answer=answer_in_words(first_page, fitted),
        findings=[finding_in_words(one, fitted) for one in findings],
        over=counted(plan.study.instances),
        data=_data_section(data, sections, with_images=with_images),
        sections=sorted(sections, key=lambda section: analysis_module(section.name).ORDER),
        study_yaml=resolved_yaml(plan.study),
        provenance=provenance,
        networks=_networks(plan, workspace),
    )
    document = findings_document(findings, plan, content.answer, provenance.get("pretrained"))
    write_atomically(workspace.findings_file, document)
    write_atomically(workspace.report, render(content))
    _remove_old(workspace, results, content)
    return Outputs(findings=findings)


def all_findings(plan: Plan, results: Mapping[str, AnalysisResult]) -> list[Finding]:
    """One finding for every claim, in the order of the analyses; p-values adjusted for all of them.

    A claim that an analysis judges without naming it in `CLAIMS` comes last.
    """
    found: dict[str, Finding] = {}
    for name, result in results.items():
        if any(not table.is_empty() for table in result.tables.values()):
            for finding in analysis_module(name).findings(result.tables, plan.study):
                found[finding.claim.id] = finding
    findings = []
    for claim in all_claims():
        if claim.id in found:
            findings.append(found.pop(claim.id))
        elif claim.analysis not in results:
            findings.append(not_measured(claim, f"The study does not run {claim.analysis}."))
        elif results[claim.analysis].missing:
            findings.append(not_measured(claim, "The measurements that it rests on failed or did not run."))
        else:
            findings.append(not_measured(claim, _nothing(claim.analysis)))
    return adjusted([*findings, *found.values()])


def _remove_old(workspace: Workspace, results: Mapping[str, AnalysisResult], content: ReportContent) -> None:
    """Remove tables and figures of an earlier study in this folder: what is shown belongs together."""
    names = {name for result in results.values() for name in result.tables}
    names |= {content.networks.table.name} if content.networks else set()
    names |= {table.name for table in content.data.tables} if content.data else set()
    new = {f"tables/{name}{suffix}" for name in names for suffix in (".parquet", ".csv")}
    shown = {ANSWER: content.answer.figures} | {section.name: section.panels for section in content.sections}
    new |= {
        f"figures/{file_name(name, panel.name)}.svg" for name, panels in shown.items() for panel in panels
    }
    for pattern in OUTPUTS:
        for path in workspace.root.glob(pattern):
            if path.relative_to(workspace.root).as_posix() not in new:
                path.unlink()


def _without_images(result: AnalysisResult) -> AnalysisResult:
    """The result with no picture in its tables."""
    tables = {
        name: table.with_columns(pl.lit(None, pl.Binary).alias(one.name) for one in pictures)
        for name, table in result.tables.items()
        if (pictures := [one for one in result.columns[name] if one.dtype == "png"])
    }
    return replace(result, tables={**result.tables, **tables})


def _data_section(data: StudyData, sections: Sequence[Section], *, with_images: bool) -> DataSection | None:
    """The data of the study, and which test images the report shows."""
    if not data.tables:
        return None
    shown = {section.title: _num_pictures(section) for section in sections}
    where = ", ".join(f"{title} ({count})" for title, count in shown.items() if count)
    pictures = "This report shows no images of the data set; tables name test images by file."
    if where:
        pictures = (
            f"This file contains {sum(shown.values())} small pictures of test images with the names of their files: "
            f"{where}. Tables name further ones. To share it without the pictures, write it with `transferscope report "
            "RUN --no-images`."
        )
    elif not with_images:
        pictures = "Pictures of test images were left out (`--no-images`); tables name test images by file."
    return DataSection(
        tables=[
            ReportTable(name=name, columns=columns, frame=frame)
            for name, (columns, frame) in data.tables.items()
        ],
        notes=data.notes,
        pictures=pictures,
    )


def _num_pictures(section: Section) -> int:
    return sum(
        picture.png is not None
        for gallery in section.galleries
        for row in gallery.rows
        for picture in row.pictures
    )


def _write_tables(workspace: Workspace, results: Mapping[str, AnalysisResult]) -> None:
    for result in results.values():
        for name, table in result.tables.items():
            _write_table(workspace, name, table, result.readable(name)[1])


def _write_table(workspace: Workspace, name: str, table: pl.DataFrame, readable: pl.DataFrame) -> None:
    buffer = io.BytesIO()
    table.write_parquet(buffer)
    write_atomically(workspace.root / "tables" / f"{name}.parquet", buffer.getvalue())
    write_atomically(workspace.root / "tables" / f"{name}.csv", csv_text(readable))


def _networks(plan: Plan, workspace: Workspace) -> GivenNetworks | None:
    """What the given networks reach, written as a table and shown in the report; None if the study trains its own."""
    networks = checked_networks(plan, workspace.store)
    if not networks:
        return None
    table = table_of(networks)
    _write_table(workspace, TABLE, table, table)
    return GivenNetworks(
        metric=networks[0].metric,
        rows=[
            GivenNetwork(
                name=network.name,
                kind=network.kind,
                value=f"{network.value:.3f}",
                interval=f"[{network.low:.3f}, {network.high:.3f}]",
                expected="–" if network.expected is None else f"{network.expected:.3f}",
                train_value=f"{network.train_value:.3f}",
            )
            for network in networks
        ],
        caption=caption_of(networks),
        table=ReportTable(name=TABLE, columns=COLUMNS, frame=table),
        warnings=warnings_of(networks),
    )


def _drawn(
    workspace: Workspace, name: str, panel: Panel, fitted: Callable[[str], str] = lambda text: text
) -> DrawnPanel:
    """Draw a panel, and write it to figures/; its caption fitted to the study."""
    svg = draw(panel.chart)
    write_atomically(workspace.root / "figures" / f"{file_name(name, panel.name)}.svg", svg)
    return DrawnPanel(
        name=panel.name,
        title=panel.title,
        summary=fitted(panel.summary),
        svg=svg,
        group=panel.group,
        secondary=panel.secondary,
    )


def _settings(plan: Plan, name: str) -> list[Setting]:
    """The options of an analysis in this study, each with what it means."""
    config = plan.study.analyses[name]
    values = config.model_dump(mode="json")
    return [
        Setting(name=option, value=_as_written(values[option]), meaning=field.description or "")
        for option, field in type(config).model_fields.items()
    ]


def _as_written(value: Any) -> str:
    """A value as a study file has it."""
    return yaml.safe_dump(value, default_flow_style=True, width=10**6).removesuffix("\n...\n").strip()


def _nothing(name: str) -> str:
    """The reason that an analysis has no rows although it ran."""
    return getattr(analysis_module(name), "NOTHING", "There was nothing to measure.")


def _given_caveat(plan: Plan, workspace: Workspace) -> str:
    """What is to be said wherever P appears, if its weights were given and look untrained."""
    for task in plan.graph:
        if task.kind == "weights" and workspace.store.has(task.key):
            untrained = read_given(workspace.store.result(task.key))["untrained"]
            if untrained:
                return (
                    f"\n\nThe given weights of P look untrained in {', '.join(untrained)}: there they are as a new "
                    "network is drawn, which the study allowed (allow_untrained)."
                )
    return ""


def _section(
    name: str, result: AnalysisResult, findings: Sequence[Finding], workspace: Workspace, plan: Plan
) -> Section:
    module = analysis_module(name)
    gap = ""
    if result.missing:
        gap = f"{len(result.missing)} of its measurements failed or did not run; see the summary of the run."
    elif all(table.is_empty() for table in result.tables.values()):
        gap = _nothing(name)
    panels = []
    if not any(result.tables[table].is_empty() for table in drawn_tables(name)):
        fitted = in_words_of(plan.study.instances, plan.study.targets)
        from altair.utils.schemapi import debug_mode

        with debug_mode(
            False
        ):  # Altair checks each part of a chart against its schema; tests check each panel
            panels = [_drawn(workspace, name, panel, fitted) for panel in module.panels(result.tables)]
    # tables without groups of images are for the intervals of claims: 20 rows for one of the table that is shown
    tables = {table: result.readable(table) for table in result.tables if not table.endswith(IMAGES)}
    return Section(
        name=name,
        title=module.TITLE,
        shows=module.SHOWS,
        how_to_read=module.HOW_TO_READ,
        caveats=module.CAVEATS + _given_caveat(plan, workspace),
        source=module.SOURCE,
        panels=panels,
        galleries=module.galleries(result.tables) if hasattr(module, "galleries") else (),
        tables=[
            ReportTable(name=table, columns=columns, frame=frame)
            for table, (columns, frame) in tables.items()
        ],
        findings=findings,
        settings=_settings(plan, name),
        gap=gap,
    )
