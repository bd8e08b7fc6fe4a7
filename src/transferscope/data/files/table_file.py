"""Tables of images and labels: CSV, TSV, JSON Lines or Parquet. Imports no torch."""

from __future__ import annotations

import gzip
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from transferscope.core.errors import BadInput, did_you_mean

if TYPE_CHECKING:
    import polars as pl

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
"""Each, except for Parquet, also with .gz behind it."""
WHOLE = re.compile(r"-?\d+(\.0+)?")


def read_table(path: Path) -> pl.DataFrame:
    """The rows of a table; the cells of CSV and TSV are text, and empty cells are null.

    Raises:
        BadInput: there is no such file, or it can't be read.
    """
    import polars as pl

    if not path.is_file():
        came = "is a folder" if path.is_dir() else "does not exist"
        raise BadInput(f"the table {path} {came}. Give a file that ends with {', '.join(SUFFIXES)}.")
    name = path.name.lower()
    kind = Path(name.removesuffix(".gz")).suffix
    if kind not in SUFFIXES or (kind == ".parquet" and name.endswith(".gz")):
        raise BadInput(f"the table {path} is not of a kind that is read: {', '.join(SUFFIXES)}.")
    try:
        if kind == ".parquet":
            return pl.read_parquet(path)
        content = gzip.decompress(path.read_bytes()) if name.endswith(".gz") else path.read_bytes()
        if kind in (".jsonl", ".ndjson"):
            return pl.read_ndjson(io.BytesIO(content), infer_schema_length=None)
        content = content.removeprefix(b"\xef\xbb\xbf")
        separator = "\t" if kind == ".tsv" else _separator(content)
        table = pl.read_csv(io.BytesIO(content), infer_schema=False, separator=separator)
    except (OSError, EOFError, ValueError, pl.exceptions.PolarsError) as error:
        raise BadInput(f"the table {path} can't be read: {str(error).splitlines()[0]}") from None
    return table.rename({column: column.strip() for column in table.columns})


def _separator(content: bytes) -> str:
    first = content.split(b"\n", 1)[0]
    return ";" if first.count(b";") > first.count(b",") else ","


def joined(tables: Sequence[tuple[Path, pl.DataFrame]]) -> pl.DataFrame:
    """The first table with the columns of the others, row by row: by all columns that they have in common.

    Raises:
        BadInput: two tables have no column in common, or the common ones don't identify the rows of the later one.
    """
    path, whole = tables[0]
    for other_path, other in tables[1:]:
        common = [column for column in whole.columns if column in other.columns]
        if not common:
            raise BadInput(
                f"join: {other_path} has no column in common with {path}. Columns: {', '.join(other.columns)}; and "
                f"{', '.join(whole.columns)}."
            )
        if other.select(common).is_duplicated().any():
            raise BadInput(
                f"join: {other_path} has several rows with the same {', '.join(common)}, by which it is joined to "
                f"{path}. Give the table with one row per image as `path`."
            )
        try:
            whole = whole.join(other, on=common, how="left", maintain_order="left")
        except Exception as error:  # polars: columns of different types
            raise BadInput(
                f"join: {other_path} can't be joined to {path} by {', '.join(common)}: {error}"
            ) from None
    return whole


def column_named(option: str, given: str | None, usual: Iterable[str], table: pl.DataFrame) -> str | None:
    """The stated column, or else the only one with a usual name; None if there is none.

    Names are compared without case, blanks and underscores.

    Raises:
        BadInput: the stated column is not there, or several columns have usual names.
    """
    if given is not None:
        if given not in table.columns:
            raise BadInput(f"{option}: there is no column '{given}'.{did_you_mean(given, table.columns)}")
        return given
    wanted = {_plain(name) for name in usual}
    fitting = [column for column in table.columns if _plain(column) in wanted]
    if len(fitting) > 1:
        raise BadInput(f"{option}: {' and '.join(fitting)} are possible; give the name of one of them.")
    return fitting[0] if fitting else None


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).lower()


def texts(table: pl.DataFrame, column: str) -> list[str | None]:
    """The cells of a column as text, without blanks around it; None where a cell is empty or NaN.

    Whole numbers that are stored as floats, as pandas does in columns with empty cells, lose their ".0".
    """
    import polars as pl

    values = table[column]
    if values.dtype.is_nested() or values.dtype == pl.Binary:
        raise BadInput(f"the column '{column}' holds {values.dtype}; expected text or numbers.")
    cells = values.cast(pl.String).str.strip_chars().to_list()
    cells = [None if cell is None or cell.lower() in ("", "nan", "null", "none") else cell for cell in cells]
    if all(WHOLE.fullmatch(cell) for cell in cells if cell):
        cells = [cell.partition(".")[0] if cell else None for cell in cells]
    return cells
