"""Problems in the files of a data set, and the policy for them. Imports no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from transferscope.core.errors import BadInput

Kind = Literal[
    "outside",
    "bad_name",
    "missing",
    "listed_again",
    "bad_label",
    "missing_label",
    "constant_label",
    "empty_class",
    "class_not_in_train",
    "undecodable",
    "too_many_pixels",
    "duplicate",
]

WORDS: dict[Kind, tuple[str, str]] = {
    "outside": ("path(s) that lead out of the root", "Copy the images to their place below it."),
    "bad_name": ("image(s) whose name is no text in Unicode", "Rename them, or their folder."),
    "missing": ("listed image(s) that are not there", "Add them, or take them off the list."),
    "listed_again": (
        "row(s) with an image that an earlier row lists",
        "Keep one row per image; for several labels of an image, use one column for each label.",
    ),
    "bad_label": ("image(s) with a label that can't be", "Fix the labels."),
    "missing_label": (
        "image(s) of which one label or more is missing (NaN)",
        "Labels can't be left out image by image yet: leave out the images (`on_bad: skip`), the labels "
        "(`leave_out_labels`), or count what is missing as absent (`missing_labels: absent`).",
    ),
    "constant_label": (
        "label(s) that all images of a split have, or none: no AUC can be computed",
        "Add images, or leave the label out by `leave_out_labels`.",
    ),
    "empty_class": ("class(es) without images", "Put images into the folder, or remove it."),
    "class_not_in_train": (
        "test image(s) of classes without training images",
        "Add training images of the class, or rename or remove it.",
    ),
    "undecodable": (
        "file(s) that can't be decoded as an image",
        "Repair or remove them, or save them as PNG.",
    ),
    "too_many_pixels": (
        "image(s) with an excessive number of pixels, as in files made to exhaust the memory",
        "Make them smaller, or remove them.",
    ),
    "duplicate": (
        "test image(s) that are training images too",
        "Remove one of the two: accuracy on a training image says nothing of new ones.",
    ),
}
"""Kind of problem -> its description and the fix."""
MAX_SHOWN = 5
"""Maximum number of problems of each kind that are named."""


@dataclass(frozen=True)
class Problem:
    """An image or class that can't be used."""

    kind: Kind
    where: str
    """The file, relative to the root, or the position in a list or array."""
    reason: str = ""


class Problems:
    """All problems found in a data set so far."""

    def __init__(self) -> None:
        self._found: list[Problem] = []

    def __iter__(self) -> Iterator[Problem]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def add(self, kind: Kind, where: str, reason: str = "") -> None:
        """Add a problem."""
        self._found.append(Problem(kind, where, reason))

    def extend(self, others: Problems) -> None:
        """Add all problems of another collection."""
        self._found += others._found

    @property
    def counts(self) -> dict[str, int]:
        """How many problems of each kind there are, in the order of `WORDS`; kinds without any are left out."""
        counted = Counter(problem.kind for problem in self)
        return {kind: counted[kind] for kind in WORDS if counted[kind]}

    def lines(self) -> list[str]:
        """A line for each kind: the number of problems, the first few, and the fix."""
        lines = []
        for kind in self.counts:
            noun, fix = WORDS[kind]  # type: ignore[index]
            found = [problem for problem in self if problem.kind == kind]
            shown = [f"{one.where} ({one.reason})" if one.reason else one.where for one in found[:MAX_SHOWN]]
            more = len(found) - len(shown)
            rest = f" and {more} more" if more else ""
            lines.append(f"{len(found)} {noun}: {', '.join(shown)}{rest}. {fix}")
        return lines

    def settle(self, on_bad: Literal["stop", "skip"], where: object) -> None:
        """With "stop", any problem is an error; with "skip", the caller omits the unusable images.

        Args:
            on_bad: the policy.
            where: the source of the problems, for the message.

        Raises:
            BadInput: "stop", and there are problems; a line for each kind.
        """
        if on_bad == "stop" and self._found:
            keep = " `keep_duplicates: true` keeps the duplicates." if "duplicate" in self.counts else ""
            raise BadInput(
                [f"{where}: {line}" for line in self.lines()]
                + [f"{where}: `on_bad: skip` leaves out all of these, and counts them.{keep}"]
            )
