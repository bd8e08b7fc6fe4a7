"""Small pictures of images, for people to look at."""

from __future__ import annotations

import io

import torch
from PIL import Image
from torch import Tensor

from transferscope.core.errors import BadInput

MAX_SIDE_PX = 96
"""Longer images are made smaller."""


def png_thumbnail(image: Tensor, max_side_px: int = MAX_SIDE_PX) -> bytes:
    """One image as a PNG, at most so long on its longer side; smaller ones keep their pixels.

    Args:
        image: (channels, height, width) uint8. One channel is grey, three are red, green and blue; of other
            numbers of channels the mean is shown.
        max_side_px: longest side of the picture.

    Raises:
        BadInput: another dtype or number of axes.

    >>> png_thumbnail(torch.zeros(3, 2, 2, dtype=torch.uint8))[1:4]
    b'PNG'
    """
    if image.dtype != torch.uint8 or image.ndim != 3 or not image.numel():
        raise BadInput(
            f"Expected an image (channels, height, width) of uint8, got {image.dtype} of shape {tuple(image.shape)}."
        )
    pixels = image.cpu()
    if len(pixels) != 3:
        pixels = pixels.float().mean(0, keepdim=True).round().to(torch.uint8)
    array = pixels.permute(1, 2, 0).contiguous().numpy()
    picture = Image.fromarray(array if array.shape[2] == 3 else array[:, :, 0])
    picture.thumbnail((max_side_px, max_side_px), Image.Resampling.LANCZOS)
    written = io.BytesIO()
    picture.save(written, format="PNG", optimize=True)
    return written.getvalue()
