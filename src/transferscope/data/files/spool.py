"""Image arrays that may exceed the memory: large ones are in a memory-mapped file.

What is mapped is read from the disk when it is touched, and given up when memory is short, so that a batch costs no
more than itself. The files have no name: they are gone with the process, however it ends. Numbers are the same either
way, to the bit.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

SHARE = 1 / 16
"""Of the memory, beyond which one array lies in a file: several of several processes must fit beside each other."""
PIECE_BYTES = 2**26
"""What is worked on at a time where the whole doesn't fit."""
CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
"""Where a container says how much memory it has: in version 2 of control groups, and in version 1."""
_folder: ContextVar[Path | None] = ContextVar("folder", default=None)


@contextmanager
def spooling_in(folder: Path) -> Iterator[None]:
    """Context manager: large arrays are in files in this folder; otherwise, in the folder for temporary files."""
    token = _folder.set(folder)
    try:
        yield
    finally:
        _folder.reset(token)


@cache
def limit_bytes() -> int:
    """Maximum size in bytes of an array that is kept in memory."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for file in CGROUP_LIMITS:
        with suppress(OSError, ValueError):  # not in a container, or in one without a limit
            memory = min(memory, int(file.read_text()))
    return int(SHARE * memory)


def new_array(shape: tuple[int, ...], dtype: np.dtype | type = np.uint8) -> np.ndarray:
    """An empty array, in memory or, if larger than `limit_bytes`, in a file."""
    num_bytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    if num_bytes <= limit_bytes() or not num_bytes:
        return np.empty(shape, dtype)
    folder = _folder.get()
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        return np.memmap(file, dtype, "w+", shape=shape)


def rows_of(images: Tensor, rows: Tensor) -> Tensor:
    """`images[rows]`, in a file if the result is large.

    Args:
        images: (n, ...), on the CPU.
        rows: (k,) int64.
    """
    if not images.is_cpu or len(rows) * images[:1].nbytes <= limit_bytes():
        return images[rows]
    return _filled(len(rows), lambda start, stop: images[rows[start:stop]], images[:1].nbytes)


def in_pieces(images: Tensor, make: Callable[[Tensor], Tensor]) -> Tensor:
    """`make(images)` of something that makes each image by itself; where that is large, in pieces and in a file.

    Args:
        images: (n, channels, height, width).
        make: gives as many images, in memory, contiguous or channels_last.
    """
    one = make(images[:1])
    if not one.is_cpu or len(images) * one.nbytes <= limit_bytes():
        return make(images)
    return _filled(len(images), lambda start, stop: make(images[start:stop]), one.nbytes)


def _filled(count: int, piece: Callable[[int, int], Tensor], row_bytes: int) -> Tensor:
    """Rows from 0 to `count`, in the memory format of their first pieces."""
    step = max(1, PIECE_BYTES // max(1, row_bytes))
    first = piece(0, min(step, count))
    channels_last = not first.is_contiguous()

    def plain(part: Tensor) -> np.ndarray:
        return (part.movedim(1, -1) if channels_last else part).numpy()

    whole = new_array((count, *plain(first).shape[1:]), plain(first).dtype)
    for start in range(0, count, step):
        stop = min(start + step, count)
        whole[start:stop] = plain(first if not start else piece(start, stop))
    found = torch.from_numpy(whole)
    return found.movedim(-1, 1) if channels_last else found
