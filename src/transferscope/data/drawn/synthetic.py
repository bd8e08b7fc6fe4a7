"""What the embedded data sets share: options, seeds, labels, and drawing in chunks.

Imports no torch at module level: the planner reads the options of every data set.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Protocol

from pydantic import Field

from transferscope.core.datasets import ImageData, ImageSplit
from transferscope.core.options import DatasetOptions

if TYPE_CHECKING:
    import torch
    from torch import Tensor

CHUNK_PIXELS = 512 * 32 * 32
"""Pixels drawn at a time: a chunk stays in the processor's cache (one piece is three times slower)."""


class SyntheticOptions(DatasetOptions):
    """The options that every embedded data set has."""

    image_size_px: int = Field(default=32, ge=16, le=256)
    """Side of the square images."""
    train_size: int = Field(default=600, ge=50, le=1_000_000)
    """Number of training images."""
    test_size: int = Field(default=1_000, ge=50, le=1_000_000)
    """Number of test images; none of them is a training image."""
    seed: int = Field(default=0, ge=0)
    """Another seed gives other images of the same kind."""


class DrawLabels(Protocol):
    """Draws the labels of `count` images."""

    def __call__(self, count: int, generator: torch.Generator) -> Tensor: ...


class DrawImages(Protocol):
    """Draws images of labels: (k, 3 or 1, size_px, size_px), float64, clipped to 0..1 afterwards."""

    def __call__(self, labels: Tensor, size_px: int, generator: torch.Generator) -> Tensor: ...


def split_generator(dataset: str, split: str, seed: int) -> torch.Generator:
    """The generator of one split: independent of those of other splits, data sets and seeds."""
    import torch

    digest = hashlib.sha256(f"{dataset}/{split}/{seed}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:4], "big"))


def balanced_labels(count: int, num_classes: int, generator: torch.Generator) -> Tensor:
    """(count,) int64 in random order; each class as often as the others, within one."""
    import torch

    return (torch.arange(count) % num_classes)[torch.randperm(count, generator=generator)]


def draw_data(options: SyntheticOptions, draw_labels: DrawLabels, draw_images: DrawImages) -> ImageData:
    """Both splits, drawn in chunks and rounded to uint8; grey images fill all three channels."""
    import torch

    size_px = options.image_size_px
    chunk = max(1, CHUNK_PIXELS // size_px**2)
    splits = {}
    for split, count in (("train", options.train_size), ("test", options.test_size)):
        generator = split_generator(options.dataset, split, options.seed)
        labels = draw_labels(count, generator)
        images = torch.empty(count, 3, size_px, size_px, dtype=torch.uint8)
        for images_chunk, labels_chunk in zip(images.split(chunk), labels.split(chunk), strict=True):
            drawn = draw_images(labels_chunk, size_px, generator)
            images_chunk.copy_(drawn.clamp_(0, 1).mul_(255).round_())
        ids = tuple(f"{split}/{number:05d}" for number in range(count))
        splits[split] = ImageSplit(images=images, labels=labels, ids=ids)
    return ImageData(**splits)
