"""Columns of tables; tables as CSV without active formulas, and as HTML for notebooks.

Imports polars only when a table is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import polars as pl

_FORMULA = r"^([=+\-@\t\r])"
"""Characters with which a spreadsheet formula begins; a formula can run programs."""


@dataclass(frozen=True)
class Column:
    """One documented column of a table."""

    name: str
    dtype: Literal["str", "int", "float", "bool", "png"]
    """Type of the values. png: a thumbnail as bytes of a PNG file, which CSV files omit."""
    meaning: str
    unit: str = ""


def csv_text(frame: pl.DataFrame) -> str:
    """The table as CSV; a text that looks like a formula gets an apostrophe in front, but numbers don't.

    Names of classes, targets and images are untrusted. The Parquet files contain them unchanged.
    """
    import polars as pl

    texts = [name for name, dtype in frame.schema.items() if dtype == pl.String]
    return frame.with_columns(pl.col(texts).str.replace(_FORMULA, "'$1")).write_csv()


def html_table(rows: Iterable[Sequence[object]], *, head: Sequence[str] = (), caption: str = "") -> str:
    """Rows of text as a table; everything is escaped.

    Args:
        rows: the cells of each row, as they are shown by `str`.
        head: names of the columns; none where the first cell of each row says what it is.
        caption: what the table shows, above it.
    """
    left = ' style="text-align:left"'
    parts = ["<table>"]
    if caption:
        parts.append(f"<caption{left}>{escape(caption)}</caption>")
    if head:
        names = "".join(f'<th scope="col"{left}>{escape(name)}</th>' for name in head)
        parts.append(f"<thead><tr>{names}</tr></thead>")
    parts.append("<tbody>")
    for first, *others in rows:
        cell = (
            f"<td{left}>{escape(str(first))}</td>"
            if head
            else f'<th scope="row"{left}>{escape(str(first))}</th>'
        )
        parts.append(f"<tr>{cell}{''.join(f'<td{left}>{escape(str(other))}</td>' for other in others)}</tr>")
    return "\n".join([*parts, "</tbody>", "</table>"])
