"""Reading of untrusted IDX files, plain or gzipped. Imports no torch."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from transferscope.core.errors import BadInput

UNSIGNED_BYTES = 8
"""The type of numbers in the file, as its header gives it."""
MAX_BYTES = 2**28
"""No larger array is read, whatever the header says; MNIST and those like it have a fifth of that."""


def read_shape(path: Path) -> tuple[int, ...]:
    """The shape of the array in a file of unsigned bytes.

    The header is two bytes of 0, the type, the number of axes, and the length of each axis as a big-endian
    number of 32 bits.

    Raises:
        BadInput: the file can't be read, or is none of that kind.
    """
    with _opened(path) as file:
        return _header(file, path)


def read_array(path: Path) -> np.ndarray:
    """The array in a file, uint8.

    Raises:
        BadInput: as `read_shape`, or the file is longer or shorter than its header says.
    """
    try:
        with _opened(path) as file:
            shape = _header(file, path)
            size = math.prod(shape)
            content = file.read(size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise BadInput(f"{path} can't be read ({error}). Get it anew.") from None
    if len(content) != size:
        came = "more" if len(content) > size else f"{len(content):,}"
        raise BadInput(f"{path} holds {came} bytes of data; its header says {size:,}. Get it anew.")
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)


def _opened(path: Path) -> IO[bytes] | gzip.GzipFile:
    try:
        return gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb")
    except OSError as error:
        raise BadInput(f"{path} can't be read ({error.strerror or error}).") from None


def _header(file: IO[bytes] | gzip.GzipFile, path: Path) -> tuple[int, ...]:
    try:
        start = file.read(4)
        axes = start[3] if len(start) == 4 else 0
        lengths = file.read(4 * axes)
    except (OSError, EOFError, zlib.error) as error:
        raise BadInput(f"{path} can't be read ({error}). Get it anew.") from None
    if start[:3] != bytes((0, 0, UNSIGNED_BYTES)) or not 1 <= axes <= 4 or len(lengths) != 4 * axes:
        raise BadInput(f"{path} is no IDX file of unsigned bytes: it begins with {start.hex()}. Get it anew.")
    shape = struct.unpack(f">{axes}I", lengths)
    if math.prod(length or 1 for length in shape) > MAX_BYTES:  # NumPy minds the others where one is 0, too
        raise BadInput(
            f"{path} says that it holds an array of {shape}, too large to be true. Download the file again."
        )
    return shape
