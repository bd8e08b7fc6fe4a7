"""The order in which classes are drawn and printed; their numbers stay as they are."""

from __future__ import annotations

import re
from collections.abc import Sequence


def reading_order(names: Sequence[str]) -> list[int]:
    """Numbers of the classes in the order that people expect: the data set's own, if it has one.

    Folders and labels of text have none: they are numbered in the order of text, as torchvision's ImageFolder
    does. Numbers within such names come by their value.

    >>> reading_order(["1", "10", "2"]), reading_order(["shirt", "coat 10", "coat 2"])
    ([0, 2, 1], [0, 1, 2])
    """
    places = list(range(len(names)))
    if list(names) != sorted(names):
        return places
    # every other part is a number, so that only like is compared with like
    parts = [re.split(r"(\d+)", name) for name in names]
    keys = [[int(part) if place % 2 else part for place, part in enumerate(own)] for own in parts]
    return sorted(places, key=lambda place: keys[place])
