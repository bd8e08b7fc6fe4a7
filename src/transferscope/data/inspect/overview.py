"""Statistics of a decoded data set."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from transferscope.core.datasets import ImageSplit
from transferscope.data.files.decode import pixel_digest
from transferscope.data.files.load_list import Digests, drop_duplicates
from transferscope.data.files.problems import Problems
from transferscope.data.inspect.near_duplicates import thumbnails

REPEAT_MARK = "#"
"""Stands in an id before the number of the time that an image is listed on purpose."""


@dataclass(frozen=True, kw_only=True)
class SplitOverview:
    """One split in numbers."""

    num_images: int
    counts: tuple[int, ...]
    """Images of each class; of each label, the images that have it."""
    num_repeats: int
    """Images that are repeated on purpose."""
    num_duplicates: int
    """Images with the same pixels as an earlier one, not on purpose."""
    mean: tuple[float, ...]
    """Mean of each channel, 0 to 255."""
    std: tuple[float, ...]
    """Standard deviation of each channel over all pixels of all images."""

    @property
    def prevalence(self) -> tuple[float, ...]:
        """Share of the images that belong to each class, or have each label; NaN without images."""
        return tuple(count / self.num_images if self.num_images else float("nan") for count in self.counts)


@dataclass(frozen=True, kw_only=True)
class Scan:
    """Results of one pass over the images of a split."""

    digests: Digests
    """Of each image's pixels."""
    thumbnails: Tensor
    """As `near_duplicates.thumbnails` makes them."""
    mean: tuple[float, ...]
    std: tuple[float, ...]


def overview(split: ImageSplit, num_classes: int, scan: Scan) -> SplitOverview:
    """Counts of a split.

    Args:
        split: the images.
        num_classes: as in the description.
        scan: of the images; see `scanned`.
    """
    if split.labels.ndim == 1:
        counts = torch.bincount(split.labels, minlength=num_classes)
    else:
        counts = split.labels.long().sum(dim=0)
    repeated = [REPEAT_MARK in name for name in split.ids]
    once = [digest for digest, again in zip(scan.digests, repeated, strict=True) if not again]
    return SplitOverview(
        num_images=len(split),
        counts=tuple(counts.tolist()),
        num_repeats=sum(repeated),
        num_duplicates=len(once) - len(set(once)),
        mean=scan.mean,
        std=scan.std,
    )


def conflicting_labels(splits: Mapping[str, ImageSplit], scans: Mapping[str, Scan]) -> list[tuple[str, ...]]:
    """The ids of images with the same pixels and different labels, together for each such image."""
    labels: dict[object, dict[object, str]] = defaultdict(dict)
    for name, split in splits.items():
        for digest, label, id_ in zip(scans[name].digests, split.labels.tolist(), split.ids, strict=True):
            labels[digest].setdefault(tuple(label) if isinstance(label, list) else label, id_)
    return [tuple(ids.values()) for ids in labels.values() if len(ids) > 1]


def shared_images(
    train: ImageSplit, test: ImageSplit, train_digests: Digests, test_digests: Digests
) -> Problems:
    """The test images with the same pixels as a training image."""
    problems = Problems()
    drop_duplicates(train_digests, list(test_digests), train.ids, test.ids, problems)
    return problems


def scanned(split: ImageSplit) -> Scan:
    """Look at each image once; mean and standard deviation of each channel are summed exactly, in whole numbers."""
    channels = split.images.shape[1]
    total = torch.zeros(channels, dtype=torch.int64)
    squares = torch.zeros(channels, dtype=torch.int64)
    digests: Digests = []
    small: list[Tensor] = []
    for chunk in split.images.split(256):
        digests += [pixel_digest(image) for image in chunk.numpy()]
        small.append(thumbnails(chunk))
        numbers = chunk.transpose(0, 1).reshape(channels, -1).int()
        total += numbers.sum(dim=1)
        squares += (numbers * numbers).sum(dim=1)
    count = max(1, split.images.numel() // channels)
    mean = total.double() / count
    variance = (squares.double() / count - mean**2).clamp(min=0)
    return Scan(
        digests=digests,
        thumbnails=torch.cat(small),
        mean=tuple(mean.tolist()),
        std=tuple(variance.sqrt().tolist()),
    )
