"""Lists of image files with labels, created and checked without decoding an image. Imports no torch."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import NamedTuple

from transferscope.core.datasets import Description
from transferscope.core.errors import BadInput, is_text
from transferscope.data.files.file_heads import head_of, read_otherwise
from transferscope.data.files.problems import Problems

SMALL_BYTES = 32 * 2**20
"""Maximum total size of files whose contents are in the fingerprint; for larger data, their modification times are
used."""

MAX_HEADS = 256
"""Maximum number of images whose first bytes are read before decoding."""

MAX_LINKED = 3
"""Maximum number of files behind links out of the root that are named."""

Label = int | tuple[int, ...]
"""The number of a class, or 0 and 1 for each label."""


class Entry(NamedTuple):
    """An existing image file."""

    path: str
    id: str
    """Unique and stable id in the data set."""
    label: Label
    num_bytes: int
    changed_ns: int


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The images of both splits, in the order in which they are given to training and measuring."""

    class_names: tuple[str, ...]
    train: tuple[Entry, ...]
    test: tuple[Entry, ...]
    problems: Problems
    """Problems of the omitted images."""
    multi_label: bool = False
    notes: tuple[str, ...] = ()
    """Warnings about the lists; see `Description.notes`."""
    division: str = ""
    """How the test images were chosen; see `Description.division`."""
    reading: str = ""
    """Marks for labels or files that an earlier version interpreted differently; part of the cache key."""

    @property
    def labels(self) -> dict[str, list[Label]]:
        """The labels of both splits."""
        return {name: [entry.label for entry in getattr(self, name)] for name in ("train", "test")}

    def check(self, where: Path) -> None:
        """Raises BadInput where the images don't suffice to train and test on; see `check_labels`."""
        check_labels(self.class_names, self.labels, where, self.problems)

    def description(
        self, image_size_px: int, channels: int = 3, fingerprint_: str | None = None
    ) -> Description:
        """What is known without decoding; the fingerprint is that of the files, unless it is given."""
        labels = [
            [entry.label for entry in split if isinstance(entry.label, tuple)]
            for split in (self.train, self.test)
        ]
        known = fingerprint([*self.train, *self.test]) if fingerprint_ is None else fingerprint_
        return Description(
            class_names=self.class_names,
            image_size_px=image_size_px,
            multi_label=self.multi_label,
            one_finding_each=self.multi_label and one_finding_each(*labels),
            channels=channels,
            num_train=len(self.train),
            num_test=len(self.test),
            fingerprint=" ".join(filter(None, (known, self.reading))),
            left_out=self.problems.counts,
            division=self.division,
            notes=(*filter(None, [self.division]), *self.notes, *absent_notes(self.class_names, self.labels)),
        )


class ImageFolder:
    """Looks files up below a root that no path in a list may lead out of.

    Args:
        root: the folder.
        problems: problems are added to it.
        follow_links: links may lead out of the root, as the user's own do to another disk; not for lists of others.
    """

    def __init__(self, root: Path, problems: Problems, *, follow_links: bool = False) -> None:
        self.num_linked = 0
        """Files found so far that links lead to, out of the root."""
        self.linked: list[str] = []
        """The first of them."""
        self._follow_links = follow_links
        self.root = os.fspath(root)
        self._real_root = os.path.realpath(root)
        self._inside = os.path.join(self._real_root, "")
        self._problems = problems
        self._real_folders = {self.root: self._real_root}

    def entry(self, relative: str, label: Label, id: str | None = None) -> Entry | None:
        """The file at a path relative to the root, or None, and a problem noted, where it can't be used."""
        if os.path.isabs(relative) or "\0" in relative or ".." in relative.replace(os.sep, "/").split("/"):
            self._problems.add("outside", repr(relative)[1:-1], "a path must be relative and without '..'")
            return None
        if not is_text(relative):
            self._problems.add("bad_name", repr(relative)[1:-1])
            return None
        if "./" in relative or "//" in relative:
            relative = PurePath(relative).as_posix()  # one name a file
        path = os.path.join(self.root, relative)
        try:
            real, state = self._look_at(path)
        except (OSError, RuntimeError) as error:  # RuntimeError: links that lead in a circle
            self._problems.add("missing", relative, getattr(error, "strerror", None) or str(error))
            return None
        if not real.startswith(self._inside):
            if not self._follow_links:
                self._problems.add("outside", relative, "a link")
                return None
            self.num_linked += 1
            if len(self.linked) < MAX_LINKED:
                self.linked.append(relative)
        if not stat.S_ISREG(state.st_mode):
            self._problems.add("missing", relative, "not a file")
            return None
        return Entry(path, relative if id is None else id, label, state.st_size, state.st_mtime_ns)

    def _look_at(self, path: str) -> tuple[str, os.stat_result]:
        folder, name = os.path.split(path)
        real = os.path.join(self._real_folders.get(folder) or self._real_folder(folder), name)
        state = os.lstat(real)
        if stat.S_ISLNK(state.st_mode):
            real = os.path.realpath(real, strict=True)
            state = os.stat(real)
        return real, state

    def _real_folder(self, folder: str) -> str:
        """Each folder is looked at once: lists of files are long, and their folders fewer."""
        known = self._real_folders.get(folder)
        if known is None:
            above, name = os.path.split(folder)
            known = os.path.join(self._real_folder(above), name)
            if stat.S_ISLNK(os.lstat(known).st_mode):
                known = os.path.realpath(known, strict=True)
            self._real_folders[folder] = known
        return known


