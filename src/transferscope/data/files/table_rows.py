"""From a table to the list of images of both splits. Imports no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from transferscope.core.errors import BadInput
from transferscope.data.files.group_ids import id_in_group
from transferscope.data.files.image_list import Entry, ImageFolder, Listing, file_fingerprint
from transferscope.data.files.label_columns import chosen_labels
from transferscope.data.files.list_file import lines_of
from transferscope.data.files.problems import Problems
from transferscope.data.files.random_order import in_random_order
from transferscope.data.files.split_share import DEFAULT_SHARE, Share, divide, split_note
from transferscope.data.files.table_file import column_named, joined, read_table, texts
from transferscope.data.files.table_labels import (
    BadCell,
    Labels,
    classes_of,
    labels_in_cells,
    labels_in_columns,
    one_class_of_columns,
)
from transferscope.data.files.table_options import (
    GROUP_COLUMNS,
    IMAGE_COLUMNS,
    LABEL_COLUMNS,
    SPLIT_COLUMNS,
    TableOptions,
)
from transferscope.data.files.table_paths import Paths, paths_by_pattern, paths_in_column, where_they_may_be

if TYPE_CHECKING:
    import polars as pl

MAX_NAMED = 5


@dataclass(frozen=True)
class TableListing:
    """The images of a table."""

    listing: Listing
    content: pl.Series | None
    """The bytes of the image file of each row, if the table holds them; the paths of the entries are row numbers."""
    fingerprint: str | None
    """Of the tables, if they hold the images; None if the files decide."""


def list_table(options: TableOptions) -> TableListing:
    """Read the table and list its images.

    Raises:
        BadInput: the table or its columns are not as the options say.
    """
    table, num_first = _rows(options)
    problems, notes = Problems(), []
    paths = _paths(options, table)
    if hint := where_they_may_be(paths, options.folder):
        raise BadInput(f"{options.path}: {hint}")
    split, split_notes = _stated_splits(options, table, num_first, paths)
    is_train = [one == "train" or one is None for one in split]
    labels = _labels(options, table, is_train)
    group_column = column_named("group_column", options.group_column, GROUP_COLUMNS, table)
    groups = None if group_column is None else texts(table, group_column)
    division = ""
    if None in split:
        share = DEFAULT_SHARE if options.test_share is None else options.test_share
        split = _by_share(labels, paths.names, groups, share, options.split_seed)
        of = "each label" if labels.multi_label else "each class"
        kept_together = f"column {group_column}" if group_column else ""
        division = split_note(share, options.split_seed, of, kept_together)
    elif groups is not None:
        notes += _straddling(split, groups, str(group_column))
    entries = _entries(options, paths, labels, groups, split, problems)
    names = labels.names
    if labels.multi_label:
        names = chosen_labels(names, entries, options, problems)
    listing = Listing(
        class_names=names,
        train=tuple(entries["train"]),
        test=tuple(entries["test"]),
        problems=problems,
        multi_label=labels.multi_label,
        notes=(*split_notes, *labels.notes, *notes),
        division=division,
    )
    tables = [options.path, *options.join, *filter(None, [options.test_path, options.test_list])]
    fingerprint = None if paths.content is None else file_fingerprint(tables)
    return TableListing(listing, paths.content, fingerprint)


def _rows(options: TableOptions) -> tuple[pl.DataFrame, int | None]:
    """All rows, and how many of them are of the first table if the test images have their own."""
    import polars as pl

    further = [(path, read_table(path)) for path in options.join]
    table = joined([(options.path, read_table(options.path)), *further])
    num_first = None
    if options.test_path is not None:
        num_first = table.height
        test = joined([(options.test_path, read_table(options.test_path)), *further])
        common = [column for column in table.columns if column in test.columns]
        try:
            table = pl.concat([table.select(common), test.select(common)], how="vertical_relaxed")
        except pl.exceptions.PolarsError as error:
            raise BadInput(f"test_path: {options.test_path} doesn't fit {options.path}: {error}") from None
    if not table.height:
        raise BadInput(f"the table {options.path} has no rows.")
    return table, num_first


def _paths(options: TableOptions, table: pl.DataFrame) -> Paths:
    if options.file_pattern is not None:
        return paths_by_pattern(options.file_pattern, table, options.folder)
    import polars as pl

    of_bytes = [
        name for name, kind in table.schema.items() if kind == pl.Binary or isinstance(kind, pl.Struct)
    ]
    if options.image_column is None and len(of_bytes) == 1:
        return paths_in_column(of_bytes[0], table)
    column = column_named("image_column", options.image_column, IMAGE_COLUMNS, table)
    if column is None:
        raise BadInput(
            f"the table {options.path} has no column with a usual name for paths. Its columns: "
            f"{', '.join(table.columns)}. Give one as image_column, or `file_pattern`, as in "
            f"'images/{{{table.columns[0]}}}.jpg'."
        )
    return paths_in_column(column, table)


def _labels(options: TableOptions, table: pl.DataFrame, is_train: Sequence[bool]) -> Labels:
    if options.label_columns:
        columns = {
            str(column_named("label_columns", name, (), table)): texts(table, name)
            for name in options.label_columns
        }
        labels = labels_in_columns(
            columns, missing=options.missing_labels, uncertain=options.uncertain_labels
        )
        return one_class_of_columns(labels) if options.one_hot else labels
    column = column_named("label_column", options.label_column, LABEL_COLUMNS, table)
    if column is None:
        raise BadInput(
            f"the table {options.path} has no column with a usual name for labels. Its columns: "
            f"{', '.join(table.columns)}. Give one as label_column, or several as label_columns."
        )
    cells = texts(table, column)
    if options.label_separator is not None:
        return labels_in_cells(cells, is_train, column, options.label_separator, options.no_label)
    return classes_of(cells, is_train, column)


def _stated_splits(
    options: TableOptions, table: pl.DataFrame, num_first: int | None, paths: Paths
) -> tuple[Sequence[str | None], list[str]]:
    """Of each row train, test, another text if it is of neither, or None if `test_share` decides; and notes."""
    if num_first is not None:
        return ["train"] * num_first + ["test"] * (table.height - num_first), []
    if options.test_list is not None:
        return _by_list(options, paths)
    column = None
    if options.test_share is None:
        column = column_named("split_column", options.split_column, SPLIT_COLUMNS, table)
    if column is None:
        return [None] * table.height, []
    cells = texts(table, column)
    counts = Counter(cell or "" for cell in cells)
    for option in ("train_split", "test_split"):
        if not counts[getattr(options, option)]:
            raise BadInput(
                f"{option}: no cell of the column '{column}' is '{getattr(options, option)}'. There are: "
                f"{', '.join(one or '(empty)' for one in sorted(counts)[:10])}. Give one of them as {option}, or "
                "`test_share: 0.2` to divide the rows without this column."
            )
    words = {options.train_split: "train", options.test_split: "test"}
    others = {cell or "(empty)": number for cell, number in counts.items() if cell not in words}
    notes = [f"the column '{column}' divides the images: {options.train_split} and {options.test_split}"]
    if others:
        listed = ", ".join(f"{cell} ({number:,} rows)" for cell, number in sorted(others.items())[:MAX_NAMED])
        notes.append(f"rows of other splits, which are left out: {listed}")
    return [words.get(cell or "", "other") for cell in cells], notes


def _by_list(options: TableOptions, paths: Paths) -> tuple[Sequence[str | None], list[str]]:
    assert options.test_list is not None
    try:
        listed = {line.strip() for line in lines_of(options.test_list)} - {""}
    except (OSError, ValueError) as error:
        raise BadInput(f"test_list: {options.test_list} can't be read: {error}") from None
    known = [
        {name, name.rpartition("/")[2], name.rpartition("/")[2].rpartition(".")[0]} for name in paths.names
    ]
    unknown = listed.difference(*known)
    unknown = {name for name in listed if name not in set().union(*known)} if unknown else set()
    notes = [f"the test images are those that {options.test_list.name} lists; all others are for training"]
    if unknown:
        notes.append(
            f"{len(unknown):,} names of {options.test_list.name} are not in the table: "
            f"{', '.join(sorted(unknown)[:MAX_NAMED])}"
        )
    return ["test" if one & listed else "train" for one in known], notes


def _by_share(
    labels: Labels, names: Sequence[str], groups: Sequence[str | None] | None, share: Share, seed: int
) -> list[str | None]:
    """Rows without a usable label are a class of their own; images without a group are a group of their own."""
    usable = [-1 if isinstance(label, BadCell) else label for label in labels.rows]
    of_rows = names if groups is None else [group or name for group, name in zip(groups, names, strict=True)]
    train, test = map(set, divide(usable, of_rows, share, seed))
    return [
        "both" if row in train & test else "test" if row in test else "train" for row in range(len(names))
    ]


def _straddling(split: Sequence[str | None], groups: Sequence[str | None], column: str) -> list[str]:
    of = {
        name: {group for group, one in zip(groups, split, strict=True) if one == name and group}
        for name in ("train", "test")
    }
    both = sorted(of["train"] & of["test"])
    if not both:
        return []
    return [
        f"{len(both):,} of {len(of['test']):,} groups of the test images (column {column}) have training images too: "
        f"{', '.join(both[:MAX_NAMED])}. `test_share` keeps groups together."
    ]


def _entries(
    options: TableOptions,
    paths: Paths,
    labels: Labels,
    groups: Sequence[str | None] | None,
    split: Sequence[str | None],
    problems: Problems,
) -> dict[str, list[Entry]]:
    """The usable images of both splits, in random order."""
    folder = ImageFolder(options.folder, problems, follow_links=True)
    first: dict[str, int] = {}
    entries: dict[str, list[Entry]] = {"train": [], "test": []}
    for row, (name, label, part) in enumerate(zip(paths.names, labels.rows, split, strict=True)):
        parts = tuple(entries) if part == "both" else (part,) if part in entries else ()
        if not parts:
            continue
        if isinstance(label, BadCell):
            problems.add(label.kind, name, label.reason)
        elif name in first and paths.content is None:
            problems.add("listed_again", name, _again(labels, split, first[name], row))
        else:
            first[name] = row
            group = groups[row] if groups is not None else None
            entry = paths.entry(row, folder, label, id_in_group(name, group))
            if entry is not None:
                for one in parts:
                    entries[one].append(entry)
    sizes = {"train": options.max_train_size, "test": options.max_test_size}
    return {part: in_random_order(entries[part], options.seed, sizes[part]) for part in entries}


def _again(labels: Labels, split: Sequence[str | None], first: int, row: int) -> str:
    if split[first] != split[row]:
        return "in both splits"
    return "with the same label" if labels.rows[first] == labels.rows[row] else "with another label"
