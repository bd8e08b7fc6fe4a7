"""The tables in the page: a few rows to read at once, and all of them packed for sorting, filtering, download.

The packed rows are a gzipped CSV text in base64. The page's script unpacks them when somebody opens the table;
without a script there are the rows shown, and the files beside the report.
"""

from __future__ import annotations

import base64
import gzip
from typing import Any

import polars as pl

from transferscope.core.tables import csv_text
from transferscope.report.page import numbers
from transferscope.report.page.content import ReportTable

SHOWN_ROWS = 8
"""Rows of a table that the page itself has."""
MAX_PACKED_BYTES = 60_000
"""A table that is larger when packed is packed with its first rows only."""


def data_table(table: ReportTable, id_: str) -> dict[str, Any]:
    """The values that the page's template needs to show a table."""
    frame = table.frame.select([column.name for column in table.columns])
    packed, num_packed = _packed(frame)
    shown = frame.head(SHOWN_ROWS)
    return {
        "name": table.name,
        "id": id_,
        "columns": table.columns,
        "rows": [[_cell(value) for value in row] for row in shown.iter_rows()],
        "num_rows": frame.height,
        "num_shown": shown.height,
        "packed": packed,
        "num_packed": num_packed,
    }


def _packed(frame: pl.DataFrame) -> tuple[str, int]:
    """Pack as many of the first rows as there is room for; returns them and their number."""
    num_rows = frame.height
    while True:
        data = gzip.compress(csv_text(frame.head(num_rows)).encode(), 9, mtime=0)
        if len(data) <= MAX_PACKED_BYTES or num_rows <= SHOWN_ROWS:
            return base64.b64encode(data).decode(), num_rows
        num_rows = max(SHOWN_ROWS, int(0.95 * num_rows * MAX_PACKED_BYTES / len(data)))


def _cell(value: object) -> dict[str, Any]:
    """The text of a table's cell."""
    if numbers.is_missing(value):
        return {"text": numbers.NOT_AVAILABLE, "missing": True}
    if isinstance(value, bool):
        return {"text": "yes" if value else "no", "missing": False}
    if isinstance(value, int | float):
        return {"text": numbers.number(value), "missing": False}
    return {"text": str(value), "missing": False}
