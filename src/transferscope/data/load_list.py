"""From a list of image files to decoded images, under the one policy for what can't be used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from transferscope.data.base import ImageData, ImageSplit
from transferscope.data.decode import Decoder, Failure, decode_into, pixel_digest
from transferscope.data.image_list import Entry, Listing, check_labels
from transferscope.data.problems import Problems
from transferscope.data.spool import new_array
from transferscope.options import FileOptions

Digests = list[bytes | None]
"""Of each image of a split; None where it could not be decoded."""


def load_list(
    listing: Listing, decode: Decoder, size_px: int, options: FileOptions, root: Path, channels: int = 3
) -> ImageData:
    """Decode all images of a list.

    Args:
        listing: the images; one that is listed several times is decoded once.
        decode: gives a file's pixels.
        size_px: side of the squares that `decode` gives.
        options: the policy.
        root: for messages.
        channels: 1 or 3; grey images fill all of them.

    Raises:
        BadInput: under "stop", anything that can't be used; under either, a class without training images left.
    """
    problems = Problems()
    problems.extend(listing.problems)
    shape = (channels, size_px, size_px)
    images, digests = {}, {}
    for name, entries in (("train", listing.train), ("test", listing.test)):
        images[name] = new_array((len(entries), *shape))
        digests[name] = _decode_split(images[name], entries, decode, problems)
    ids = {name: [entry.id for entry in getattr(listing, name)] for name in ("train", "test")}
    if not options.keep_duplicates:
        drop_duplicates(digests["train"], digests["test"], ids["train"], ids["test"], problems)
    problems.settle(options.on_bad, root)
    kept = {name: [row for row, one in enumerate(digests[name]) if one is not None] for name in digests}
    left = replace(
        listing,
        train=tuple(listing.train[row] for row in kept["train"]),
        test=tuple(listing.test[row] for row in kept["test"]),
        problems=problems,
    )
    left.check(root)
    splits = {}
    for name, labels in left.labels.items():
        splits[name] = ImageSplit(
            images=torch.from_numpy(_compacted(images[name], kept[name])),
            labels=torch.tensor(labels, dtype=torch.float32 if listing.multi_label else torch.int64),
            ids=tuple(entry.id for entry in getattr(left, name)),
        )
    return ImageData(**splits, left_out=problems.counts, problems=tuple(problems.lines()))


def drop_duplicates(
    train: Digests, test: Digests, train_ids: Sequence[str], test_ids: Sequence[str], problems: Problems
) -> None:
    """Note test images with the very pixels of a training image, and forget their digests."""
    known: dict[bytes | None, str] = {}
    for digest, name in zip(train, train_ids, strict=True):
        known.setdefault(digest, name)
    for row, digest in enumerate(test):
        if digest is not None and digest in known:
            problems.add("duplicate", test_ids[row], f"the same as {known[digest]}")
            test[row] = None


def clean_up(
    data: ImageData, options: FileOptions, where: Path, problems: Problems, class_names: Sequence[str]
) -> ImageData:
    """The policy for images that are in memory already: duplicates, and what was noted before.

    Args:
        data: the images that can be used so far.
        options: the policy.
        where: for messages.
        problems: what was noted before.
        class_names: as in the description.
    """
    if not options.keep_duplicates:
        train, test = ([pixel_digest(i) for i in split.images.numpy()] for split in (data.train, data.test))
        digests: Digests = list(test)
        drop_duplicates(list(train), digests, data.train.ids, data.test.ids, problems)
        kept = [row for row, digest in enumerate(digests) if digest is not None]
        if len(kept) < len(digests):
            data = ImageData(train=data.train, test=take(data.test, kept))
    problems.settle(options.on_bad, where)
    labels = {name: getattr(data, name).labels for name in ("train", "test")}
    plain = {name: one.tolist() if one.ndim == 1 else one.int().tolist() for name, one in labels.items()}
    check_labels(class_names, plain, where, problems)
    lines = tuple(problems.lines())
    return ImageData(train=data.train, test=data.test, left_out=problems.counts, problems=lines)


def take(split: ImageSplit, rows: Sequence[int]) -> ImageSplit:
    """The images of these rows, in this order."""
    index = torch.tensor(rows, dtype=torch.int64)
    return ImageSplit(
        images=split.images[index], labels=split.labels[index], ids=tuple(split.ids[row] for row in rows)
    )


def _decode_split(
    images: np.ndarray, entries: Sequence[Entry], decode: Decoder, problems: Problems
) -> Digests:
    """Fill `images`, note what failed; a file that is listed several times is decoded for its first row."""
    first: dict[str, int] = {}
    for row, entry in enumerate(entries):
        first.setdefault(entry.path, row)
    rows = list(first.values())
    contiguous = len(rows) == len(entries)
    target = images if contiguous else images[: len(rows)]
    results = decode_into(target, list(first), decode)
    by_path: dict[str, bytes | None] = {}
    for path, result in zip(first, results, strict=True):
        if isinstance(result, Failure):
            problems.add(result.kind, entries[first[path]].id, result.reason)
        by_path[path] = None if isinstance(result, Failure) else result
    if not contiguous:
        # Decoded images lie at the front, in the order of their first rows: from the last row on, each moves
        # to its place before anything is written over it.
        place = {path: number for number, path in enumerate(first)}
        for row in range(len(entries) - 1, -1, -1):
            images[row] = images[place[entries[row].path]]
    return [by_path[entry.path] for entry in entries]


def _compacted(images: np.ndarray, kept: Sequence[int]) -> np.ndarray:
    """The kept rows moved together in place: no second copy of the data set."""
    if len(kept) == len(images):
        return images
    for new, old in enumerate(kept):
        images[new] = images[old]
    few = 2 * len(kept) < len(images) and not isinstance(images, np.memmap)
    return images[: len(kept)].copy() if few else images[: len(kept)]
