"""Printed letters in 20 faces, warped, coloured and textured: the source of the embedded study."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from transferscope.core.datasets import Description, ImageData
from transferscope.data.drawn.synthetic import SyntheticOptions, balanced_labels, draw_data

if TYPE_CHECKING:
    import torch
    from torch import Tensor

VERSION = 2

CHARACTERS = string.ascii_uppercase + "abdeghmnqrt"
"""The capitals, and the small letters that are not just smaller. No digits: those are a target."""


class Options(SyntheticOptions):
    """The options of the letters."""

    dataset: Literal["letters"] = "letters"
    """Name of the data set."""
    train_size: int = Field(default=12_000, ge=50, le=1_000_000)
    """Number of training images."""


def describe(options: Options) -> Description:
    """37 classes of letters, one label an image."""
    return Description(
        class_names=tuple(CHARACTERS),
        image_size_px=options.image_size_px,
        num_train=options.train_size,
        num_test=options.test_size,
    )


def load(options: Options) -> ImageData:
    """Draw the letters; bit-identical at every call."""
    return draw_data(options, _draw_labels, _draw_images)


def _draw_labels(count: int, generator: torch.Generator) -> Tensor:
    return balanced_labels(count, len(CHARACTERS), generator)


def _draw_images(labels: Tensor, size_px: int, generator: torch.Generator) -> Tensor:
    from transferscope.data.drawn.printed import warped_glyphs
    from transferscope.data.drawn.texture import contrasting_colours, paint, textured

    mask = warped_glyphs(CHARACTERS, labels, size_px, generator)
    ink, ground = contrasting_colours(len(labels), generator)
    return textured(paint(ground, mask, ink), generator)
