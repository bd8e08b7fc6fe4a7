"""Parts of file names that several images share, such as a patient's number: hints at groups. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from pathlib import PurePosixPath

_PREFIX = re.compile(r"([A-Za-z]+[-_]?\d{2,}|\d{4,})(?=[-_ .])")
_FOLDER = re.compile(r"[A-Za-z]+[-_]?\d{2,}|\d{4,}")


def shared_groups(train: Iterable[str], test: Iterable[str], class_names: Collection[str] = ()) -> list[str]:
    """What may name a group of images, such as a patient, of which there are images in both splits.

    A group is a folder below the class, or the beginning of a file's name before a separator, that has letters and at
    least two digits, or at least four digits alone.

    Args:
        train, test: ids of the images: their paths below the root.
        class_names: folders of these names are classes.

    Returns:
        The names, sorted; empty where each stands for a single image.

    >>> shared_groups(["train/a/patient00012_1.png", "train/a/0.png"], ["test/a/patient00012_2.png", "test/a/0.png"])
    ['patient00012']
    """
    names = set(class_names)
    groups = [{group for id_ in ids if (group := _group(id_, names))} for ids in (train, test)]
    return sorted(groups[0] & groups[1])


def _group(id_: str, class_names: set[str]) -> str:
    path = PurePosixPath(id_)
    for folder in path.parts[1:-1]:
        if folder not in class_names and _FOLDER.fullmatch(folder):
            return folder
    found = _PREFIX.match(path.stem + " ") if len(path.parts) > 1 else None
    return found[1] if found and len(found[1]) < len(path.stem) else ""
