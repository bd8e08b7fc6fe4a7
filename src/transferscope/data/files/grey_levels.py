"""Mapping of grey values with more than 8 bits to 0 to 255, and the choice of the values for black and white."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import numpy as np
from PIL import Image

WHOLE_RANGES: dict[str, tuple[float, ...]] = {"16 bits": (65535,), "I": (255, 65535), "F": (1, 255, 65535)}
"""Kind of grey value -> the usual maxima of its range; the smallest maximum that fits is used."""
REPEATED_BYTE = 257
"""65535 / 255: 8 bits that are stored in 16 are multiples of it."""
LEAST_SHARE = {1: 1 / 8, 65535: 1 / 2}
"""If images use a smaller share of the range, it is stretched to 0 to 255, because too few of the 256 levels would
be used. Values from 0 to 255 stay as they are, however dark."""
GreyRange = tuple[float, float]
"""The values that become black and white."""


def grey_kind(image: Image.Image) -> str | None:
    """The kind of an image's grey values in `WHOLE_RANGES`; None where they have 8 bits or fewer."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        return "16 bits"
    return image.mode if image.mode in ("I", "F") else None


def to_8_bits(values: np.ndarray, grey_range: GreyRange) -> np.ndarray:
    """round(255 (v - black) / (white - black)), limited to 0 to 255; halves go to the even number.

    Args:
        values: any shape, whole numbers or floats without NaN.
        grey_range: black and white; white is larger.

    >>> to_8_bits(np.array([0, 2048, 4095, 9000]), (0, 4095)).tolist()
    [0, 128, 255, 255]
    """
    black, white = grey_range
    scaled = values.astype(np.float64)
    scaled -= black
    scaled *= 255
    scaled /= white - black
    np.clip(scaled, 0, 255, out=scaled)
    return np.rint(scaled, out=scaled).astype(np.uint8)


@dataclass
class _Seen:
    """Statistics of the values of one kind."""

    low: float
    high: float
    repeated: bool
    """True if all values are multiples of `REPEATED_BYTE`."""


@dataclass
class GreyLevels:
    """The grey range of each kind of value: stated, or taken from the training images.

    `look_at` every training image first; `range_of` is then the same for all images of a kind, of both splits.
    """

    stated: GreyRange | None = None
    _seen: dict[str, _Seen] = field(default_factory=dict)
    _lock: Any = field(default_factory=Lock)

    def look_at(self, values: np.ndarray, kind: str) -> None:
        """Record the values of a training image. Raises ValueError if a value is not finite."""
        low, high = values.min().item(), values.max().item()
        if not np.isfinite([low, high]).all():
            raise ValueError("it has values that are NaN or infinite")
        repeated = kind == "16 bits" and not (values % REPEATED_BYTE).any()
        with self._lock:
            seen = self._seen.setdefault(kind, _Seen(low, high, repeated))
            seen.low, seen.high = min(low, seen.low), max(high, seen.high)
            seen.repeated &= repeated

    def range_of(self, kind: str) -> GreyRange:
        """Black and white for a kind of value.

        The whole range (0 to 65535 for 16 bits) where the training images use a fair part of it; else the lowest
        and the highest value in the training images.
        """
        if self.stated is not None:
            return self.stated
        seen = self._seen.get(kind)
        if seen is None:
            return 0, WHOLE_RANGES[kind][-1 if kind == "16 bits" else 0]
        whole = next((top for top in WHOLE_RANGES[kind] if seen.low >= 0 and seen.high <= top), None)
        if seen.low == seen.high:
            return (0, whole) if whole else (seen.low, seen.low + 1)
        narrow = whole is None or seen.high - seen.low < LEAST_SHARE.get(int(whole), 0) * whole
        if narrow and not seen.repeated:
            return seen.low, seen.high
        return 0, whole or seen.high

    @property
    def used(self) -> dict[str, GreyRange]:
        """Kind -> the lowest and highest value in the training images."""
        return {kind: (seen.low, seen.high) for kind, seen in self._seen.items()}

    def warnings(self) -> list[str]:
        """The `notes` on kinds whose full range is not used."""
        usual = all(self.range_of(kind) == (0, WHOLE_RANGES[kind][-1]) for kind in self._seen)
        return [] if usual and self.stated is None else self.notes()

    def notes(self) -> list[str]:
        """How values with more than 8 bits were mapped, one line per kind."""
        words = {"16 bits": "16 bits", "I": "whole numbers of 32 bits", "F": "floats"}
        lines = []
        for kind, seen in self._seen.items():
            black, white = self.range_of(kind)
            used = min(256, round(255 * (min(seen.high, white) - max(seen.low, black)) / (white - black)) + 1)
            lines.append(
                f"grey values of {words[kind]}: {black:g} becomes 0 (black) and {white:g} becomes 255 (white); the "
                f"training images use {seen.low:g} to {seen.high:g}, which leaves at most {max(used, 1)} grey levels. "
                "`grey_range: [black, white]` sets another range."
            )
        return lines
