"""The image of each row of a table: a path in a column, a path by a pattern, or bytes. Imports no torch."""

from __future__ import annotations

import os
import re
import string
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from transferscope.core.errors import BadInput, did_you_mean
from transferscope.data.files.folder_walk import EXTENSIONS
from transferscope.data.files.image_list import Entry, ImageFolder, Label
from transferscope.data.files.table_file import texts

if TYPE_CHECKING:
    import polars as pl

ENDINGS = (*EXTENSIONS, *(one.upper() for one in EXTENSIONS))
MAX_SEARCHED = 100
"""Folders in which images are searched that are not where the table says."""


@dataclass(frozen=True)
class Paths:
    """Where the image of each row is."""

    names: list[str]
    """Path below the root; a row number if the table holds the bytes and no path."""
    content: pl.Series | None = None
    """The bytes of each row's image file, if the table holds them."""

    def entry(self, row: int, folder: ImageFolder, label: Label, id_: str) -> Entry | None:
        """The image of a row, or None, and a problem noted, where it can't be used."""
        if self.content is None:
            name = self.names[row]
            if os.path.isabs(name):
                name = os.path.relpath(name, folder.root)
            return folder.entry(name, label, id_)
        return Entry(str(row), id_, label, 0, 0)


def paths_in_column(column: str, table: pl.DataFrame) -> Paths:
    """The paths or the bytes that a column holds; a struct of both, as the library `datasets` writes it, is bytes."""
    import polars as pl

    kind = table.schema[column]
    if isinstance(kind, pl.Struct):
        fields = {field.name: field.dtype for field in kind.fields}
        if fields.get("bytes") != pl.Binary:
            raise BadInput(f"image_column: the column '{column}' holds {kind}; expected paths, or bytes.")
        return Paths(_row_names(table.height), table[column].struct.field("bytes"))
    if kind == pl.Binary:
        return Paths(_row_names(table.height), table[column])
    return Paths([cell or "(empty)" for cell in texts(table, column)])


def _row_names(count: int) -> list[str]:
    return [f"row {number}" for number in range(count)]


def paths_by_pattern(pattern: str, table: pl.DataFrame, root: Path) -> Paths:
    """The path of each row, by a pattern with the names of columns in braces.

    Raises:
        BadInput: the pattern is none, names a column that is not there, or has `*` in the name of the file.
    """
    try:
        fields = [name for _, name, _, _ in string.Formatter().parse(pattern) if name is not None]
    except ValueError as error:
        raise BadInput(f"file_pattern: '{pattern}' can't be read: {error}.") from None
    if not fields:
        raise BadInput(
            f"file_pattern: '{pattern}' names no column, as in 'images/{{{table.columns[0]}}}.jpg'."
        )
    for name in fields:
        if name not in table.columns:
            raise BadInput(f"file_pattern: there is no column '{name}'.{did_you_mean(name, table.columns)}")
    columns = {name: texts(table, name) for name in fields}
    try:
        names = [
            string.Formatter().vformat(
                pattern, (), {name: cell or "" for name, cell in zip(columns, row, strict=True)}
            )
            for row in zip(*columns.values(), strict=True)
        ]
    except (ValueError, KeyError, IndexError, AttributeError) as error:
        raise BadInput(f"file_pattern: '{pattern}' can't be filled in: {error}.") from None
    return Paths(_found(pattern, names, root) if "*" in pattern else names)


def _found(pattern: str, names: list[str], root: Path) -> list[str]:
    """The names with the folder that `*` stands for; where there is none, as they are, which is then missing."""
    folder, _, file = pattern.rpartition("/")
    if "*" in file or "{" in folder or "**" in folder:
        raise BadInput(
            f"file_pattern: '{pattern}': `*` stands for one folder, and columns are named behind the last '/'."
        )
    where: dict[str, str] = {}
    for path in sorted(root.glob(folder)):
        if not path.is_dir():
            continue
        for name in os.listdir(path):
            if name in where:
                raise BadInput(
                    f"file_pattern: {name} is in {where[name]} and in {path.relative_to(root).as_posix()}."
                )
            where[name] = path.relative_to(root).as_posix()
    if not where:
        raise BadInput(f"file_pattern: no folder below {root} fits '{folder}'.")
    files = [re.sub(r"^.*/", "", name) for name in names]
    return [
        f"{where[file]}/{file}" if file in where else name for file, name in zip(files, names, strict=True)
    ]


def where_they_may_be(paths: Paths, root: Path) -> str:
    """What to write if not one of the paths is a file: the folder or the ending that the first image has; else empty.

    The root and the folders in it are searched.
    """
    if paths.content is not None or not paths.names or any((root / name).is_file() for name in paths.names):
        return ""
    folder, _, file = paths.names[0].rpartition("/")
    inside = sorted(path for path in root.iterdir() if path.is_dir())[:MAX_SEARCHED] if root.is_dir() else []
    for place in (root, *inside):
        if place != root and (place / paths.names[0]).is_file():
            return f"None of the images is below {root}; {paths.names[0]} is below {place}: give `root: {place}`."
        ending = next((one for one in ENDINGS if (place / folder / f"{file}{one}").is_file()), None)
        if ending is not None:
            before = "" if place == root else f"{place.name}/"
            return (
                f"None of the images is a file; there is {before}{paths.names[0]}{ending}: give "
                f'`file_pattern: "{before}{{COLUMN}}{ending}"` with the name of the column.'
            )
    return ""
