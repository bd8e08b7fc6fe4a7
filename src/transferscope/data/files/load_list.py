"""Decoding of a list of image files, with the policy for unusable images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from transferscope.core.datasets import ImageData, ImageSplit
from transferscope.core.errors import BadInput
from transferscope.core.options import FileOptions
from transferscope.data.files.decode import Decoder, Failure, SquareDecoder, decode_into, pixel_digest
from transferscope.data.files.image_list import Entry, Label, Listing, absent_notes, check_labels
from transferscope.data.files.problems import Problems
from transferscope.data.files.spool import new_array

MAX_PAIRS = 3
"""Maximum number of pairs named in a line."""
Digests = list[bytes | None]
"""Digest of each image of a split; None if it could not be decoded."""


def load_list(
    listing: Listing,
    decode: Decoder,
    size_px: int,
    options: FileOptions,
    root: Path,
    channels: int = 3,
    stored_size_px: int | None = None,
) -> ImageData:
    """Decode all images of a list.

    Args:
        listing: the images; one that is listed several times is decoded once.
        decode: gives a file's pixels.
        size_px: side of the squares that `decode` gives.
        options: the policy.
        root: for messages.
        channels: of the images; grey images fill all of them.
        stored_size_px: if given, training images are also decoded at this size; see `ImageSplit.larger`.

    Raises:
        BadInput: under "stop", anything that can't be used; under either, a class without training images left.
    """
    problems = Problems()
    problems.extend(listing.problems)
    if isinstance(decode, SquareDecoder):
        decode.prepare([entry.path for entry in listing.train])
    shape = (channels, size_px, size_px)
    images, digests = {}, {}
    for name, entries in (("train", listing.train), ("test", listing.test)):
        images[name] = new_array((len(entries), *shape))
        digests[name] = _decode_split(images[name], entries, decode, problems)
    ids = {name: [entry.id for entry in getattr(listing, name)] for name in ("train", "test")}
    labels = {name: [entry.label for entry in getattr(listing, name)] for name in ("train", "test")}
    notes = contradictions(digests, labels, ids)
    if not options.keep_duplicates and getattr(options, "test_share", None) != "all":
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
            larger=_larger(left.train, decode, stored_size_px, channels) if name == "train" else None,
        )
    shown: list[str] = []
    if isinstance(decode, SquareDecoder):
        shown, notes = decode.notes(), [*decode.warnings(), *notes]
    return ImageData(
        **splits,
        left_out=problems.counts,
        problems=tuple(problems.lines()),
        shown=tuple(shown),
        notes=(*notes, *absent_notes(left.class_names, left.labels)),
    )


def _larger(
    entries: Sequence[Entry], decode: Decoder, size_px: int | None, channels: int
) -> torch.Tensor | None:
    """The same images at another size; None without one."""
    if size_px is None:
        return None
    if not isinstance(decode, SquareDecoder):
        raise TypeError("stored_size_px needs a decoder of squares")
    images = new_array((len(entries), channels, size_px, size_px))
    problems = Problems()
    _decode_split(images, entries, decode.at_size(size_px), problems)
    problems.settle("stop", "the training images, which could be decoded before")
    return torch.from_numpy(images)


def contradictions(
    digests: Mapping[str, Digests], labels: Mapping[str, Sequence[Label]], ids: Mapping[str, Sequence[str]]
) -> list[str]:
    """A note on images with the same pixels and different labels, within a split or between splits."""
    first: dict[bytes, tuple[Label, str]] = {}
    pairs = []
    for split, of_split in digests.items():
        for digest, label, name in zip(of_split, labels[split], ids[split], strict=True):
            if digest is not None and first.setdefault(digest, (label, name))[0] != label:
                pairs.append(f"{name} and {first[digest][1]}")
    if not pairs:
        return []
    more = f" and {len(pairs) - MAX_PAIRS} more" if len(pairs) > MAX_PAIRS else ""
    return [
        f"{len(pairs)} image(s) have the very pixels of an image with another label: "
        f"{', '.join(pairs[:MAX_PAIRS])}{more}. One of the two labels is wrong; check them."
    ]


def drop_duplicates(
    train: Digests, test: Digests, train_ids: Sequence[str], test_ids: Sequence[str], problems: Problems
) -> None:
    """Add test images with the same pixels as a training image to the problems, and remove their digests."""
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
    """Apply the policy to images in memory: duplicates, and problems found before.

    Args:
        data: the images that can be used so far.
        options: the policy.
        where: for messages.
        problems: what was noted before.
        class_names: as in the description.
    """
    splits = {"train": data.train, "test": data.test}
    for name, split in splits.items():
        if len(split) and split.images.max() <= 1:
            raise BadInput(
                f"{where}: all {name} images are black: no value is above {int(split.images.max())}, of 0 to 255. "
                "Where 1 stands for white, multiply by 255 (uint8), or give floats from 0 to 1 where they can be."
            )
    digests: dict[str, Digests] = {
        name: [pixel_digest(image) for image in split.images.numpy()] for name, split in splits.items()
    }
    ids = {name: split.ids for name, split in splits.items()}
    notes = contradictions(digests, _plain_labels(data), ids)
    if not options.keep_duplicates:
        drop_duplicates(digests["train"], digests["test"], ids["train"], ids["test"], problems)
        kept = [row for row, digest in enumerate(digests["test"]) if digest is not None]
        if len(kept) < len(data.test):
            data = replace(data, test=take(data.test, kept))
    problems.settle(options.on_bad, where)
    labels = _plain_labels(data)
    check_labels(class_names, labels, where, problems)
    return replace(
        data,
        left_out=problems.counts,
        problems=tuple(problems.lines()),
        notes=(*data.notes, *notes, *absent_notes(class_names, labels)),
    )


def _plain_labels(data: ImageData) -> dict[str, list[Label]]:
    labels = {"train": data.train.labels, "test": data.test.labels}
    return {
        name: one.tolist() if one.ndim == 1 else [tuple(row) for row in one.int().tolist()]
        for name, one in labels.items()
    }


def take(split: ImageSplit, rows: Sequence[int]) -> ImageSplit:
    """The images in these rows, in the given order."""
    index = torch.tensor(rows, dtype=torch.int64)
    return ImageSplit(
        images=split.images[index],
        labels=split.labels[index],
        ids=tuple(split.ids[row] for row in rows),
        larger=None if split.larger is None else split.larger[index],
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
