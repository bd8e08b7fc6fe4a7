"""Augmentation of training images, a whole batch at a time, with random parameters for each image.

All augmentations are affine maps with bilinear sampling; pixels outside an image repeat its edge.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Augmentation = Literal["none", "crop_and_flip", "affine"]

LOG_RATIO = math.log(4 / 3)
"""Aspect ratios of crops: between 3:4 and 4:3."""
ROTATION_DEGREES = 15.0
"""Largest rotation of "affine", in either direction."""
SHIFT = 0.05
"""Largest shift of "affine" along each axis, as a fraction of the side."""
SCALES = (0.95, 1.05)
"""Smallest and largest scale of "affine"."""


def augment(
    images: Tensor, how: Augmentation, generator: torch.Generator, *, crop_scale: tuple[float, float]
) -> Tensor:
    """Augment images at random.

    Args:
        images: (n, channels, height, width), uint8.
        how: "none": unchanged. "crop_and_flip": a rectangle of a random share of the area (uniform in
            `crop_scale`) and a random shape (log-uniform between 3:4 and 4:3) at a random place is stretched over
            the image, and mirrored with probability 1/2; a side that would be longer than the image's is cut to
            it. "affine": rotated, scaled and shifted, uniformly within 15 degrees, .95 to 1.05 and 5 % of the side
            along each axis (the paper's recipe for radiographs).
        generator: generator on the CPU, so that the random numbers are the same on every device.
        crop_scale: smallest and largest share of the area.

    Returns:
        As `images`, rounded to uint8.
    """
    theta = drawn_maps(
        len(images), images.shape[-2] / images.shape[-1], how, generator, crop_scale=crop_scale
    )
    return images if theta is None else warp(images, theta)


def drawn_maps(
    n: int,
    height_over_width: float,
    how: Augmentation,
    generator: torch.Generator,
    *,
    crop_scale: tuple[float, float],
) -> Tensor | None:
    """(n, 2, 3) random maps of n images for `warp`, as in `augment`; None if `how` is "none"."""
    if how == "none":
        return None
    if how == "crop_and_flip":
        return crop_and_flip_maps(n, crop_scale, generator)
    return affine_maps(n, height_over_width, generator)


def warp(images: Tensor, theta: Tensor, size_px: int | None = None) -> Tensor:
    """Apply a separate affine map to each image, with bilinear sampling.

    Where the result is smaller than the images, each of its pixels is the mean of several samples, at most two pixels
    of an image apart: without a crop, these are all pixels that it covers.

    Args:
        images: (n, channels, height, width), uint8.
        theta: (n, 2, 3) float: maps a position in the result to a position in the image; x, then y. Positions range
            from
            -1 to 1 between the outer edges of the first and the last pixel.
        size_px: side of the result, which is square; default: the size of the images.

    Returns:
        (n, channels, height, width) uint8.
    """
    shape, times = list(images.shape), 1
    if size_px is not None and shape[-1] != size_px:
        times = math.ceil(shape[-1] / size_px / 2)
        shape[-2:] = [size_px * times] * 2
    places = functional.affine_grid(theta.to(images.device), shape, align_corners=False)
    found = functional.grid_sample(
        images.float(), places, mode="bilinear", padding_mode="border", align_corners=False
    )
    if times > 1:
        found = functional.avg_pool2d(found, times)
    return found.round_().clamp_(0, 255).to(torch.uint8)


def crop_and_flip_maps(n: int, scale: tuple[float, float], generator: torch.Generator) -> Tensor:
    """(n, 2, 3) maps of random crops, half of them mirrored."""
    draws = torch.rand(n, 5, generator=generator)
    area = scale[0] + (scale[1] - scale[0]) * draws[:, 0]
    half = torch.exp((2 * draws[:, 1] - 1) * LOG_RATIO / 2)
    width = (area.sqrt() * half).clamp(max=1)
    height = (area.sqrt() / half).clamp(max=1)
    mirrored = torch.where(draws[:, 4] < 0.5, -1.0, 1.0)
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0] = mirrored * width
    theta[:, 0, 2] = (2 * draws[:, 2] - 1) * (1 - width)
    theta[:, 1, 1] = height
    theta[:, 1, 2] = (2 * draws[:, 3] - 1) * (1 - height)
    return theta


def affine_maps(n: int, height_over_width: float, generator: torch.Generator) -> Tensor:
    """(n, 2, 3) maps of random rotations, scales and shifts about the middle."""
    draws = torch.rand(n, 4, generator=generator)
    angle = (2 * draws[:, 0] - 1) * math.radians(ROTATION_DEGREES)
    scale = SCALES[0] + (SCALES[1] - SCALES[0]) * draws[:, 1]
    shift = (2 * draws[:, 2:] - 1) * 2 * SHIFT  # the side is 2 long
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 0, 1] = cos, sin * height_over_width
    theta[:, 1, 0], theta[:, 1, 1] = -sin / height_over_width, cos
    # from the result back to the image: the shift goes off before the rotation
    theta[:, :, 2] = -(theta[:, :, :2] @ shift[:, :, None])[:, :, 0]
    return theta
