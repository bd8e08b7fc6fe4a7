"""Reading .npz files that may be anything: nothing is unpickled, and what fails says why."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib import format as npy_format

from transferscope.errors import BadInput

SUFFIX = ".npy"
HOW_TO_SAVE = "Save the arrays with numpy.savez(path, train_images=..., ...)."


@dataclass(frozen=True, kw_only=True)
class Header:
    """What is known of an array before it is read."""

    shape: tuple[int, ...]
    dtype: np.dtype


def read_headers(path: Path) -> dict[str, Header]:
    """Shape and dtype of each array in the file, by name; no array is read.

    Raises:
        BadInput: there is no such file, or it is not an .npz file.
    """
    if not path.is_file():
        came = "is not a file" if path.exists() else "does not exist"
        raise BadInput(f"the file of arrays, {path}, {came}. {HOW_TO_SAVE}")
    headers = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith(SUFFIX):
                    headers[name.removesuffix(SUFFIX)] = _read_header(archive, name)
    except (OSError, ValueError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        raise BadInput(f"{path} can't be read as an .npz file ({error}). {HOW_TO_SAVE}") from None
    return headers


def read_array(path: Path, name: str) -> np.ndarray:
    """One array of the file.

    Raises:
        BadInput: the array is damaged, holds Python objects, or does not fit in memory.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return arrays[name]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise BadInput(f"the array {name} in {path} can't be read ({error}). {HOW_TO_SAVE}") from None
    except MemoryError:
        raise BadInput(f"the array {name} in {path} does not fit in memory. Save fewer images.") from None


def _read_header(archive: zipfile.ZipFile, name: str) -> Header:
    with archive.open(name) as member:
        version = npy_format.read_magic(member)
        if version == (1, 0):
            shape, _, dtype = npy_format.read_array_header_1_0(member)
        elif version == (2, 0):
            shape, _, dtype = npy_format.read_array_header_2_0(member)
        else:
            raise ValueError(f"{name} has the format version {version}; 1.0 and 2.0 are read")
    return Header(shape=shape, dtype=dtype)
