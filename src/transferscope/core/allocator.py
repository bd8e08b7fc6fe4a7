"""Keep freed memory in the process while a task computes, so that the next batch can reuse it."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

# of <malloc.h>
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
NEVER = -1
KEPT_BYTES = 2**30
"""Larger blocks, such as data sets, are still returned to the system at once."""
USUAL_MMAP_BYTES, USUAL_TRIM_BYTES = 2**25, 2**26
"""The maximum of glibc's own dynamic thresholds on 64-bit systems."""
SETTINGS = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_", "MALLOC_MMAP_MAX_")
"""If any of these is set, leave the allocator alone."""


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Context manager that keeps freed memory in this process, and returns it to the system at the end.

    A network frees and takes the same tens of MB at every layer and batch. glibc gives blocks of that size back
    to the system, which has to clear each page anew: a sixth of a pass of a ResNet-18 at 224 px on a CPU, a twentieth
    of a training step. Results are the same to the bit; the peak of the memory is up to a quarter higher, by what
    doesn't fit the holes. docs/performance.md has the measurements.

    Does nothing without glibc, where the user has set its variables (`MALLOC_...`, `GLIBC_TUNABLES`), and for
    memory of a GPU. Don't use it in several threads at once, because it changes a setting of the process.
    """
    library = _glibc()
    if library is None:
        yield
        return
    library.mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
    library.mallopt(M_TRIM_THRESHOLD, NEVER)
    try:
        yield
    finally:
        library.mallopt(M_MMAP_THRESHOLD, USUAL_MMAP_BYTES)
        library.mallopt(M_TRIM_THRESHOLD, USUAL_TRIM_BYTES)
        library.malloc_trim(0)


@cache
def _glibc() -> ctypes.CDLL | None:
    """The C library, where its thresholds are ours to set."""
    if sys.platform != "linux" or any(name in os.environ for name in SETTINGS):
        return None
    if "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return None
    library = ctypes.CDLL(None)
    has_all = all(hasattr(library, name) for name in ("gnu_get_libc_version", "mallopt", "malloc_trim"))
    return library if has_all else None
