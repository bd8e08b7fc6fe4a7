"""Conversion of Pillow images to uint8 colour squares: orientation, transparency, bit depth and aspect ratio."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageOps

from transferscope.data.files.grey_levels import GreyLevels, grey_kind, to_8_bits

EVALUATION_MARGIN = 256 / 224
"""Short side over the side of the middle that is kept, in the usual evaluation on ImageNet."""
MAX_PIXELS = 2**25
"""Of an image that must be decoded whole; JPEG files, which need not be, may have as many as Pillow allows."""
ORIENTATION = 0x0112
"""The EXIF tag that says how the camera was held; 1 is upright."""
MUCH_CUT = 0.5
"""A run warns if more than this share of the images is cropped on average."""

Resize = Literal["crop", "pad", "stretch", "evaluation"]


class TooManyPixels(Exception):
    """Decoding a file would take far more memory or time than its size suggests."""


def square(image: Image.Image, size_px: int, resize: Resize) -> np.ndarray:
    """(size_px, size_px, 3) uint8 from an RGB image, (size_px, size_px) from a grey one; see `FolderOptions.resize`."""
    size = (size_px, size_px)
    if resize == "crop":
        return np.asarray(ImageOps.fit(image, size, Image.Resampling.BICUBIC))
    if resize == "stretch":
        return np.asarray(image.resize(size, Image.Resampling.BICUBIC))
    if resize == "evaluation":
        return np.asarray(_middle(image, size_px))
    mean = np.asarray(image).mean(axis=(0, 1)).round().astype(int).tolist()
    colour = mean if isinstance(mean, int) else tuple(mean)
    return np.asarray(ImageOps.pad(image, size, Image.Resampling.BICUBIC, color=colour))


def square_channels(pixels: np.ndarray, size_px: int, resize: Resize) -> np.ndarray:
    """(size_px, size_px, channels) uint8 from (h, w, channels) uint8: each channel by itself as `square` does."""
    channels = [Image.fromarray(np.ascontiguousarray(pixels[:, :, one])) for one in range(pixels.shape[2])]
    return np.stack([square(channel, size_px, resize) for channel in channels], axis=2)


def to_rgb(image: Image.Image, levels: GreyLevels) -> Image.Image:
    """An image of any mode in RGB: transparent pixels become white, more than 8 bits are mapped to 8.

    Args:
        image: upright already; see `upright`.
        levels: which grey values become black and white.
    """
    kind = grey_kind(image)
    if kind is not None:  # Pillow itself would clip to 8 bits instead of scaling
        values = np.asarray(image)
        if not np.isfinite(values).all():
            raise ValueError("it has values that are NaN or infinite")
        return Image.fromarray(to_8_bits(values, levels.range_of(kind))).convert("RGB")
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    image = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


def _middle(image: Image.Image, size_px: int) -> Image.Image:
    short = round(size_px * EVALUATION_MARGIN)
    width, height = image.size
    tall = width <= height
    if short * short * max(width, height) > MAX_PIXELS * min(width, height):
        raise TooManyPixels(f"{width} x {height}, too long to be resized to {short} px across")
    image = image.resize(
        (short, int(short * height / width)) if tall else (int(short * width / height), short),
        Image.Resampling.BILINEAR,
    )
    left, top = (round((side - size_px) / 2) for side in image.size)
    return image.crop((left, top, left + size_px, top + size_px))


@dataclass
class Originals:
    """Statistics of the original images; see `notes`."""

    size_px: int
    resize: Resize
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    """Width and height, upright."""
    num_turned: int = 0
    num_transparent: int = 0
    num_animated: int = 0
    largest_value: int = 0
    """Of all pixels that the network is shown."""
    _lock: Any = field(default_factory=Lock)

    def add(self, image: Image.Image, size: tuple[int, int] | None = None) -> None:
        """Note an image that is not yet turned; its size is `size` where it is decoded at a fraction of it."""
        width, height = size or image.size
        orientation = image.getexif().get(ORIENTATION, 1)
        with self._lock:
            self.sizes[(height, width) if orientation in (5, 6, 7, 8) else (width, height)] += 1
            self.num_turned += orientation in range(2, 9)
            self.num_transparent += image.has_transparency_data
            # the second picture of MPO files is a preview, or another view of the same
            self.num_animated += image.format != "MPO" and getattr(image, "is_animated", False)

    def add_shape(self, height: int, width: int) -> None:
        """Note an image that is not of Pillow."""
        with self._lock:
            self.sizes[(width, height)] += 1

    def add_square(self, pixels: np.ndarray) -> None:
        """Note what is shown of an image."""
        largest = int(pixels.max())
        with self._lock:
            self.largest_value = max(self.largest_value, largest)

    def cut_share(self) -> float:
        """The share of an image that is cut off, on average over the images: 0 unless `resize` crops."""
        total = sum(self.sizes.values())
        if self.resize not in ("crop", "evaluation") or not total:
            return 0.0
        margin = EVALUATION_MARGIN**-2 if self.resize == "evaluation" else 1.0
        kept = sum(
            margin * min(size) / max(size) * number
            for size, number in self.sizes.items()
            if size != (self.size_px, self.size_px)
        )
        return 1 - (kept + self.sizes[(self.size_px, self.size_px)]) / total

    def notes(self) -> list[str]:
        """How sizes, orientation and transparency were converted."""
        total = sum(self.sizes.values())
        if not total:
            return []
        lines = [
            f"sizes: {self._sizes()}; each is shown at {self.size_px} x {self.size_px} px: {self._how()}"
        ]
        if self.num_turned:
            lines.append(
                f"{self.num_turned:,} of {total:,} images were turned upright by their EXIF orientation"
            )
        if self.num_transparent:
            lines.append(
                f"{self.num_transparent:,} of {total:,} images have transparent pixels, shown as white"
            )
        if self.num_animated:
            lines.append(
                f"{self.num_animated:,} of {total:,} files hold several pictures, of which one is shown"
            )
        return [*lines, *self._black()]

    def warnings(self) -> list[str]:
        """The `notes` that a run prints."""
        return [*(self.notes()[:1] if self.cut_share() > MUCH_CUT else []), *self._black()]

    def _black(self) -> list[str]:
        if not self.sizes or self.largest_value > 1:
            return []
        return [
            f"all images are black: no value is above {self.largest_value}, of 0 to 255. Where 1 stands for white, "
            "multiply by 255 before you save the images"
        ]

    def _sizes(self) -> str:
        (width, height), number = self.sizes.most_common(1)[0]
        if len(self.sizes) == 1:
            return f"all {number:,} images are {width} x {height} px"
        widths, heights = ([size[axis] for size in self.sizes] for axis in (0, 1))
        return (
            f"{min(widths)} to {max(widths)} px wide and {min(heights)} to {max(heights)} px high, most often "
            f"{width} x {height} px ({number:,} images)"
        )

    def _how(self) -> str:
        if set(self.sizes) == {(self.size_px, self.size_px)} and self.resize != "evaluation":
            return "as they are"
        if self.resize == "crop":
            how = "the short side is resized and the middle is kept"
        elif self.resize == "evaluation":
            how = f"the short side is resized to {round(self.size_px * EVALUATION_MARGIN)} px and the middle is kept"
        elif self.resize == "pad":
            return "the long side is resized and the rest is filled with the mean colour; nothing is cut off"
        else:
            ratio = max(max(size) / min(size) for size in self.sizes)
            return f"both sides are resized; the longest image is squeezed {ratio:.3g} times in one direction"
        cut = self.cut_share()
        if cut < 0.005:
            return f"{how}; nothing is cut off"
        return (
            f"{how}; {100 * cut:.0f} % of an image is cut off on average. `resize: pad` keeps all of it and fills the "
            "rest, `resize: stretch` squeezes it"
        )
