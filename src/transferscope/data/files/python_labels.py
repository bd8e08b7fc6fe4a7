"""Labels of data sets in Python, with the same numbers in both splits; matched by name if both splits name their
classes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from transferscope.core.class_order import listed, numbers_by_name, refuse_repeated
from transferscope.core.errors import BadInput
from transferscope.core.options import SeveralLabels
from transferscope.data.files.label_columns import is_missing, kept_columns
from transferscope.data.files.own_classes import Names, Stretch, all_names, class_stretches, refuse_unnamed
from transferscope.data.files.problems import Kind
from transferscope.data.files.python_items import first_label

SPLITS = ("train", "test")

Numbers = Callable[[int], Mapping[int, int | str] | None]
"""Row -> the training numbers of its data set's classes, or the name of a class that training lacks. None if the
numbers are those of the training data."""


def numbering(
    options: SeveralLabels, class_names: tuple[str, ...] | None, splits: Mapping[str, Any], where: str
) -> tuple[tuple[str, ...], list[int], dict[str, Numbers]]:
    """Names of the classes, which of the labels are kept, and how each split's numbers become the data set's.

    Args:
        options: which labels are left out.
        class_names: as the user states them, if so.
        splits: the data sets, "train" and "test".
        where: what names them in messages.

    Raises:
        BadInput: the names of the splits can't be brought together.
    """
    stretches = {name: class_stretches(splits[name]) for name in SPLITS}
    own = {name: all_names(of_split) for name, of_split in stretches.items()}
    if own["train"] is None and class_names is None:
        refuse_unnamed(own["train"], own["test"], where)
    by_name = own["train"] or class_names
    shown = _class_names(class_names or own["train"], splits["train"], where)
    if own["train"] is not None and len(shown) != len(own["train"]):
        raise BadInput(
            f"class_names: {len(shown)} names; the training data set has {len(own['train'])} classes: "
            f"{listed(own['train'])}. Give a name for each, in this order."
        )
    if own["train"] is None and own["test"] is not None and None in numbers_by_name(own["test"], shown):
        refuse_unnamed(None, own["test"], where)
    refuse_repeated(shown, where)
    return shown, kept_columns(shown, options), {name: _numbers(stretches[name], by_name) for name in SPLITS}


def _numbers(stretches: list[Stretch], names: Sequence[str] | None) -> Numbers:
    maps: dict[Names | None, Mapping[int, int | str] | None] = {None: None}
    for _, _, known in stretches:
        if known is not None and names is not None and known not in maps:
            new = numbers_by_name([name for _, name in known], names)
            numbered = zip(known, new, strict=True)
            maps[known] = {number: name if to is None else to for (number, name), to in numbered}
            if maps[known] == {number: number for number in range(len(names))}:
                maps[known] = None
    starts = [first for first, _, _ in stretches]
    return lambda row: maps[stretches[bisect_right(starts, row) - 1][2]] if names is not None else None


class BadLabel(Exception):
    """A label that can't be used."""

    def __init__(self, kind: Kind, reason: str = "") -> None:
        super().__init__(kind, reason)
        self.kind: Kind = kind
        self.reason = reason


