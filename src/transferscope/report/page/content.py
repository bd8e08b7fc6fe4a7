"""The content of a report, before it is rendered as HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from transferscope.analyses.claims import Finding
from transferscope.analyses.contract import Advice, Gallery, Headline
from transferscope.core.tables import Column

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, kw_only=True)
class DrawnPanel:
    """One chart, drawn."""

    name: str
    title: str
    summary: str
    svg: str
    """A standalone SVG in the light theme, as written to figures/."""
    group: str = ""
    """See `Panel`."""
    secondary: bool = False
    """See `Panel`."""


@dataclass(frozen=True, kw_only=True)
class ReportTable:
    """One table of an analysis, with its documentation."""

    name: str
    """Its file is tables/<name>.csv and .parquet."""
    columns: Sequence[Column]
    """All columns in order, the key columns included."""
    frame: pl.DataFrame


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One option of an analysis, as the study set it."""

    name: str
    value: str
    meaning: str


@dataclass(frozen=True, kw_only=True)
class Section:
    """One analysis in the report."""

    name: str
    title: str
    shows: str
    how_to_read: str
    caveats: str
    source: str
    panels: Sequence[DrawnPanel]
    tables: Sequence[ReportTable]
    findings: Sequence[Finding]
    galleries: Sequence[Gallery] = ()
    settings: Sequence[Setting] = ()
    """The options of the analysis in this study."""
    gap: str = ""
    """Why the section or a part of it is missing; empty if all tasks succeeded."""


@dataclass(frozen=True, kw_only=True)
class GivenNetwork:
    """One of your checkpoints with its metrics, as text."""

    name: str
    kind: str
    value: str
    interval: str
    expected: str
    train_value: str


@dataclass(frozen=True, kw_only=True)
class GivenNetworks:
    """The metrics of your checkpoints."""

    metric: str
    rows: Sequence[GivenNetwork]
    caption: str
    table: ReportTable
    """The same metrics as numbers."""
    warnings: Sequence[str]
    """Warnings about suspicious checkpoints."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The first page in plain words."""

    paragraphs: Sequence[str]
    """The answer with all its numbers."""
    headlines: Sequence[Headline]
    advice: Sequence[Advice] = ()
    """Recommendations about the pre-trained weights."""
    summary: Sequence[str] = ()
    """The answer in a few plain sentences."""
    figures: Sequence[DrawnPanel] = ()
    """The split of the gain."""


@dataclass(frozen=True, kw_only=True)
class DataSection:
    """The data sets of the study."""

    tables: Sequence[ReportTable]
    notes: Sequence[str] = ()
    """Remarks that matter for reading an accuracy."""
    pictures: str = ""
    """A sentence that says which test images this file contains."""


@dataclass(frozen=True, kw_only=True)
class ReportContent:
    """All of a report."""

    title: str
    description: str
    variant: str | None
    """The name of a reduced variant of the study, which the first page shows; None for the full study."""
    answer: Answer
    findings: Sequence[Finding]
    sections: Sequence[Section]
    study_yaml: str
    """The study as resolved."""
    provenance: Mapping[str, Any]
    """versions, hardware, seeds, command, and `tasks`: a list of {title, kind, seconds, cached}."""
    networks: GivenNetworks | None = None
    """None if the study trained its own."""
    data: DataSection | None = None
    """None if no data are decoded yet."""
    over: str = "seed"
    """The unit that intervals are computed over: "seed", or "network" for your checkpoints."""
