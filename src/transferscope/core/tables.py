"""Columns of tables, and tables as CSV that a spreadsheet only shows. Imports polars only when a table is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import polars as pl

_FORMULA = r"^([=+\-@\t\r])"
"""What a spreadsheet takes for the beginning of a formula, which can call programs."""


@dataclass(frozen=True)
class Column:
    """One documented column of a table."""

    name: str
    dtype: Literal["str", "int", "float", "bool", "png"]
    """png: a small picture as the bytes of a PNG file; in the Parquet files, left out of the CSV files."""
    meaning: str
    unit: str = ""


def csv_text(frame: pl.DataFrame) -> str:
    """The table as CSV; a text (never a number) that begins as a formula does gets an apostrophe in front.

    Names of classes, targets and images come from others. The tables in .parquet have them as they are.
    """
    import polars as pl

    texts = [name for name, dtype in frame.schema.items() if dtype == pl.String]
    return frame.with_columns(pl.col(texts).str.replace(_FORMULA, "'$1")).write_csv()
