"""Image files to uint8 squares, with Pillow; what a file can't do to us is decided here."""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import IO, Any, Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from transferscope.cores import usable_cores
from transferscope.data.problems import Kind

READ = ("BMP", "JPEG", "PNG", "WEBP")
"""Other formats are never opened: some of Pillow's readers call other programs."""
FORMATS: dict[str, tuple[str, ...]] = {
    ".bmp": ("BMP",),
    ".jpeg": ("JPEG", "MPO"),
    ".jpg": ("JPEG", "MPO"),
    ".png": ("PNG",),
    ".webp": ("WEBP",),
}
"""What a file may be, by its name. MPO: the JPEG files of some cameras, with a second picture behind the first."""
SIXTEEN_TO_EIGHT_BITS = 257
"""65535 / 255."""
EVALUATION_MARGIN = 256 / 224
"""Short side over the side of the middle that is kept, in the usual evaluation on ImageNet."""

MAX_PIXELS = 2**25
"""Of an image that must be decoded whole; JPEG files, which need not be, may have as many as Pillow allows."""
LARGE_PIXELS = 2**22
"""Images of more pixels are decoded one after the other, so that many of them together don't fill the memory."""
START_OF_SCAN = b"\xff\xda"
"""In a JPEG file; where the image's own bytes hold the first, another one follows."""
MAX_SCANS = 100
"""Of a progressive JPEG file; usual are ten. Each goes over the whole image, and takes a few bytes in the file."""

Resize = Literal["crop", "pad", "stretch", "evaluation"]
_large = Lock()
Decoder = Callable[[str], np.ndarray]
"""From a file's path to its pixels: (side, side) or (side, side, 3), uint8."""


class WrongExtension(Exception):
    """A file is of another format than its name says."""


class TooManyPixels(Exception):
    """A file would take far more memory, or time, than its size says."""


@dataclass(frozen=True)
class Failure:
    """Why a file has no pixels."""

    kind: Kind
    reason: str


def decode_into(images: np.ndarray, paths: Sequence[str], decode: Decoder) -> list[bytes | Failure]:
    """Decode files in threads, straight into their place.

    Args:
        images: (n, channels, side, side), uint8; row i takes the file i, grey ones in all channels. Rows of
            files that can't be decoded are left as they are.
        paths: the n files.
        decode: gives a file's pixels.

    Returns:
        For each file a digest of its pixels, or why it has none.
    """

    def one(number: int) -> bytes | Failure:
        try:
            pixels = decode(paths[number])
        except (Image.DecompressionBombWarning, Image.DecompressionBombError):
            return Failure("too_many_pixels", f"more than {Image.MAX_IMAGE_PIXELS:,}")
        except TooManyPixels as error:
            return Failure("too_many_pixels", str(error))
        except WrongExtension as error:
            return Failure("wrong_extension", str(error))
        except UnidentifiedImageError:
            return Failure("undecodable", f"not an image of the kinds {', '.join(READ)}")
        except Exception as error:  # on broken files Pillow raises nearly any kind
            return Failure("undecodable", str(error) or type(error).__name__)
        images[number] = pixels if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
        return pixel_digest(images[number])

    found = []
    with _strict_about_size(), ThreadPoolExecutor(_num_threads()) as pool:
        for result in pool.map(one, range(len(paths))):
            found.append(result)
            _on_decoded.get()(len(found), len(paths))
    return found


_on_decoded: ContextVar[Callable[[int, int], None]] = ContextVar(
    "on_decoded", default=lambda _done, _all: None
)


@contextmanager
def telling_of_decoded(on_decoded: Callable[[int, int], None]) -> Iterator[None]:
    """Within it, whoever waits is told after each file how many of how many are decoded."""
    token = _on_decoded.set(on_decoded)
    try:
        yield
    finally:
        _on_decoded.reset(token)


def pixel_digest(image: np.ndarray) -> bytes:
    """The same for images with the same pixels, (channels, side, side)."""
    return hashlib.sha256(np.ascontiguousarray(image).data).digest()


