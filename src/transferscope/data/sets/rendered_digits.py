"""Printed digits among fragments of letters and strokes: the target nearest to the letters."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Literal

from transferscope.core.datasets import Description, ImageData
from transferscope.data.drawn.synthetic import SyntheticOptions, balanced_labels, draw_data

if TYPE_CHECKING:
    import torch
    from torch import Tensor

VERSION = 2

NUM_FRAGMENTS = 2
NUM_STROKES = 1
DISTRACTOR_SHARE = 0.4
"""How likely each of them is in an image."""


class Options(SyntheticOptions):
    """The options of the rendered digits."""

    dataset: Literal["rendered_digits"] = "rendered_digits"
    """Name of the data set."""


def describe(options: Options) -> Description:
    """10 classes, "0" to "9", as in `handwritten_digits`."""
    return Description(
        class_names=tuple(string.digits),
        image_size_px=options.image_size_px,
        num_train=options.train_size,
        num_test=options.test_size,
    )


def load(options: Options) -> ImageData:
    """Draw the digits; bit-identical at every call."""
    return draw_data(options, _draw_labels, _draw_images)


def _draw_labels(count: int, generator: torch.Generator) -> Tensor:
    return balanced_labels(count, len(string.digits), generator)


def _draw_images(labels: Tensor, size_px: int, generator: torch.Generator) -> Tensor:
    import torch

    from transferscope.data.drawn.printed import warped_glyphs
    from transferscope.data.drawn.random_numbers import uniform
    from transferscope.data.drawn.texture import contrasting_colours, paint, textured
    from transferscope.data.drawn.warp import WarpRange

    count = len(labels)
    ink, images = contrasting_colours(count, generator)
    for distractor in _fragments(count, size_px, generator) + _strokes(count, size_px, generator):
        shown = torch.rand(count, 1, 1, 1, generator=generator) < DISTRACTOR_SHARE
        images = paint(images, distractor * shown, uniform(0, 1, (count, 3, 1, 1), generator))
    mask = warped_glyphs(
        string.digits,
        labels,
        size_px,
        generator,
        WarpRange(rotation_degrees=20, scale=(0.85, 1.3), shear=0.25, shift=0.15),
    )
    return textured(paint(images, mask, ink), generator)


def _fragments(count: int, size_px: int, generator: torch.Generator) -> list[Tensor]:
    """Letters so far out that the image's border cuts them."""
    import torch

    from transferscope.data.drawn.glyph_masks import TEXT_FACES, glyph_masks
    from transferscope.data.drawn.printed import EM, STROKE_GROWTH
    from transferscope.data.drawn.random_numbers import uniform
    from transferscope.data.drawn.warp import affine_matrices, warp
    from transferscope.data.sets.letters import CHARACTERS

    masks = glyph_masks(CHARACTERS, TEXT_FACES, size_px, EM, STROKE_GROWTH)[0].flatten(0, 1)
    fragments = []
    for _ in range(NUM_FRAGMENTS):
        direction = uniform(0, 2 * torch.pi, (count, 1), generator)
        distance = uniform(0.85, 1.05, (count, 1), generator)
        shift = torch.stack((torch.cos(direction), torch.sin(direction)), dim=1) * distance[:, None]
        matrices = affine_matrices(
            uniform(-0.8, 0.8, (count,), generator),
            uniform(0.6, 1.1, (count,), generator),
            uniform(-0.25, 0.25, (count,), generator),
            shift,
        )
        chosen = torch.randint(len(masks), (count,), generator=generator)
        fragments.append(warp(masks[chosen][:, None], matrices, size_px))
    return fragments


def _strokes(count: int, size_px: int, generator: torch.Generator) -> list[Tensor]:
    """Straight strokes between two random places."""
    from transferscope.data.drawn.coordinates import pixel_grid
    from transferscope.data.drawn.random_numbers import uniform

    x, y = pixel_grid(size_px)
    strokes = []
    for _ in range(NUM_STROKES):
        x0, y0, x1, y1 = uniform(-1.1, 1.1, (4, count, 1, 1, 1), generator)
        half_width = uniform(0.03, 0.07, (count, 1, 1, 1), generator)
        dx, dy = x1 - x0, y1 - y0
        along = ((x - x0) * dx + (y - y0) * dy).div_(dx * dx + dy * dy + 1e-6).clamp_(0, 1)
        squared = (x - x0 - along * dx).square_().add_((y - y0 - along * dy).square_())
        strokes.append((0.5 + (half_width - squared.sqrt_()) * size_px / 2).clamp_(0, 1))
    return strokes
