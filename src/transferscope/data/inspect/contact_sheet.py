"""A picture of a data set's images, by class, for people to look at."""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from transferscope.core.class_order import reading_order
from transferscope.core.datasets import ImageSplit

COLUMNS = 8
MAX_CLASSES = 24
THUMBNAIL_PX = 96
GAP_PX = 4
LABEL_PX = 180
LINE_PX = 16
"""Height of the line at the top and at the bottom."""
INK, PAPER = "black", "white"


@dataclass(frozen=True)
class _Row:
    title: str
    numbers: Sequence[int]
    """Of the images shown."""


def contact_sheet(split: ImageSplit, class_names: Sequence[str], title: str) -> bytes:
    """The first images of each class as a PNG: a row a class, at most `MAX_CLASSES` of them.

    Args:
        split: the images; where several findings may hold at once, a row is of the images that have one, and a
            last row of those that have none.
        class_names: as in the description; rows come in their `reading_order`.
        title: stands above.
    """
    rows = _rows(split.labels, class_names)
    shown = rows[:MAX_CLASSES]
    step = THUMBNAIL_PX + GAP_PX
    bottom = LINE_PX if len(rows) > len(shown) else 0
    sheet = Image.new(
        "RGB", (LABEL_PX + COLUMNS * step, LINE_PX + len(shown) * step + bottom + GAP_PX), PAPER
    )
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    draw.text((GAP_PX, 1), _plain(title), fill=INK, font=font)
    for place, row in enumerate(shown):
        top = LINE_PX + place * step + GAP_PX
        draw.text((GAP_PX, top + THUMBNAIL_PX // 2 - 8), _clipped(row.title, font), fill=INK, font=font)
        for column, number in enumerate(row.numbers):
            sheet.paste(_thumbnail(split.images[number]), (LABEL_PX + column * step, top))
    if bottom:
        text = f"and {len(rows) - len(shown)} more classes"
        draw.text((GAP_PX, sheet.height - LINE_PX - 1), text, fill=INK, font=font)
    written = io.BytesIO()
    sheet.save(written, format="PNG")
    return written.getvalue()


def _rows(labels: Tensor, class_names: Sequence[str]) -> list[_Row]:
    order = reading_order(class_names)
    if labels.ndim == 1:
        members = [labels == number for number in order]
    else:
        members = [*(labels[:, number] == 1 for number in order), labels.sum(dim=1) == 0]
    titles = [_plain(class_names[number], number) for number in order]
    titles += ["none of these"] * (labels.ndim > 1)
    return [
        _Row(f"{title} ({int(there.sum()):,})", there.nonzero().flatten()[:COLUMNS].tolist())
        for title, there in zip(titles, members, strict=True)
    ]


def _thumbnail(image: Tensor) -> Image.Image:
    """(channels, side, side) as a square of `THUMBNAIL_PX`; small images keep hard edges.

    Of images that have not three channels, the mean of the channels is shown.
    """
    pixels = image.permute(1, 2, 0).numpy()
    if pixels.shape[2] != 3:
        pixels = pixels.mean(axis=2).round().astype(np.uint8)
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    small = image.shape[-1] < THUMBNAIL_PX
    size = (THUMBNAIL_PX, THUMBNAIL_PX)
    return picture.convert("RGB").resize(
        size, Image.Resampling.NEAREST if small else Image.Resampling.LANCZOS
    )


def _plain(text: str, number: int | None = None) -> str:
    """The text in letters that the font has; what it lacks is a question mark, and the class's number is added."""
    bare = "".join(one for one in unicodedata.normalize("NFKD", text) if not unicodedata.combining(one))
    plain = bare.encode("ascii", "replace").decode("ascii")
    return plain if plain == bare or number is None else f"class {number}: {plain}"


def _clipped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    if font.getlength(text) <= LABEL_PX - 2 * GAP_PX:
        return text
    while text and font.getlength(f"{text}...") > LABEL_PX - 2 * GAP_PX:
        text = text[:-1]
    return f"{text}..."
