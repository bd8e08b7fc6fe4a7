"""Masks of glyphs, drawn with the fonts that matplotlib ships."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn.functional import avg_pool2d, max_pool2d

TEXT_FACES = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSans-BoldOblique",
    "DejaVuSansMono",
    "DejaVuSansMono-Bold",
    "DejaVuSansMono-Oblique",
    "DejaVuSansMono-BoldOblique",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "DejaVuSerif-Italic",
    "DejaVuSerif-BoldItalic",
    "STIXGeneral",
    "STIXGeneralBol",
    "STIXGeneralItalic",
    "STIXGeneralBolIta",
    "cmr10",
    "cmb10",
    "cmss10",
    "cmtt10",
)
"""The faces that hold letters and digits."""


MASK_SIDES = 2
"""Side of a mask over side of the image: twice as fine, so that a warped glyph stays sharp."""


@lru_cache(maxsize=8)
def glyph_masks(
    characters: Sequence[str], faces: Sequence[str], size_px: int, em: float, growth: tuple[float, ...] = (0,)
) -> Tensor:
    """Masks of each character in each face, ink centred, with strokes as they are or grown.

    The ink depends on the FreeType inside Pillow: another release of Pillow can change single grey levels.

    Args:
        characters: the glyphs to draw; hashable, so a string or a tuple.
        faces: names of font files that matplotlib ships; a tuple.
        size_px: side of the images to be drawn; a mask's side is twice that.
        em: font size as a fraction of the mask's side.
        growth: for each variant, how far its strokes grow on every side, as a fraction of the mask's side.

    Returns:
        (growths, faces, characters, 2 size_px, 2 size_px), float64, 0 to 1. Shared between calls: not to be
        written to.
    """
    side_px = MASK_SIDES * size_px
    plain = _draw(characters, faces, side_px, em).view(-1, 1, side_px, side_px)
    grown = []
    for fraction in growth:
        width_px = round(fraction * side_px)
        masks = max_pool2d(plain, 2 * width_px + 1, stride=1, padding=width_px)
        # Warps sample about every second pixel of a mask; after a 3 x 3 mean the edges don't alias.
        grown.append(avg_pool2d(masks, 3, stride=1, padding=1))
    return torch.stack(grown).view(len(growth), len(faces), len(characters), side_px, side_px)


def _fonts() -> Path:
    """Found without an import, at which matplotlib makes a folder for its settings in the user's home."""
    found = importlib.util.find_spec("matplotlib")
    assert found is not None, "a dependency"
    assert found.origin is not None, "a package with a file"
    return Path(found.origin).parent / "mpl-data" / "fonts" / "ttf"


def _draw(characters: Sequence[str], faces: Sequence[str], side_px: int, em: float) -> Tensor:
    folder = _fonts()
    masks = np.empty((len(faces), len(characters), side_px, side_px), dtype=np.uint8)
    for face_masks, face in zip(masks, faces, strict=True):
        # The basic layout engine: the optional one is not in every build of Pillow.
        font = ImageFont.truetype(folder / f"{face}.ttf", em * side_px, layout_engine=ImageFont.Layout.BASIC)
        for mask, character in zip(face_masks, characters, strict=True):
            left, top, right, bottom = font.getbbox(character)
            image = Image.new("L", (side_px, side_px))
            corner = ((side_px - left - right) / 2, (side_px - top - bottom) / 2)
            ImageDraw.Draw(image).text(corner, character, fill=255, font=font)
            mask[:] = np.asarray(image)
    return torch.from_numpy(masks).double().div_(255)
