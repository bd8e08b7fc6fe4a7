"""Findings of which every image has exactly one: most likely classes, one-hot."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def one_finding_each(*splits: Iterable[Sequence[float]]) -> bool:
    """Whether every row of 0 and 1 has exactly one 1, out of two or more.

    >>> one_finding_each([(0, 1, 0), (1, 0, 0)], [(0, 0, 1)]), one_finding_each([(0, 1), (1, 1)])
    (True, False)
    """
    return all(len(row) > 1 and sum(row) == 1 for rows in splits for row in rows)


def one_hot_note(num_classes: int) -> str:
    """What to say of such labels: they are taken for findings, as there are sets in which none meet."""
    return (
        f"every image has exactly one of the {num_classes} findings, of which several may hold: the metric is the mean "
        "AUC over findings. If they are classes, one-hot, give the number of each image's class instead, as "
        "labels.argmax(axis=1) of an array; the metric is accuracy then."
    )