def square_decoder(size_px: int, resize: Resize) -> Decoder:
    """Decodes files to RGB squares.

    Args:
        size_px: side of the squares.
        resize: "crop": the short side is resized and the middle kept; "pad": the long side is resized and the
            rest filled with the image's mean colour; "stretch": both sides are resized, whatever the proportions,
            as torchvision's Resize((side, side)) does; "evaluation": the short side is resized to 256/224 of
            size_px and the middle kept, as published ImageNet networks are evaluated.
    """
    return partial(_decode_square, size_px=size_px, resize=resize)


def decode_bytes(content: bytes, name: str, size_px: int, resize: Resize) -> np.ndarray:
    """As the decoders of `square_decoder`, of a file in memory; its name is that of the file it once was, or empty."""
    return _decode_square(io.BytesIO(content), size_px, resize, name)


def open_image(path: str | IO[bytes], name: str = "") -> Image.Image:
    """An image file, not yet decoded.

    Args:
        path: the file.
        name: its name, where it is in memory.

    Raises:
        WrongExtension: it is of another format than its name says.
        TooManyPixels: it is made to exhaust the memory, or the time.
    """
    file = Image.open(path, formats=READ)
    name = path if isinstance(path, str) else name
    expected = FORMATS.get(os.path.splitext(name)[1].lower())
    if expected is not None and file.format not in expected:
        file.close()
        raise WrongExtension(f"a {file.format} file")
    try:
        _refuse_bombs(file, path)
    except TooManyPixels:
        file.close()
        raise
    return file


def _refuse_bombs(file: Image.Image, path: str | IO[bytes]) -> None:
    pixels = file.width * file.height
    largest = (Image.MAX_IMAGE_PIXELS or MAX_PIXELS) if file.format in FORMATS[".jpg"] else MAX_PIXELS
    if pixels > largest:
        raise TooManyPixels(f"more than {largest:,}")
    if file.info.get("progressive"):
        with open(path, "rb") if isinstance(path, str) else nullcontext(path) as content:
            content.seek(0)
            num_scans = content.read().count(START_OF_SCAN)
        if num_scans > MAX_SCANS:
            raise TooManyPixels(f"decoded {num_scans:,} times over")


@contextmanager
def one_if_large(file: Image.Image) -> Iterator[None]:
    """While a file is decoded: one of many pixels waits for the others."""
    with _large if file.width * file.height > LARGE_PIXELS else nullcontext():
        yield


def square(image: Image.Image, size_px: int, resize: Resize) -> np.ndarray:
    """(size_px, size_px, 3) uint8 from any image: transparent pixels become white, 16 bits are scaled to 8."""
    image = _to_rgb(image)
    size = (size_px, size_px)
    if resize == "crop":
        return np.asarray(ImageOps.fit(image, size, Image.Resampling.BICUBIC))
    if resize == "stretch":
        return np.asarray(image.resize(size, Image.Resampling.BICUBIC))
    if resize == "evaluation":
        return np.asarray(_middle(image, size_px))
    red, green, blue = np.asarray(image).mean(axis=(0, 1)).round().astype(int).tolist()
    return np.asarray(ImageOps.pad(image, size, Image.Resampling.BICUBIC, color=(red, green, blue)))


def _decode_square(path: str | IO[bytes], size_px: int, resize: Resize, name: str = "") -> np.ndarray:
    with open_image(path, name) as file:
        # JPEG files can be decoded at a fraction of their size; twice the size that is needed loses nothing.
        file.draft("RGB", (2 * size_px, 2 * size_px))
        with one_if_large(file):
            ImageOps.exif_transpose(file, in_place=True)  # in place: no copy of the many that are upright
            return square(file, size_px, resize)


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


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # Pillow itself would clip 16 bits to 8 instead of scaling them
        # In place, as large images take much memory; no value is near enough to a half for float32 to round it wrongly.
        grey = np.asarray(image).astype(np.float32)
        grey /= SIXTEEN_TO_EIGHT_BITS
        np.clip(grey, 0, 255, out=grey)
        return Image.fromarray(np.rint(grey, out=grey).astype(np.uint8)).convert("RGB")
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


@contextmanager
def _strict_about_size() -> Iterator[Any]:
    # The filters are the whole process's, so they are set around the threads and not in them.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # oddities in a file's metadata
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _num_threads() -> int:
    return usable_cores() + 1  # one waits for the disk while the others decode