class Labelling:
    """Converts labels of the data sets to the class numbers of the training data."""

    def __init__(
        self,
        options: SeveralLabels,
        class_names: tuple[str, ...] | None,
        splits: Mapping[str, Any],
        where: str,
        *,
        multi_label: bool,
    ) -> None:
        self.names, self._kept, self._numbers = numbering(options, class_names, splits, where)
        self._missing_is_absent = options.missing_labels == "absent"
        self._multi_label = multi_label
        self._num_missing = 0

    @property
    def kept_names(self) -> tuple[str, ...]:
        """The names of the labels that are not left out."""
        return tuple(self.names[column] for column in self._kept)

    def number(self, label: Any, split: str, row: int) -> int | list[float]:
        """The number of a class, or 0 and 1 for each label that is kept. Raises BadLabel where it can't be used."""
        if self._multi_label and any(map(is_missing, values := _values(label))):
            if not self._missing_is_absent:
                raise BadLabel("missing_label")
            self._num_missing += 1
            label = [0 if is_missing(one) else one for one in values]
        plain = _plain_number(label, len(self.names), multi_label=self._multi_label)
        if plain is None:
            expected = _expected_label(label, len(self.names), multi_label=self._multi_label)
            raise BadLabel("bad_label", f"{label!r}"[:60] + f", expected {expected}")
        numbers = self._numbers[split](row)
        if isinstance(plain, list):
            ordered = plain if numbers is None else self._columns(plain, numbers)
            return [ordered[column] for column in self._kept]
        if numbers is None:
            return plain
        number = numbers.get(plain)
        if number is None:
            raise BadLabel("bad_label", f"{plain}, which has no name among the data set's classes")
        if isinstance(number, str):
            raise BadLabel("class_not_in_train", f"'{number}'")
        return number

    def notes(self) -> list[str]:
        """How missing labels were treated."""
        count = self._num_missing
        return [f"{count:,} images have missing labels, which count as absent"] if count else []

    def _columns(self, label: list[float], numbers: Mapping[int, int | str]) -> list[float]:
        if sorted(one for one in numbers.values() if isinstance(one, int)) != list(range(len(self.names))):
            raise BadLabel("bad_label", "its data set has other labels than the training data set")
        ordered = [0.0] * len(self.names)
        for number, to in numbers.items():
            ordered[int(to)] = label[number]
        return ordered


def listed_labels(split: Any) -> list[Any] | None:
    """The list of labels that a data set has in addition to its items; None if it has none."""
    listed = _plain_list(getattr(split, "targets", None)) or _plain_list(getattr(split, "labels", None))
    return listed if listed is not None and len(listed) == len(split) else None


def _class_names(names: tuple[str, ...] | None, train: Any, where: str) -> tuple[str, ...]:
    if names is not None:
        return tuple(names)
    for attribute in ("targets", "labels"):
        largest = _largest(getattr(train, attribute, None))
        if largest is not None:
            return tuple(str(number) for number in range(largest + 1))
    if is_vector(label := first_label(train, where)):
        return tuple(str(number) for number in range(len(label)))
    raise BadInput(
        f"{where}: how many classes are there? Give class_names, or let the data set have `classes`, "
        "`targets` or `labels`."
    )


def plain_label(label: Any) -> Any:
    return label.item() if getattr(label, "shape", None) == () else label


def _plain_list(labels: Any) -> list[Any] | None:
    """A data set's list of labels as plain values; None if it has none."""
    plain = labels.tolist() if hasattr(labels, "tolist") else labels
    if not isinstance(plain, list | tuple) or not plain:
        return None
    return [plain_label(one) for one in plain]


def _largest(labels: Any) -> int | None:
    """The largest of a data set's labels; None if they are no numbers of classes."""
    numbers = _plain_list(labels)
    if numbers is None:
        return None
    whole = all(isinstance(one, int) and not isinstance(one, bool) for one in numbers)
    return max(numbers) if whole and max(numbers) >= 0 else None


def is_vector(label: Any) -> bool:
    return len(getattr(label, "shape", ())) == 1 or isinstance(label, list | tuple)


def _values(label: Any) -> list[Any]:
    """A vector of labels as a list."""
    plain = label.tolist() if hasattr(label, "tolist") else label
    plain = plain if isinstance(plain, list | tuple) else [plain]
    return [one.item() if hasattr(one, "item") else one for one in plain]


def _plain_number(label: Any, num_classes: int, *, multi_label: bool) -> int | list[float] | None:
    """A label as plain numbers, or None where it can't be."""
    plain = label.tolist() if hasattr(label, "tolist") else label
    if multi_label:
        right = isinstance(plain, list | tuple) and len(plain) == num_classes
        return [float(one) for one in plain] if right and all(one in (0, 1) for one in plain) else None
    is_number = isinstance(plain, int) and not isinstance(plain, bool)
    return plain if is_number and 0 <= plain < num_classes else None


def _expected_label(label: Any, num_classes: int, *, multi_label: bool) -> str:
    if multi_label:
        alone = " or, for classes, the number itself" if len(label) == 1 else ""
        return f"{num_classes} of 0 and 1{alone}"
    plain = label.tolist() if hasattr(label, "tolist") else label
    return f"0 to {num_classes - 1}" + (", of the type int" if isinstance(plain, float | bool) else "")
