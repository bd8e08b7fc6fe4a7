"""How a data set in Python numbers its classes, also below torch's Subset and ConcatDataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from transferscope.core.class_order import listed
from transferscope.core.errors import BadInput

Names = tuple[tuple[int, str], ...]
"""Number and name of each class."""
Stretch = tuple[int, int, Names | None]
"""From one row up to another one, and how classes are numbered there; None where nothing says it."""


def class_stretches(data: Any) -> list[Stretch]:
    """How the labels of each row are numbered.

    Args:
        data: a map-style data set. It says so by `class_to_idx` or `classes`; else the data sets within it do.

    Raises:
        BadInput: it holds data sets that number their classes differently, and may have numbered them anew.
    """
    names = _stated(data)
    if names is not None:
        return [(0, len(data), names)]
    parts = getattr(data, "datasets", None)
    if isinstance(parts, Sequence) and sum(map(len, parts)) == len(data):  # torch's ConcatDataset
        stretches: list[Stretch] = []
        for part in parts:
            start = stretches[-1][1] if stretches else 0
            stretches += [
                (start + first, start + last, known) for first, last, known in class_stretches(part)
            ]
        return stretches
    inner = getattr(data, "dataset", None)
    if inner is None or not hasattr(inner, "__len__"):
        return [(0, len(data), None)]
    below = class_stretches(inner)
    if len({known for _, _, known in below}) == 1:
        return [(0, len(data), below[0][2])]
    rows = getattr(data, "indices", None)
    if rows is None:
        raise BadInput(
            f"the {type(data).__name__} holds data sets that number their classes differently. Give it `classes`, the "
            "names in the order of its labels."
        )
    return [(place, place + 1, _at(below, int(row))) for place, row in enumerate(rows)]  # torch's Subset


def all_names(stretches: Sequence[Stretch]) -> tuple[str, ...] | None:
    """The names of the classes in their order: by number where all rows agree, else as they first come."""
    known = [names for _, _, names in stretches]
    if not known or None in known:
        return None
    distinct = dict.fromkeys(names for names in known if names is not None)
    if len(distinct) > 1:
        return tuple(dict.fromkeys(name for names in distinct for _, name in names))
    by_number = dict(known[0] or ())
    return tuple(by_number.get(number, str(number)) for number in range(max(by_number) + 1))


def refuse_unnamed(of_train: tuple[str, ...] | None, of_test: tuple[str, ...] | None, where: str) -> None:
    """Raises BadInput where the test data name their classes and nothing says what those of the training data are."""
    if of_train is None and of_test is not None:
        raise BadInput(
            f"{where}: the test data have the classes {listed(of_test)}, and nothing says how the training data "
            "number theirs. Give both `classes`, or give class_names with these names in the order of the training "
            "labels."
        )


def _stated(data: Any) -> Names | None:
    numbers = getattr(data, "class_to_idx", None)
    if (
        isinstance(numbers, Mapping)
        and numbers
        and all(isinstance(one, int) and one >= 0 for one in numbers.values())
    ):
        return tuple(sorted((number, str(name)) for name, number in numbers.items()))
    names = getattr(data, "classes", None)
    names = names.tolist() if names is not None and hasattr(names, "tolist") else names
    if isinstance(names, list | tuple) and names:
        return tuple(enumerate(map(str, names)))
    return None


def _at(stretches: Sequence[Stretch], row: int) -> Names | None:
    return next(names for first, last, names in stretches if first <= row < last)
