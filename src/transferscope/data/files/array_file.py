"""Reading of untrusted .npz and .safetensors files: nothing is unpickled, and errors give the reason."""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format
from safetensors import safe_open

from transferscope.core.errors import BadInput
from transferscope.data.files.file_heads import check_header

SUFFIX = ".npy"
SAFETENSORS = ".safetensors"
HOW_TO_SAVE = (
    "Save the arrays with numpy.savez(path, train_images=..., ...) as .npz, or with "
    "safetensors.numpy.save_file({'train_images': ..., ...}, path) as .safetensors."
)
NAMES = "class_names"
DTYPES = {
    "BOOL": "bool",
    **{
        f"{kind}{bits}": f"{name}{bits}"
        for kind, name in (("I", "int"), ("U", "uint"))
        for bits in (8, 16, 32, 64)
    },
    **{f"F{bits}": f"float{bits}" for bits in (16, 32, 64)},
}
"""Types of numbers that NumPy has, by their name in a .safetensors file."""
MAX_NPY_HEADER_BYTES = 64 * 2**10
"""Of an array in an .npz file; NumPy itself refuses to understand more than 10,000."""
MAX_PACKING = 200
"""An array that is packed to a smaller part of its bytes is no data; deflate gets to a thousandth."""
SMALL_BYTES = 2**26
"""Arrays up to this number of bytes may have any compression ratio."""


@dataclass(frozen=True, kw_only=True)
class Header:
    """What is known of an array before it is read."""

    shape: tuple[int, ...]
    dtype: np.dtype


def read_headers(path: Path) -> dict[str, Header]:
    """Shape and dtype of each array in the file, by name; no array is read.

    Raises:
        BadInput: there is no such file, or it is none of the two kinds.
    """
    if not path.is_file():
        came = "is not a file" if path.exists() else "does not exist"
        raise BadInput(f"the file of arrays, {path}, {came}. {HOW_TO_SAVE}")
    kind = "a .safetensors" if path.suffix == SAFETENSORS else "an .npz"
    read = _safetensors_headers if path.suffix == SAFETENSORS else _npz_headers
    try:
        return read(path)
    except Exception as error:  # NumPy raises what the damage leads to
        raise BadInput(f"{path} can't be read as {kind} file ({_words(error)}). {HOW_TO_SAVE}") from None


def read_array(path: Path, name: str) -> np.ndarray:
    """One array of the file.

    Raises:
        BadInput: the array is damaged, holds Python objects, or does not fit in memory.
    """
    if path.suffix == SAFETENSORS:
        return _guarded(path, name, lambda: _with_safetensors(path, lambda file: file.get_tensor(name)))
    return _guarded(path, name, lambda: _npz_array(path, name))


def read_class_names(path: Path) -> tuple[str, ...] | None:
    """The names of the classes, where the file gives them.

    Raises:
        BadInput: they can't be read, or are no list of names.
    """
    if path.suffix != SAFETENSORS:
        header = read_headers(path).get(NAMES)
        if header is None:
            return None
        if header.dtype.kind not in "USiu":
            raise BadInput(f"the array class_names in {path} is {header.dtype}; expected text. {HOW_TO_SAVE}")
        return _guarded(path, NAMES, lambda: tuple(map(str, _npz_array(path, NAMES).astype(str).ravel())))
    text = _guarded(
        path, NAMES, lambda: (_with_safetensors(path, lambda file: file.metadata()) or {}).get(NAMES)
    )
    if text is None:
        return None
    try:
        names = json.loads(text)
    except (ValueError, RecursionError):
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise BadInput(f'{path}: class_names in the metadata must be a JSON list such as ["cat", "dog"].')
    return tuple(names)


def _guarded(path: Path, name: str, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except MemoryError:
        raise BadInput(f"the array {name} in {path} does not fit in memory. Save fewer images.") from None
    except Exception as error:  # NumPy raises what the damage leads to
        raise BadInput(f"the array {name} in {path} can't be read ({_words(error)}). {HOW_TO_SAVE}") from None


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__


def _with_safetensors(path: Path, read: Callable[[Any], Any]) -> Any:
    check_header(path)
    with safe_open(path, framework="np") as file:
        return read(file)


def _safetensors_headers(path: Path) -> dict[str, Header]:
    check_header(path)
    with safe_open(path, framework="np") as file:
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118, it is no mapping
        return {
            name: Header(shape=tuple(one.get_shape()), dtype=np.dtype(DTYPES.get(one.get_dtype(), "object")))
            for name, one in slices.items()
        }


def _npz_array(path: Path, name: str) -> np.ndarray:
    with np.load(path, allow_pickle=False) as arrays:
        return arrays[name]


def _npz_headers(path: Path) -> dict[str, Header]:
    headers = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.filename.endswith(SUFFIX):
                headers[member.filename.removesuffix(SUFFIX)] = _npy_header(archive, member)
    return headers


def _npy_header(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Header:
    """The header, where it agrees with the size that the archive gives; ValueError where it doesn't."""
    name, unpacked = member.filename, member.file_size
    if unpacked > max(SMALL_BYTES, MAX_PACKING * member.compress_size):
        raise ValueError(
            f"{name} unpacks to {unpacked:,} bytes from {member.compress_size:,}, as files do that are made to exhaust "
            "the memory"
        )
    with archive.open(member) as file:
        start = io.BytesIO(file.read(MAX_NPY_HEADER_BYTES))
    version = npy_format.read_magic(start)
    if version == (1, 0):
        shape, _, dtype = npy_format.read_array_header_1_0(start)
    elif version == (2, 0):
        shape, _, dtype = npy_format.read_array_header_2_0(start)
    else:
        raise ValueError(f"{name} has the format version {version}; 1.0 and 2.0 are read")
    size = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or (not dtype.hasobject and size != unpacked - start.tell()):
        raise ValueError(f"{name} says that it is {dtype} of the shape {shape}, and has {unpacked:,} bytes")
    return Header(shape=shape, dtype=dtype)
