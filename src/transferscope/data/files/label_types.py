"""Labels of the library `datasets`, numbered alike in all splits: by the names of their classes."""

from __future__ import annotations

from typing import Any, NamedTuple

from transferscope.core.class_order import listed, numbers_by_name, plain_name, refuse_repeated
from transferscope.core.errors import BadInput
from transferscope.data.files.image_list import Label
from transferscope.data.files.problems import Problems


class Numbered(NamedTuple):
    """The labels of all splits, numbered alike."""

    names: tuple[str, ...]
    rows: dict[str, list[Label | None]]
    """By split; None, and noted, where a label can't be used."""
    multi_label: bool
    by_name: bool
    """The splits number their classes differently."""


def number_labels(features: dict[str, Any], labels: dict[str, list[Any]], problems: Problems) -> Numbered:
    """Number the labels of all splits as the training split does: by the names of the classes."""
    import datasets

    feature = features["train"]
    inner = getattr(feature, "feature", None)
    multi_label = isinstance(inner, datasets.ClassLabel)
    if isinstance(feature, datasets.ClassLabel) or multi_label:
        values: list[Any] = list((inner if multi_label else feature).names)
    else:
        there = {one for one in labels["train"] if isinstance(one, int | str) and not isinstance(one, bool)}
        if not there:
            raise BadInput(
                f"label_column: its labels are {feature}; expected ClassLabel, whole numbers or text, or for several "
                "labels an image lists of ClassLabel. Convert it with the library's cast_column or map, and "
                "save_to_disk."
            )
        values = sorted(there, key=lambda one: (isinstance(one, str), one))
    names = tuple(map(str, values))
    refuse_repeated(names, "label_column")
    rows: dict[str, list[Label | None]] = {}
    by_name = False
    for split, found in labels.items():
        known, own = _known(features[split], values, feature)
        by_name |= own is not None and list(own) != list(names)
        rows[split] = [
            _label(one, f"{split}/{row}", known, own, len(names), problems, multi_label=multi_label)
            for row, one in enumerate(found)
        ]
    return Numbered(names, rows, multi_label, by_name)


def _known(
    feature: Any, values: list[Any], train: Any
) -> tuple[dict[Any, int | None], tuple[str, ...] | None]:
    """The number of each value of a split's labels, None for a class that train lacks; and the split's own names."""
    import datasets

    inner = getattr(feature, "feature", feature)
    of_train = getattr(train, "feature", train)
    if (feature is inner) != (train is of_train):
        raise BadInput(
            f"label_column: in train its type is {train} and in test {feature}; expected the same in both."
        )
    if isinstance(inner, datasets.ClassLabel):
        own = tuple(inner.names)
        return dict(enumerate(numbers_by_name(own, values))), own
    if isinstance(of_train, datasets.ClassLabel) and "string" not in str(getattr(inner, "dtype", "")):
        raise BadInput(
            f"label_column: in train the classes have names ({listed(values)}), and in test labels are {feature}. "
            "Numbers alone don't say which class they mean: use the library's cast_column with train's ClassLabel."
        )
    known: dict[Any, int | None] = {one: number for number, one in enumerate(values)}
    known |= {plain_name(one): number for number, one in enumerate(values) if isinstance(one, str)}
    return known, None


def _label(
    value: Any,
    where: str,
    known: dict[Any, int | None],
    own: tuple[str, ...] | None,
    num_classes: int,
    problems: Problems,
    *,
    multi_label: bool,
) -> Label | None:
    several = value if multi_label and isinstance(value, list) else [value]
    plain = [plain_name(one) if isinstance(one, str) and one not in known else one for one in several]
    if not all(isinstance(one, int | str) and one in known for one in plain):
        problems.add("bad_label", where, f"{value!r}"[:60] + f", expected one of {num_classes} classes")
        return None
    numbers = [known[one] for one in plain]
    for one, number in zip(plain, numbers, strict=True):
        if number is None:
            name = own[one] if own and isinstance(one, int) else one
            problems.add("class_not_in_train", where, f"'{name}'")
            return None
    if multi_label:
        return tuple(int(number in set(numbers)) for number in range(num_classes))
    return numbers[0]
