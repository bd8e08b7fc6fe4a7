"""Classes by their names: labels of splits that number them differently, the order that the user states, and the order
in which people read them.

Names are the same where they look the same: Unicode has several forms of one letter with an accent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from unicodedata import normalize

from transferscope.core.errors import BadInput, did_you_mean, shortened

MAX_SHOWN = 5
"""Names that are listed in a message."""


def plain_name(name: object) -> str:
    """A name in the form in which names are compared (Unicode's NFC).

    >>> plain_name("cafe\\u0301") == plain_name("caf\\u00e9")
    True
    """
    return normalize("NFC", str(name))


def numbers_by_name(own: Sequence[object], names: Sequence[object]) -> list[int | None]:
    """For each of a split's own classes its number among `names`; None where there is none of that name.

    >>> numbers_by_name(["dog", "owl"], ["cat", "dog", "owl"])
    [1, 2]
    """
    numbers = {plain_name(name): number for number, name in enumerate(names)}
    return [numbers.get(plain_name(name)) for name in own]


def refuse_repeated(names: Iterable[object], where: object) -> None:
    """Raises BadInput where two names are the same."""
    plain = [plain_name(name) for name in names]
    if len(set(plain)) < len(plain):
        twice = sorted({name for name in plain if plain.count(name) > 1})
        raise BadInput(
            f"{where}: {listed(twice)}: several classes have this name (perhaps in two Unicode forms of the same "
            "letters). Give each class a name of its own."
        )


def similar_names(names: Sequence[str]) -> list[str]:
    """A line where names of classes differ only in upper and lower case or in blanks; letters alone may.

    >>> similar_names(["Cat", "cat ", "dog", "a", "A"])
    ["'Cat', 'cat ' are two classes, and differ only in upper and lower case or in blanks. Are they the same class?"]
    """
    alike: dict[str, list[str]] = {}
    for name in names:
        if len(name.strip()) > 1:
            alike.setdefault("".join(normalize("NFKC", name).casefold().split()), []).append(f"'{name}'")
    groups = [group for group in alike.values() if len(group) > 1]
    if not groups:
        return []
    numbers = "two classes" if [len(group) for group in groups] == [2] else "classes of their own"
    return [
        f"{'; '.join(map(listed, groups[:MAX_SHOWN]))} are {numbers}, and differ only in upper and lower case or in "
        "blanks. Are they the same class?"
    ]


def listed(names: Sequence[object]) -> str:
    """The first names, and how many more there are."""
    shown = ", ".join(shortened(name) for name in names[:MAX_SHOWN])
    return shown if len(names) <= MAX_SHOWN else f"{shown} and {len(names) - MAX_SHOWN} more"


def new_numbers(names: Sequence[str], classes: Sequence[str]) -> list[int]:
    """For each class, in the data set's own order, its number in the stated order."""
    refuse_repeated(classes, "classes")
    numbers = numbers_by_name(names, classes)
    there = {plain_name(name) for name in names}
    unknown = [name for name in classes if plain_name(name) not in there]
    missing = [name for name, number in zip(names, numbers, strict=True) if number is None]
    problems = []
    if unknown:
        problems.append(
            f"classes: the data set has no class {listed(unknown)}.{did_you_mean(unknown[0], names[:50])}"
        )
    if missing:
        problems.append(
            f"classes: {listed(missing)} is missing; expected all {len(names)} classes of the data set, in the order "
            "of the network's outputs."
        )
    if problems:
        raise BadInput(problems)
    return [number for number in numbers if number is not None]


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
