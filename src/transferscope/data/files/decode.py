"""Decoding of untrusted image files to uint8 squares, with Pillow, and its limits."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import IO, Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from transferscope.core.errors import BadInput
from transferscope.core.machine import usable_cores
from transferscope.data.files.file_heads import HEAD_BYTES, head_of, png_depth
from transferscope.data.files.grey_levels import GreyLevels, GreyRange, grey_kind, to_8_bits
from transferscope.data.files.problems import Kind
from transferscope.data.files.raw_images import SUFFIXES, RawImage, raw_format, read_raw
from transferscope.data.files.squares import (
    MAX_PIXELS,
    Originals,
    Resize,
    TooManyPixels,
    square,
    square_channels,
    to_rgb,
)

READ = ("BMP", "JPEG", "PNG", "WEBP")
"""A file is of the format that its content says, whatever its name. Other formats are never opened: some of Pillow's
readers call other programs."""
RAW = ("DICOM", "TIFF", "NumPy")
"""Formats that are read by other libraries than Pillow."""
JPEG = ("JPEG", "MPO")
"""MPO: the JPEG files of some cameras, with a second picture behind the first."""
LEAST_UPPER_BYTES = 64
"""Fewer of the 256 values of the upper bytes of 16-bit colour images are refused."""
LARGE_PIXELS = 2**22
"""Images of more pixels are decoded one after the other, so that many of them together don't fill the memory."""
START_OF_SCAN = b"\xff\xda"
"""In a JPEG file; where the image's own bytes hold the first, another one follows."""
MAX_SCANS = 100
"""Of a progressive JPEG file; usual are ten. Each goes over the whole image, and takes a few bytes in the file."""

_large = Lock()
Decoder = Callable[[str], np.ndarray]
"""From a file's path to its pixels: (side, side) or (side, side, channels), uint8."""


@dataclass(frozen=True)
class Failure:
    """Why a file has no pixels."""

    kind: Kind
    reason: str


