"""Several labels an image: which are left out, and what a missing one counts as."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from transferscope.core.class_order import plain_name
from transferscope.core.errors import BadInput, did_you_mean
from transferscope.core.options import SeveralLabels
from transferscope.data.files.image_list import Entry, constant_labels
from transferscope.data.files.problems import Problems

Columns = list[int]


def kept_columns(names: Sequence[str], options: SeveralLabels) -> Columns:
    """The numbers of the labels that `leave_out_labels` leaves.

    Raises:
        BadInput: it names no label of the data set, or leaves none.
    """
    known = {plain_name(name): number for number, name in enumerate(names)}
    unknown = [name for name in options.leave_out_labels if plain_name(name) not in known]
    if unknown:
        raise BadInput(
            f"leave_out_labels: there is no label '{unknown[0]}'.{did_you_mean(unknown[0], names)}"
        )
    left_out = {known[plain_name(name)] for name in options.leave_out_labels}
    kept = [number for number in range(len(names)) if number not in left_out]
    if not kept:
        raise BadInput("leave_out_labels: no label is left; keep at least one.")
    return kept


def without_constant(
    names: Sequence[str], labels: Mapping[str, Sequence[Any]], options: SeveralLabels, problems: Problems
) -> Columns:
    """The numbers of the labels that can be scored; under `on_bad: skip` the others are left out, and noted.

    Args:
        names: of the labels.
        labels: (n, k) of each split, of 0 and 1.
        options: the policy; under "stop" all labels are kept, and checking them refuses those that are constant.
        problems: what is left out is noted there.
    """
    if options.on_bad == "stop" or not all(labels.values()):
        return list(range(len(names)))
    left_out: dict[str, str] = {}
    for split, constant in constant_labels(names, labels).items():
        for name in constant:
            left_out.setdefault(name, f"the same in all {split} images")
    for name, reason in left_out.items():
        problems.add("constant_label", name, reason)
    kept = [number for number, name in enumerate(names) if name not in left_out]
    if not kept:
        raise BadInput(["each label is the same in all images of a split: none is left.", *problems.lines()])
    return kept


def chosen_labels(
    names: tuple[str, ...], entries: dict[str, list[Entry]], options: SeveralLabels, problems: Problems
) -> tuple[str, ...]:
    """The labels that are left, of several an image; the entries are changed to have no others.

    Args:
        names: of all labels.
        entries: of each split.
        options: which labels are left out.
        problems: what is left out is noted there.
    """
    names = _with_labels(kept_columns(names, options), names, entries)
    labels = {split: [entry.label for entry in of_split] for split, of_split in entries.items()}
    return _with_labels(without_constant(names, labels, options, problems), names, entries)


def _with_labels(
    kept: Sequence[int], names: tuple[str, ...], entries: dict[str, list[Entry]]
) -> tuple[str, ...]:
    for split, of_split in entries.items():
        entries[split] = [
            entry._replace(label=tuple(entry.label[column] for column in kept))
            for entry in of_split
            if isinstance(entry.label, tuple)
        ]
    return tuple(names[column] for column in kept)


def is_missing(value: Any) -> bool:
    """True for NaN and None."""
    return value is None or (isinstance(value, float) and math.isnan(value))
