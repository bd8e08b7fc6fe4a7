"""Image files to uint8 tensors, with Pillow."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

SIXTEEN_TO_EIGHT_BITS = 257
"""65535 / 255."""


def decode_all(
    paths: Sequence[Path], size_px: int, resize: Literal["crop", "pad"]
) -> tuple[Tensor, list[str]]:
    """Decode files to RGB squares, in threads.

    Args:
        paths: the files.
        size_px: side of the squares.
        resize: "crop": the short side is resized and the middle kept; "pad": the long side is resized and the
            rest filled with the image's mean colour.

    Returns:
        (n, 3, size_px, size_px) uint8, and a line for each file that can't be decoded (its image is left 0).
    """
    images = torch.zeros(len(paths), 3, size_px, size_px, dtype=torch.uint8)

    def decode(number: int) -> str | None:
        try:
            pixels = _decode(paths[number], size_px, resize)
        except (Image.DecompressionBombWarning, Image.DecompressionBombError):
            return (
                f"{paths[number]} has more than {Image.MAX_IMAGE_PIXELS:,} pixels, as files have that "
                "are made to exhaust the memory. Make it smaller or remove it."
            )
        except Exception as error:  # on broken files Pillow raises nearly any kind
            return f"{paths[number]} can't be decoded as an image ({error}). Mend or remove it."
        images[number] = torch.from_numpy(pixels).permute(2, 0, 1)
        return None

    # The filters are the whole process's, so they are set around the threads and not in them.
    with warnings.catch_warnings(), ThreadPoolExecutor() as pool:
        warnings.simplefilter("ignore")  # oddities in a file's metadata
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        failures = [failure for failure in pool.map(decode, range(len(paths))) if failure]
    return images, failures


def _decode(path: Path, size_px: int, resize: Literal["crop", "pad"]) -> np.ndarray:
    """(size_px, size_px, 3) uint8, turned as the camera says."""
    with Image.open(path) as file:
        # JPEG files can be decoded at a fraction of their size; twice the size that is needed loses nothing.
        file.draft("RGB", (2 * size_px, 2 * size_px))
        image = _to_rgb(ImageOps.exif_transpose(file))
    size = (size_px, size_px)
    if resize == "crop":
        return np.array(ImageOps.fit(image, size, Image.Resampling.BICUBIC))
    red, green, blue = np.asarray(image).mean(axis=(0, 1)).round().astype(int).tolist()
    return np.array(ImageOps.pad(image, size, Image.Resampling.BICUBIC, color=(red, green, blue)))


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # Pillow itself would clip 16 bits to 8 instead of scaling them
        grey = np.asarray(image).astype(np.float64) / SIXTEEN_TO_EIGHT_BITS
        return Image.fromarray(grey.clip(0, 255).round().astype(np.uint8)).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")
