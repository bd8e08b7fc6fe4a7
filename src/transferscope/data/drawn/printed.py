"""Printed characters as letters and digits share them: any face, bold or not, warped."""

from __future__ import annotations

import torch
from torch import Tensor

from transferscope.data.drawn.glyph_masks import TEXT_FACES, glyph_masks
from transferscope.data.drawn.warp import WarpRange, random_warps, warp

EM = 44 / 64
STROKE_GROWTH = (0.0, 1 / 64)
GROWN_SHARE = 0.3
WARPS = WarpRange(rotation_degrees=20, scale=(0.75, 1.15), shear=0.25, shift=0.15)


def warped_glyphs(
    characters: str, labels: Tensor, size_px: int, generator: torch.Generator, warps: WarpRange = WARPS
) -> Tensor:
    """One glyph an image, in a random face and warp.

    Args:
        characters: the glyphs that labels number.
        labels: (n,) int64.
        size_px: side of the images.
        generator: draws face, growth and warp.
        warps: what the warps are drawn from.

    Returns:
        (n, 1, size_px, size_px), float64, 0 to 1: how much of each pixel is ink.
    """
    count = len(labels)
    masks = glyph_masks(characters, TEXT_FACES, size_px, EM, STROKE_GROWTH)
    grown = (torch.rand(count, generator=generator) < GROWN_SHARE).long()
    face = torch.randint(len(TEXT_FACES), (count,), generator=generator)
    return warp(masks[grown, face, labels][:, None], random_warps(count, warps, generator), size_px)
