"""Labels of a table: a class in one column, several labels in one cell, or a column for each label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from transferscope.core.class_order import plain_name, refuse_repeated
from transferscope.core.errors import BadInput
from transferscope.data.files.image_list import Label
from transferscope.data.files.problems import Kind

PRESENT = frozenset(("1", "true", "yes"))
ABSENT = frozenset(("0", "false", "no"))
UNCERTAIN = "-1"
Uncertain = Literal["bad", "present", "absent", "missing"]
Cells = Sequence[str | None]


@dataclass(frozen=True)
class BadCell:
    """Why a row has no label."""

    kind: Kind
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Labels:
    """The labels of all rows."""

    names: tuple[str, ...]
    rows: list[Label | BadCell]
    multi_label: bool
    notes: tuple[str, ...] = ()


def classes_of(cells: Cells, is_train: Sequence[bool], column: str) -> Labels:
    """One class per row, by the name in its cell; the classes are those of the training rows.

    Whole numbers are in numerical order, other names in that of text.

    Raises:
        BadInput: the cells are fractions, or two names are the same in two Unicode forms.
    """
    values = {cell for cell, train in zip(cells, is_train, strict=True) if train and cell is not None}
    if values and all(map(_is_number, values)) and (fractions := [one for one in values if "." in one]):
        raise BadInput(
            f"label_column: the column '{column}' holds fractions, as {min(fractions)}; expected classes. Group the "
            "values into classes first."
        )
    names = tuple(sorted(values, key=_order))
    refuse_repeated(names, f"label_column {column}")
    numbers = {plain_name(name): number for number, name in enumerate(names)}
    rows: list[Label | BadCell] = []
    for cell in cells:
        if cell is None:
            rows.append(BadCell("bad_label", "there is no label"))
        elif plain_name(cell) not in numbers:
            rows.append(BadCell("class_not_in_train", f"'{cell}'"))
        else:
            rows.append(numbers[plain_name(cell)])
    return Labels(names=names, rows=rows, multi_label=False)


def labels_in_cells(
    cells: Cells, is_train: Sequence[bool], column: str, separator: str, no_label: str | None
) -> Labels:
    """Several labels per row, in one cell with a separator between them; `no_label` stands for none of them."""
    split = [None if cell is None else [one.strip() for one in cell.split(separator)] for cell in cells]
    names = tuple(
        sorted(
            {one for found, train in zip(split, is_train, strict=True) if train for one in found or ()}
            - {no_label}
        )
    )
    refuse_repeated(names, f"label_column {column}")
    rows: list[Label | BadCell] = []
    for found in split:
        present = {plain_name(one) for one in found or () if one != no_label}
        unknown = present - set(map(plain_name, names))
        if found is None:
            rows.append(BadCell("missing_label", "there is no label"))
        elif unknown:
            rows.append(BadCell("class_not_in_train", f"'{min(unknown)}'"))
        else:
            rows.append(tuple(int(plain_name(name) in present) for name in names))
    return Labels(names=names, rows=rows, multi_label=True)


def labels_in_columns(
    columns: Mapping[str, Cells], *, missing: Literal["bad", "absent"], uncertain: Uncertain
) -> Labels:
    """Several labels per row, each in its column: 1, true, yes or 0, false, no; -1 is uncertain.

    Args:
        columns: name of the label -> cells.
        missing: "absent" counts an empty cell as 0.
        uncertain: what -1 counts as.
    """
    counted: Counter[str] = Counter()
    values: dict[str | None, int | BadCell] = {
        **dict.fromkeys(PRESENT, 1),
        **dict.fromkeys(ABSENT, 0),
        None: 0 if missing == "absent" else BadCell("missing_label", ""),
    }
    values[UNCERTAIN] = {
        "bad": BadCell(
            "bad_label", "is -1 (uncertain); `uncertain_labels: present`, absent or missing takes it"
        ),
        "present": 1,
        "absent": 0,
        "missing": values[None],
    }[uncertain]
    rows: list[Label | BadCell] = []
    for cells in zip(*columns.values(), strict=True):
        counted["missing"] += None in cells
        counted["uncertain"] += UNCERTAIN in cells
        row = [
            values.get(cell and cell.lower(), BadCell("bad_label", f"is '{cell}', expected 0 or 1"))
            for cell in cells
        ]
        wrong = [(name, one) for name, one in zip(columns, row, strict=True) if isinstance(one, BadCell)]
        if wrong:
            name, bad = wrong[0]
            rows.append(BadCell(bad.kind, f"{name} {bad.reason}".strip()))
        else:
            rows.append(tuple(one for one in row if isinstance(one, int)))
    notes = []
    if counted["missing"] and missing == "absent":
        notes.append(
            f"{counted['missing']:,} rows have empty cells, which count as 0 (`missing_labels: absent`)"
        )
    if counted["uncertain"] and uncertain != "bad":
        notes.append(
            f"{counted['uncertain']:,} rows have uncertain labels (-1), which count as {uncertain} (`uncertain_labels`)"
        )
    return Labels(names=tuple(columns), rows=rows, multi_label=True, notes=tuple(notes))


def one_class_of_columns(labels: Labels) -> Labels:
    """The class of each row, of columns of which exactly one is 1."""
    rows: list[Label | BadCell] = []
    for row in labels.rows:
        if isinstance(row, tuple) and sum(row) != 1:
            rows.append(BadCell("bad_label", f"{sum(row)} of the columns are 1, expected one (`one_hot`)"))
        else:
            rows.append(row.index(1) if isinstance(row, tuple) else row)
    return Labels(names=labels.names, rows=rows, multi_label=False, notes=labels.notes)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _order(name: str) -> tuple[bool, int, str]:
    """Whole numbers first, by their value."""
    is_number = name.removeprefix("-").isascii() and name.removeprefix("-").isdigit() and len(name) < 20
    return not is_number, int(name) if is_number else 0, name
