"""Textures and colours of the drawn images."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from transferscope.data.drawn.random_numbers import normal, uniform

MIN_CONTRAST = 1.2
"""Least sum over the channels of |ink - ground|, of at most 3."""
COLOUR_TRIES = 16
OCTAVE_WEIGHTS = (0.45, 0.3, 0.15, 0.1)
TEXTURE = 0.45
"""Largest change of a pixel by texture."""
NOISE = 0.04
"""Standard deviation of the sensor noise."""


def octave_noise(count: int, channels: int, size_px: int, generator: torch.Generator) -> Tensor:
    """Smooth noise of four octaves, with cells of 1/2, 1/4, 1/8 and 1/16 of the side.

    Returns:
        (count, channels, size_px, size_px), float64, mean 0, from -1 to 1.
    """
    noise = torch.zeros(count, channels, 1, 1, dtype=torch.float64)
    for octave, weight in enumerate(OCTAVE_WEIGHTS):
        side = 2 ** (octave + 1)
        cells = uniform(-weight, weight, (count, channels, side, side), generator)
        # Each octave is added at its own resolution and enlarged with the coarser ones: one enlargement
        # to full size instead of four.
        noise = interpolate(noise, size=(side, side), mode="bilinear", align_corners=False).add_(cells)
    return interpolate(noise, size=(size_px, size_px), mode="bilinear", align_corners=False)


def contrasting_colours(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Colours of ink and ground, each (count, 3, 1, 1), 0 to 1, nearly always `MIN_CONTRAST` apart."""
    tries = uniform(0, 1, (count, COLOUR_TRIES, 2, 3), generator)
    contrast = (tries[:, :, 0] - tries[:, :, 1]).abs().sum(dim=2)
    # The first try with enough contrast, or else the one with the most.
    order = torch.arange(COLOUR_TRIES, 0, -1)
    score = torch.where(contrast >= MIN_CONTRAST, 3 + order, contrast)
    chosen = tries[torch.arange(count), score.argmax(dim=1)]
    ink, ground = chosen.view(count, 2, 3, 1, 1).unbind(dim=1)
    return ink, ground


def paint(ground: Tensor, mask: Tensor, ink: Tensor) -> Tensor:
    """`ink` (n, c, 1, 1) laid over `ground` (n, c, h, w or 1, 1) where `mask` (n, 1, h, w) is 1."""
    return torch.lerp(ground, ink, mask)


def textured(images: Tensor, generator: torch.Generator) -> Tensor:
    """The images (n, c, size, size) with texture and a little sensor noise, as letters and digits have it."""
    images = images + octave_noise(len(images), images.shape[1], images.shape[-1], generator).mul_(TEXTURE)
    return images.add_(normal(images.shape, generator), alpha=NOISE)
