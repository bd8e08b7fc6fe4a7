"""Images in archives with their labels: by folders, or by files beside the images, as webdataset has them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from transferscope.core.errors import BadInput
from transferscope.data.files.archive_members import Archives, Member
from transferscope.data.files.class_folders import TEST_NAMES
from transferscope.data.files.folder_walk import ARRAYS, EXTENSIONS

TRAIN_NAMES = ("train", "training")


@dataclass(frozen=True)
class ArchiveImage:
    """An image in an archive."""

    member: Member
    label: str | None
    """The name of its class; None if there is none."""
    split: str | None
    """train or test, by the name of its folder; None if its folder doesn't say."""


def labelled_images(members: Sequence[Member], label_key: str) -> tuple[list[ArchiveImage], list[str]]:
    """The images with their labels, and notes on other files.

    A sample is an image and the files whose names begin alike, up to the first dot. Where files with the ending .cls or
    .json are there, they hold the labels; otherwise the folder of an image is its class.

    Args:
        members: of all archives.
        label_key: the key of the label in .json files.

    Raises:
        BadInput: there are no images.
    """
    images = [one for one in members if one.name.lower().endswith((*EXTENSIONS, ARRAYS))]
    if not images:
        raise BadInput(f"the archives hold no images; read are {', '.join((*EXTENSIONS, ARRAYS))}.")
    beside = {
        (one.archive, _key(one.name)): one for one in members if one.name.lower().endswith((".cls", ".json"))
    }
    others = Counter(
        PurePosixPath(one.name).suffix or "no extension"
        for one in members
        if not one.name.lower().endswith((*EXTENSIONS, ARRAYS, ".cls", ".json"))
    )
    notes = []
    if others:
        counts = ", ".join(f"{count:,} ({kind})" for kind, count in sorted(others.items()))
        notes.append(f"files that were passed over: {counts}")
    if beside:
        archives = Archives()
        found = [
            ArchiveImage(one, _label(beside.get((one.archive, _key(one.name))), archives, label_key), None)
            for one in images
        ]
        return found, notes
    return [_by_folder(one) for one in images], notes


def _key(name: str) -> str:
    folder, _, file = name.rpartition("/")
    return f"{folder}/{file.partition('.')[0]}"


def _label(member: Member | None, archives: Archives, label_key: str) -> str | None:
    if member is None:
        return None
    try:
        text = archives.read(member).read().decode()
        if member.name.lower().endswith(".cls"):
            return text.strip() or None
        value: Any = json.loads(text)
        value = value.get(label_key) if isinstance(value, dict) else None
    except (OSError, ValueError):
        return None
    return str(value) if isinstance(value, int | str) and not isinstance(value, bool) else None


def _by_folder(member: Member) -> ArchiveImage:
    """The class is the folder below that of the split, or else the folder of the image."""
    folders = PurePosixPath(member.name).parts[:-1]
    for place, folder in enumerate(folders):
        split = "train" if folder.lower() in TRAIN_NAMES else "test" if folder.lower() in TEST_NAMES else None
        if split is not None:
            inside = folders[place + 1] if len(folders) > place + 1 else None
            return ArchiveImage(member, inside, split)
    return ArchiveImage(member, folders[-1] if folders else None, None)
