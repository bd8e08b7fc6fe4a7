"""Radiograph files as the paper's released code prepares those of CheXpert."""

from __future__ import annotations

from functools import partial

import numpy as np
from PIL import Image

from transferscope.data.files.decode import Decoder, one_if_large, open_image
from transferscope.data.files.grey_levels import grey_kind

PIXEL_MEAN = 128
"""What the released code takes for the mean of all pixels; the square is filled with it."""


def radiograph_decoder(size_px: int) -> Decoder:
    """Decodes radiographs to grey squares; see `prepare`."""
    return partial(_decode, size_px=size_px)


def prepare(grey: np.ndarray, size_px: int) -> np.ndarray:
    """Equalise the histogram, resize the long side, fill the square, blur; (x - 128) / 64 is left to the network.

    The image is at the upper left, the rest is 128; the blur has the kernel [1 2 1]' [1 2 1] / 16 and mirrors
    the image at its border without repeating the outermost pixels. All of it in float32, rounded to uint8 once.

    Args:
        grey: (height, width), uint8.
        size_px: side of the square, at least 2.

    Returns:
        (size_px, size_px), uint8.

    Source: the released code of Neyshabur, Sedghi, Zhang 2020 (arXiv:2008.11687), which uses OpenCV's
    equalizeHist, resize (INTER_LINEAR) and GaussianBlur (3 x 3).
    """
    height, width = grey.shape
    if height >= width:
        size = (size_px, max(1, round(size_px / (height / width))))
    else:
        size = (max(1, round(size_px / (width / height))), size_px)
    filled = np.full((size_px, size_px), PIXEL_MEAN, dtype=np.float32)
    filled[: size[0], : size[1]] = resize_bilinear(equalize_histogram(grey).astype(np.float32), *size)
    return np.rint(_blurred(filled)).astype(np.uint8)


def equalize_histogram(grey: np.ndarray) -> np.ndarray:
    """Grey values spread so that their cumulative histogram is even.

    With C(v) the number of pixels of value v or less, N of all pixels and v0 the least value there is:
    new(v) = round(255 (C(v) - C(v0)) / (N - C(v0))). An image of one value stays as it is.

    Args:
        grey: (height, width), uint8.

    Returns:
        The same shape, uint8.
    """
    counts = np.bincount(grey.ravel(), minlength=256)
    first = np.flatnonzero(counts)[0]
    others = grey.size - int(counts[first])
    if not others:
        return grey
    above = np.cumsum(counts) - counts[first]
    # In float32 and in this order, as OpenCV does: the rounding is then the same.
    scaled = np.maximum(above, 0).astype(np.float32) * np.float32(np.float32(255) / np.float32(others))
    return np.rint(scaled).astype(np.uint8)[grey]


def resize_bilinear(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear interpolation between the four nearest pixels' centres, also where the image gets smaller.

    Args:
        image: (h, w), float32.
        height: new height in pixels.
        width: new width in pixels.

    Returns:
        (height, width), float32.
    """
    top, bottom, down = _neighbours(image.shape[0], height)
    left, right, across = _neighbours(image.shape[1], width)
    rows = image[top] + (image[bottom] - image[top]) * down[:, None]
    return rows[:, left] + (rows[:, right] - rows[:, left]) * across


def _neighbours(old: int, new: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each new place the old ones before and behind it, and how far it lies towards the second, 0 to 1."""
    place = ((np.arange(new) + 0.5) * (old / new) - 0.5).clip(0, old - 1)
    before = np.minimum(place.astype(np.int64), max(old - 2, 0))
    return before, np.minimum(before + 1, old - 1), (place - before).astype(np.float32)


def _blurred(image: np.ndarray) -> np.ndarray:
    padded = np.pad(image, 1, mode="reflect")
    across = (padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]) * np.float32(0.25)
    return (across[:-2] + 2 * across[1:-1] + across[2:]) * np.float32(0.25)


def _decode(path: str, size_px: int) -> np.ndarray:
    with open_image(path) as file:
        # As `square_decoder`: at a fraction of the size, where that is still twice what is needed.
        file.draft("L", (2 * size_px, 2 * size_px))
        with one_if_large(file):
            if grey_kind(file) is not None:
                raise ValueError("it has more than 8 bits; CheXpert's images have 8")
            grey = file.convert("L")
    short = min(grey.size)
    if short > size_px:
        # The authors made the images smaller beforehand, to a short side of 224.
        size = (round(grey.width * size_px / short), round(grey.height * size_px / short))
        grey = grey.resize(size, Image.Resampling.LANCZOS)
    return prepare(np.asarray(grey), size_px)
