"""The coordinates that shapes are drawn in."""

from __future__ import annotations

import torch
from torch import Tensor


def pixel_grid(size_px: int) -> tuple[Tensor, Tensor]:
    """The centres of an image's pixels: x (1, size) to the right and y (size, 1) downward, from -1 to 1."""
    places = (torch.arange(size_px, dtype=torch.float64) * 2 + 1) / size_px - 1
    return places[None, :], places[:, None]
