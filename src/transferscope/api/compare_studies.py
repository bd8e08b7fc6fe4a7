"""Two finished studies side by side: one page, tables, and the same for a program.

```python
import transferscope

found = transferscope.compare_studies("runs/first", "runs/second", out="runs/compared")
found.claims.filter(found.claims["verdict"] == "changed")
```
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from transferscope.analyses.contract import IMAGES, analysis_module, analysis_names
from transferscope.core.errors import BadInput
from transferscope.core.files import write_atomically
from transferscope.core.instances import NAME_COLUMN
from transferscope.core.tables import csv_text
from transferscope.report.compare.differences import ReadStudy, claim_pairs, differences, warnings
from transferscope.report.given_names import counted, in_words_of
from transferscope.report.workspace import read_findings

if TYPE_CHECKING:
    import polars as pl

PAGE = "comparison.html"
DOCUMENT = "comparison.json"


@dataclass(frozen=True, kw_only=True)
class StudyComparison:
    """What came out."""

    claims: pl.DataFrame
    """One row a claim: its verdict, effect, interval and n in A and in B, and whether the verdict is the same."""
    differences: pl.DataFrame
    """One row a key of the study files that the two don't have in common."""
    warnings: Sequence[str]
    """Why numbers should not be laid beside each other as they are; empty where nothing is against it."""
    report: Path
    """The HTML page."""


def compare_studies(a: str | Path, b: str | Path, *, out: str | Path) -> StudyComparison:
    """Lay two finished studies side by side; nothing is run.

    Reads what the reports of both were drawn from. Writes comparison.html (claims beside each other, the main
    figures in pairs on equal axes, what differs between the study files), comparison.json, and as CSV the claims,
    the differences, and every table with the rows of both.

    Args:
        a, b: the --out folders of two runs.
        out: folder to write to.

    Returns:
        The tables of claims and differences, the warnings, and where the page is.

    Raises:
        BadInput: a folder holds no finished study, or tables of another version.

    >>> compare_studies("runs/missing", "runs/missing", out="unused")
    Traceback (most recent call last):
        ...
    transferscope.core.errors.BadInput: runs/missing holds no finished study...
    """

    from transferscope.report.compare.side_by_side import (
        Comparison,
        claims_table,
        differences_table,
        side_by_side_page,
    )

    studies = [_read(Path(folder), label) for folder, label in ((a, "A"), (b, "B"))]
    compared = Comparison(
        a=studies[0],
        b=studies[1],
        warnings=warnings(*studies),
        claims=claim_pairs(*studies),
        differences=differences(*studies),
    )
    claims, differing = claims_table(compared.claims), differences_table(compared.differences)
    folder = Path(out)
    write_atomically(folder / "tables" / "claims.csv", csv_text(claims))
    write_atomically(folder / "tables" / "differences.csv", csv_text(differing))
    for name, table in _tables_of_both(studies).items():
        write_atomically(folder / "tables" / f"{name}.csv", csv_text(table))
    document = _document(compared.a, compared.b, claims, differing, compared.warnings)
    write_atomically(folder / DOCUMENT, json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    write_atomically(folder / PAGE, side_by_side_page(compared))
    return StudyComparison(
        claims=claims, differences=differing, warnings=compared.warnings, report=folder / PAGE
    )


def _read(folder: Path, label: str) -> ReadStudy:
    files = {name: folder / name for name in ("study.yaml", "findings.json", "provenance.json")}
    missing = [name for name, path in files.items() if not path.exists()]
    if missing:
        raise BadInput(
            f"{folder} holds no finished study: there is no {', '.join(missing)}. Name the --out folder of a run; "
            f"what it lacks is drawn by: transferscope report {folder}"
        )
    try:
        findings = read_findings(files["findings.json"].read_text(encoding="utf-8"))
        provenance = json.loads(files["provenance.json"].read_text(encoding="utf-8"))
        document = yaml.safe_load(files["study.yaml"].read_text(encoding="utf-8"))
    except (KeyError, TypeError, ValueError, yaml.YAMLError) as error:
        raise BadInput(
            f"{folder}: its findings or its study can't be read ({error}); they may be of another version. Draw them "
            f"again with: transferscope report {folder}"
        ) from error
    instances = document.get("instances")
    return ReadStudy(
        label=label,
        folder=folder,
        document=document,
        findings={finding.claim.id: finding for finding in findings},
        tables={name: _tables(folder, name) for name in analysis_names() if name in document["analyses"]},
        provenance=provenance,
        over=counted(instances),
        fitted=in_words_of(instances, document["targets"]),
    )


def _tables(folder: Path, analysis: str) -> dict[str, pl.DataFrame]:
    """The tables of an analysis that are shown, with the columns that this version knows."""
    import polars as pl

    module = analysis_module(analysis)
    documented = {
        name: (*module.KEYS, *own) for name, own in module.TABLES.items() if not name.endswith(IMAGES)
    }
    documented |= getattr(module, "SUMMARIES", {})
    tables = {}
    for name, columns in documented.items():
        path = folder / "tables" / f"{name}.parquet"
        names = [column.name for column in columns]
        table = pl.read_parquet(path) if path.exists() else None
        if table is None or any(column not in table.columns for column in names):
            raise BadInput(
                f"{folder}: its table {name} is not there or of another version. Draw it again with: "
                f"transferscope report {folder}"
            )
        # networks that were given have a column for their names where others have only kind and seed
        tables[name] = table.select([*names, *({NAME_COLUMN} & set(table.columns) - set(names))])
    return tables


def _tables_of_both(studies: Sequence[ReadStudy]) -> dict[str, pl.DataFrame]:
    """Every table with a first column that says whose row it is; without pictures."""
    import polars as pl

    parts: dict[str, list[pl.DataFrame]] = {}
    for study in studies:
        for tables in study.tables.values():
            for name, table in tables.items():
                kept = table.select(pl.lit(study.label).alias("study"), pl.all().exclude(pl.Binary))
                parts.setdefault(name, []).append(kept)
    return {name: pl.concat(own, how="diagonal") for name, own in parts.items()}


def _document(
    a: ReadStudy, b: ReadStudy, claims: pl.DataFrame, differing: pl.DataFrame, warned: Sequence[str]
) -> dict[str, Any]:
    return {
        "studies": {study.label: {"name": study.name, "folder": str(study.folder)} for study in (a, b)},
        "warnings": list(warned),
        "claims": [_plain(row) for row in claims.iter_rows(named=True)],
        "differences": list(differing.iter_rows(named=True)),
    }


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers that aren't finite as null: JSON has no others."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in row.items()
    }
