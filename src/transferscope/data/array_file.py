"""Reading .npz and .safetensors files that may be anything: nothing is unpickled, and what fails says why."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format
from safetensors import SafetensorError, safe_open

from transferscope.errors import BadInput

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
_BROKEN = (
    *(OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error),
    *(NotImplementedError, RuntimeError, KeyError, SafetensorError),
)


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
    except _BROKEN as error:
        raise BadInput(f"{path} can't be read as {kind} file ({error}). {HOW_TO_SAVE}") from None


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
        if NAMES not in read_headers(path):
            return None
        return tuple(map(str, read_array(path, NAMES).astype(str).ravel()))
    text = _guarded(
        path, NAMES, lambda: (_with_safetensors(path, lambda file: file.metadata()) or {}).get(NAMES)
    )
    if text is None:
        return None
    try:
        names = json.loads(text)
    except ValueError:
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise BadInput(f'{path}: class_names in the metadata must be a JSON list such as ["cat", "dog"].')
    return tuple(names)


def _guarded(path: Path, name: str, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except _BROKEN as error:
        raise BadInput(f"the array {name} in {path} can't be read ({error}). {HOW_TO_SAVE}") from None
    except MemoryError:
        raise BadInput(f"the array {name} in {path} does not fit in memory. Save fewer images.") from None


def _with_safetensors(path: Path, read: Callable[[Any], Any]) -> Any:
    with safe_open(path, framework="np") as file:
        return read(file)


def _safetensors_headers(path: Path) -> dict[str, Header]:
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
        for name in archive.namelist():
            if name.endswith(SUFFIX):
                headers[name.removesuffix(SUFFIX)] = _npy_header(archive, name)
    return headers


def _npy_header(archive: zipfile.ZipFile, name: str) -> Header:
    with archive.open(name) as member:
        version = npy_format.read_magic(member)
        if version == (1, 0):
            shape, _, dtype = npy_format.read_array_header_1_0(member)
        elif version == (2, 0):
            shape, _, dtype = npy_format.read_array_header_2_0(member)
        else:
            raise ValueError(f"{name} has the format version {version}; 1.0 and 2.0 are read")
    return Header(shape=shape, dtype=dtype)
