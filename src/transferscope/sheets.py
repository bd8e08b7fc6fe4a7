"""Tables as CSV that a spreadsheet only shows."""

from __future__ import annotations

import polars as pl

_FORMULA = r"^([=+\-@\t\r])"
"""What a spreadsheet takes for the beginning of a formula, which can call programs."""


def csv_text(frame: pl.DataFrame) -> str:
    """The table as CSV; a text (never a number) that begins as a formula does gets an apostrophe in front.

    Names of classes, targets and images come from others. The tables in .parquet have them as they are.
    """
    texts = [name for name, dtype in frame.schema.items() if dtype == pl.String]
    return frame.with_columns(pl.col(texts).str.replace(_FORMULA, "'$1")).write_csv()
