"""Symbols in flat colours with an outline, like clip art: farther from the letters than digits are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from transferscope.core.datasets import Description, ImageData
from transferscope.data.drawn.synthetic import SyntheticOptions, balanced_labels, draw_data

if TYPE_CHECKING:
    import torch
    from torch import Tensor

VERSION = 2

GLYPHS = {
    "heart": "♥♡",
    "star": "★☆",
    "umbrella": "☂☔",
    "note": "♪♫",
    "scissors": "✂✄",
    "telephone": "☎☏",
    "airplane": "✈✈",
    "knight": "♞♘",
    "crown": "♛♕",
    "flag": "⚑⚐",
    "spade": "♠♤",
    "club": "♣♧",
}
"""Two drawings a class, from DejaVu Sans."""
FACES = ("DejaVuSans", "DejaVuSans-Bold")
OUTLINE = 2.5 / 64
OUTLINED_SHARE = 0.7


class Options(SyntheticOptions):
    """The options of the symbols."""

    dataset: Literal["symbols"] = "symbols"
    """Name of the data set."""


def describe(options: Options) -> Description:
    """12 classes of symbols, one label an image."""
    return Description(
        class_names=tuple(GLYPHS),
        image_size_px=options.image_size_px,
        num_train=options.train_size,
        num_test=options.test_size,
    )


def load(options: Options) -> ImageData:
    """Draw the symbols; bit-identical at every call."""
    return draw_data(options, _draw_labels, _draw_images)


def _draw_labels(count: int, generator: torch.Generator) -> Tensor:
    return balanced_labels(count, len(GLYPHS), generator)


def _draw_images(labels: Tensor, size_px: int, generator: torch.Generator) -> Tensor:
    import torch

    from transferscope.data.drawn.glyph_masks import glyph_masks
    from transferscope.data.drawn.random_numbers import uniform
    from transferscope.data.drawn.texture import contrasting_colours, paint
    from transferscope.data.drawn.warp import WarpRange, random_warps, warp

    count = len(labels)
    masks = glyph_masks("".join(GLYPHS.values()), FACES, size_px, 50 / 64, (0.0, OUTLINE))
    face = torch.randint(len(FACES), (count,), generator=generator)
    drawing = 2 * labels + torch.randint(2, (count,), generator=generator)
    warps = WarpRange(rotation_degrees=15, scale=(0.6, 1.05), shear=0.1, shift=0.15)
    pair = warp(masks[:, face, drawing].transpose(0, 1), random_warps(count, warps, generator), size_px)
    body, outline = pair.split(1, dim=1)
    ink, ground = contrasting_colours(count, generator)
    outlined = torch.rand(count, 1, 1, 1, generator=generator) < OUTLINED_SHARE
    images = paint(ground, outline * outlined, uniform(0, 1, (count, 3, 1, 1), generator))
    return paint(images, body, ink)
