"""Random affine warps of many masks at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from transferscope.data.drawn.random_numbers import uniform


@dataclass(frozen=True, kw_only=True)
class WarpRange:
    """What a warp is drawn from, uniformly."""

    rotation_degrees: float
    """From minus this to this."""
    scale: tuple[float, float]
    """Size of what is drawn; 1 keeps it."""
    shear: float = 0.0
    """From minus this to this."""
    shift: float
    """From minus this to this in each direction, 1 being half the image's side."""


def random_warps(count: int, warps: WarpRange, generator: torch.Generator) -> Tensor:
    """(count, 2, 3): from places in the image to places in the mask, as `warp` takes them."""
    angle = uniform(-1, 1, (count,), generator) * math.radians(warps.rotation_degrees)
    scale = uniform(*warps.scale, (count,), generator)
    shear = uniform(-warps.shear, warps.shear, (count,), generator)
    shift = uniform(-warps.shift, warps.shift, (count, 2, 1), generator)
    return affine_matrices(angle, scale, shear, shift)


def affine_matrices(angle: Tensor, scale: Tensor, shear: Tensor, shift: Tensor) -> Tensor:
    """(n, 2, 3) from angles in radians, scales, shears, each (n,), and shifts (n, 2, 1)."""
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    first = torch.stack((cos, sin + shear * cos), dim=1)
    second = torch.stack((-sin, cos - shear * sin), dim=1)
    linear = torch.stack((first, second), dim=1)
    return torch.cat((linear, -linear @ shift), dim=2)


def warp(masks: Tensor, matrices: Tensor, size_px: int) -> Tensor:
    """The masks (n, c, side, side), warped by (n, 2, 3) into (n, c, size_px, size_px); 0 outside."""
    grid = affine_grid(matrices, [len(masks), masks.shape[1], size_px, size_px], align_corners=False)
    return grid_sample(masks, grid, align_corners=False)
