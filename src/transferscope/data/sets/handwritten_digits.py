"""Real handwritten digits: those that scikit-learn ships, enlarged."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Literal, Self

from pydantic import model_validator

from transferscope.core.datasets import Description, ImageData, ImageSplit
from transferscope.data.drawn.synthetic import SyntheticOptions, split_generator

if TYPE_CHECKING:
    import torch
    from torch import Tensor

VERSION = 2

NUM_IMAGES = 1797
CONTENT_SHARE = 28 / 32
"""Side of the enlarged digit over side of the image; the rest is an even border of 0."""


class Options(SyntheticOptions):
    """The options of the handwritten digits: 1,797 real images of 8 x 8 pixels.

    The test images are other images of the same people: the data set does not say who wrote which.
    """

    dataset: Literal["handwritten_digits"] = "handwritten_digits"
    """Name of the data set."""

    @model_validator(mode="after")
    def _enough_images(self) -> Self:
        wanted = self.train_size + self.test_size
        if wanted > NUM_IMAGES:
            raise ValueError(
                f"train_size {self.train_size} and test_size {self.test_size} are {wanted} images together; "
                f"there are {NUM_IMAGES}. Lower one of them by {wanted - NUM_IMAGES}."
            )
        return self


def describe(options: Options) -> Description:
    """10 classes, "0" to "9", as in `rendered_digits`."""
    return Description(
        class_names=tuple(string.digits),
        image_size_px=options.image_size_px,
        num_train=options.train_size,
        num_test=options.test_size,
    )


def load(options: Options) -> ImageData:
    """The digits, split at random by the seed, in the same proportions of classes; ids are row numbers.

    Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning
    Repository, 1998 (its test part, as in sklearn.datasets.load_digits).
    """
    import torch
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    images = _enlarge(torch.from_numpy(pixels).double().view(-1, 1, 8, 8) / 16, options.image_size_px)
    labels = torch.from_numpy(labels).long()
    order = _stratified_order(labels, split_generator(options.dataset, "all", options.seed))
    splits = {}
    for split, rows in (
        ("train", order[: options.train_size]),
        ("test", order[options.train_size : options.train_size + options.test_size]),
    ):
        ids = tuple(str(row) for row in rows.tolist())
        splits[split] = ImageSplit(images=images[rows], labels=labels[rows], ids=ids)
    return ImageData(**splits)


def _enlarge(images: Tensor, size_px: int) -> Tensor:
    """(n, 1, 8, 8), 0 to 1, to (n, 3, size_px, size_px) uint8 by bicubic interpolation and a border."""
    from torch.nn.functional import interpolate, pad

    content = round(CONTENT_SHARE * size_px)
    before = (size_px - content) // 2
    after = size_px - content - before
    images = interpolate(images, size=(content, content), mode="bicubic", align_corners=False)
    # Many values lie exactly between two levels; the small number sends them up on every processor.
    levels = images.clamp_(0, 1).mul_(255).add_(0.5 + 1e-6).floor_()
    images = pad(levels, (before, after, before, after))
    return images.byte().expand(-1, 3, -1, -1).contiguous()


def _stratified_order(labels: Tensor, generator: torch.Generator) -> Tensor:
    """A random order of all rows in which every stretch holds the classes in their proportions."""
    import torch

    shuffled = torch.randperm(len(labels), generator=generator)
    place = torch.empty(len(labels))
    for label in range(int(labels.max()) + 1):
        rows = shuffled[labels[shuffled] == label]
        # The rows of a class are spread evenly over 0..1, from a random start.
        start = torch.rand((), generator=generator)
        place[rows] = (torch.arange(len(rows)) + start) / len(rows)
    return place.argsort(stable=True)