def check_labels(
    class_names: Sequence[str], labels: Mapping[str, Sequence[Label]], where: object, problems: Problems
) -> None:
    """Check that each class has a training image, and each label images with it and without it.

    Args:
        class_names: the classes or labels.
        labels: of the images that can be used, by split.
        where: the source of the labels, for messages.
        problems: the omitted images, for messages.

    Raises:
        BadInput: they don't suffice.
    """
    wrong = [f"no {name} images are left." for name, found in labels.items() if not found]
    if not wrong and isinstance(labels["train"][0], int):
        absent = _absent(class_names, labels["train"])
        if absent:
            first = (
                " Labels count from 0: where yours start at 1, subtract 1."
                if absent == [class_names[0]]
                else ""
            )
            wrong.append(f"no training image is there of {_shortened(absent)}.{first}")
    elif not wrong:
        wrong += [
            f"all {name} images have the same label for {', '.join(constant)}; expected both 0 and 1, or its AUC is "
            f"not defined. `leave_out_labels: [{', '.join(constant)}]` leaves the label out, where the data set has "
            "that option."
            for name, constant in constant_labels(class_names, labels).items()
        ]
    if wrong:
        raise BadInput(
            [f"{where}: {one} Add images, or take more of them." for one in wrong]
            + [f"{where}: left out: {line}" for line in problems.lines()]
        )


def constant_labels(
    class_names: Sequence[str], labels: Mapping[str, Sequence[Label]]
) -> dict[str, list[str]]:
    """The labels, of several an image, that are the same for all images of a split, by split."""
    constant = {}
    for split, rows in labels.items():
        columns = zip(class_names, zip(*rows, strict=True), strict=True)  # type: ignore[arg-type]
        constant[split] = [name for name, column in columns if len(set(column)) == 1]
    return {split: names for split, names in constant.items() if names}


def absent_notes(class_names: Sequence[str], labels: Mapping[str, Sequence[Label]]) -> list[str]:
    """A note on classes without test images; none for multi-label data."""
    if not labels["test"] or not isinstance(labels["test"][0], int):
        return []
    return without_test_images(class_names, _absent(class_names, labels["test"]))


def without_test_images(class_names: Sequence[str], absent: Sequence[str]) -> list[str]:
    """A line that names the classes without test images; empty if there are none."""
    if not absent:
        return []
    are = "has" if len(absent) == 1 else "have"
    return [
        f"{_shortened(absent)} {are} no test images: the test accuracy is that of the other "
        f"{len(class_names) - len(absent)} of {len(class_names)} classes. Add test images, or remove the class."
    ]


def _absent(class_names: Sequence[str], labels: Sequence[Label]) -> list[str]:
    there = set(labels)
    return [name for number, name in enumerate(class_names) if number not in there]


def _shortened(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} other classes"


def fingerprint(entries: Sequence[Entry]) -> str:
    """A hash of the names, labels and contents of all images; for large data, of sizes and modification times
    instead of contents.

    Thus small data can be copied without a new fingerprint; reading large data at every start would take too long.
    """
    small = sum(entry.num_bytes for entry in entries) <= SMALL_BYTES
    digest = hashlib.sha256()
    for entry in entries:
        what = _content_digest(entry.path) if small else (entry.num_bytes, entry.changed_ns)
        digest.update(repr((entry.id, entry.label, what)).encode())
    looked_at = entries if small else entries[:: len(entries) // MAX_HEADS + 1]
    otherwise = read_otherwise((entry.path, head_of(entry.path)) for entry in looked_at)
    return " ".join((digest.hexdigest(), *otherwise))


def file_fingerprint(paths: Sequence[Path]) -> str:
    """Like `fingerprint`, for files that contain whole data sets.

    Raises:
        OSError: one of them can't be read.
    """
    states = [path.stat() for path in paths]
    small = sum(state.st_size for state in states) <= SMALL_BYTES
    digest = hashlib.sha256()
    for path, state in zip(paths, states, strict=True):
        what = _content_digest(os.fspath(path)) if small else (state.st_size, state.st_mtime_ns)
        digest.update(repr((path.as_posix(), what)).encode())
    return digest.hexdigest()


def _content_digest(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"unreadable: {error.strerror}"  # reading the image will say so


def one_finding_each(*splits: Iterable[Sequence[float]]) -> bool:
    """True if every row of 0 and 1 has exactly one 1, out of two or more.

    >>> one_finding_each([(0, 1, 0), (1, 0, 0)], [(0, 0, 1)]), one_finding_each([(0, 1), (1, 1)])
    (True, False)
    """
    return all(len(row) > 1 and sum(row) == 1 for rows in splits for row in rows)


def one_hot_note(num_classes: int) -> str:
    """A note on such labels. They count as multi-label data: in real data, no image may have two labels."""
    return (
        f"every image has exactly one of the {num_classes} labels, although several are possible: the metric is the "
        "mean AUC over labels. If they are one-hot classes, give the number of each image's class instead, as "
        "labels.argmax(axis=1) of an array; the metric is accuracy then."
    )