def decode_into(images: np.ndarray, paths: Sequence[str], decode: Decoder) -> list[bytes | Failure]:
    """Decode files in threads, directly into an array.

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
        except BadInput:  # a library is missing: the same for all files
            raise
        except TooManyPixels as error:
            return Failure("too_many_pixels", str(error))
        except UnidentifiedImageError:
            return Failure("undecodable", f"not an image of the kinds {', '.join((*READ, *RAW))}")
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
    """Context manager: `on_decoded` is called after each file with the number of decoded files and the total."""
    token = _on_decoded.set(on_decoded)
    try:
        yield
    finally:
        _on_decoded.reset(token)


def pixel_digest(image: np.ndarray) -> bytes:
    """The same for images with the same pixels, (channels, side, side)."""
    return hashlib.sha256(np.ascontiguousarray(image).data).digest()


def open_image(path: str | IO[bytes]) -> Image.Image:
    """An image file, or its content, not yet decoded; its format is that of its content, whatever its name.

    Raises:
        UnidentifiedImageError: it is of none of the formats in `READ`.
        TooManyPixels: it is made to exhaust the memory, or the time.
    """
    file = Image.open(path, formats=READ)
    try:
        _refuse_bombs(file, path)
    except TooManyPixels:
        file.close()
        raise
    return file


def _refuse_bombs(file: Image.Image, path: str | IO[bytes]) -> None:
    pixels = file.width * file.height
    largest = (Image.MAX_IMAGE_PIXELS or MAX_PIXELS) if file.format in JPEG else MAX_PIXELS
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


class SquareDecoder:
    """Decodes files to RGB squares, and notes what they were like.

    `prepare` it with the training images first: grey values of more than 8 bits are mapped by their range.

    Args:
        size_px: side of the squares.
        resize: as in `FolderOptions.resize`.
        grey_range: the grey values that become black and white; None: as the training images have them.
        read: the file, or its content, of each key that is decoded; keys are paths by default.
        channels: 3 for colours, of which grey images fill all; 1 for grey values, to which colours are converted;
            other numbers for TIFF and NumPy files that have so many.
    """

    def __init__(
        self,
        size_px: int,
        resize: Resize,
        grey_range: GreyRange | None = None,
        read: Callable[[str], str | IO[bytes]] = lambda key: key,
        channels: int = 3,
    ) -> None:
        self.channels = channels
        self._num_windows = 0
        self.levels = GreyLevels(grey_range)
        self.originals = Originals(size_px, resize)
        self._read = read
        self._upper_bytes = GreyLevels()

    def prepare(self, keys: Sequence[str]) -> None:
        """Look at the training images of more than 8 bits.

        Raises:
            BadInput: colour images of 16 bits use a narrow range: Pillow gives the upper 8 bits alone.
        """
        with _strict_about_size(), ThreadPoolExecutor(_num_threads()) as pool:
            num_coloured = sum(pool.map(self._look_at, keys))
        if num_coloured:
            low, high = self._upper_bytes.used["I"]
            if high - low < LEAST_UPPER_BYTES:
                raise BadInput(
                    f"{num_coloured} training images are PNG files of 16 bits in colour or with alpha, of which the "
                    f"upper 8 bits can be read: they use {low:g} to {high:g} of 0 to 255, so most grey levels are "
                    "lost. Save them with 8 bits a channel, or as 16-bit grey images without alpha."
                )

    def at_size(self, size_px: int) -> SquareDecoder:
        """The same decoder, prepared as this one is, for squares of another size."""
        other = SquareDecoder(size_px, self.originals.resize, self.levels.stated, self._read, self.channels)
        other.levels = self.levels
        return other

    def __call__(self, key: str) -> np.ndarray:
        """(size_px, size_px, channels), or (size_px, size_px) for one channel; uint8."""
        content = self._read(key)
        try:
            file = open_image(content)
        except UnidentifiedImageError:
            kind = raw_format(_head(content))
            if kind is None or (isinstance(content, str) and Path(content).suffix.lower() not in SUFFIXES):
                raise
            pixels = self._raw_square(read_raw(content, kind, self.channels))
        else:
            with file:
                pixels = self._square(file)
        self.originals.add_square(pixels)
        return pixels

    def _square(self, file: Image.Image) -> np.ndarray:
        size_px, resize = self.originals.size_px, self.originals.resize
        if self.channels not in (1, 3):
            raise ValueError(
                f"it is an image of colours; expected {self.channels} channels, as in TIFF or NumPy files"
            )
        opened = file.size
        # JPEG files can be decoded at a fraction of their size; twice the size that is needed loses nothing.
        file.draft("RGB", (2 * size_px, 2 * size_px))
        with one_if_large(file):
            self.originals.add(file, opened)
            ImageOps.exif_transpose(file, in_place=True)  # in place: no copy of the many that are upright
            image = to_rgb(file, self.levels)
            return square(image if self.channels == 3 else image.convert("L"), size_px, resize)

    def _raw_square(self, raw: RawImage) -> np.ndarray:
        values = raw.values
        self.originals.add_shape(*values.shape[:2])
        if self.levels.stated is None and raw.window is not None:
            values = to_8_bits(values, raw.window)
        elif raw.kind is not None:
            values = to_8_bits(values, self.levels.range_of(raw.kind))
        size_px, resize = self.originals.size_px, self.originals.resize
        if values.ndim == 3:
            return square_channels(values, size_px, resize)
        pixels = square(Image.fromarray(values), size_px, resize)
        return pixels if self.channels == 1 else np.repeat(pixels[:, :, None], 3, axis=2)

    def notes(self) -> list[str]:
        """What the images were like, and what became of it."""
        return [*self.originals.notes(), *self._windows(), *self.levels.notes()]

    def warnings(self) -> list[str]:
        """Those of `notes` that a run says too."""
        return [*self.originals.warnings(), *self._windows(), *self.levels.warnings()]

    def _windows(self) -> list[str]:
        if not self._num_windows or self.levels.stated is not None:
            return []
        return [
            f"{self._num_windows:,} of the training images are DICOM files with a window, which decides what is black "
            "and white; `grey_range: [black, white]` sets one range for all"
        ]

    def _look_at_raw(self, raw: RawImage) -> None:
        if raw.window is not None:
            with _large:
                self._num_windows += 1
        elif raw.kind is not None:
            self.levels.look_at(raw.values, raw.kind)

    def _look_at(self, key: str) -> bool:
        """Note the values of an image of 16 bits; True where it is in colour or has alpha."""
        try:
            content = self._read(key)
            head = _head(content)
            if (kind := raw_format(head)) is not None:
                self._look_at_raw(read_raw(content, kind, self.channels))
                return False
            depth = png_depth(head)
            if depth is None or depth[0] != 16:
                return False
            with open_image(content) as file, one_if_large(file):
                kind = grey_kind(file)
                if kind is None:
                    self._upper_bytes.look_at(np.asarray(file.convert("RGB")), "I")
                    return True
                self.levels.look_at(np.asarray(file), kind)
        except BadInput:
            raise
        except Exception:  # decoding the image will say what is wrong with it
            return False
        return False


def _head(content: str | IO[bytes]) -> bytes:
    if isinstance(content, str):
        return head_of(content)
    content.seek(0)
    head = content.read(HEAD_BYTES)
    content.seek(0)
    return head


@contextmanager
def _strict_about_size() -> Iterator[Any]:
    # The filters are the whole process's, so they are set around the threads and not in them.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # oddities in a file's metadata
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _num_threads() -> int:
    return usable_cores() + 1  # one waits for the disk while the others decode
