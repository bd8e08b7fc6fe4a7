"""What is in a file, as a short text."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from transferscope.errors import BadInput


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 hex digits; computed once for a file that doesn't change.

    Raises:
        BadInput: the file can't be read.
    """
    try:
        about = path.stat()
        return _sha256(path, about.st_size, about.st_mtime_ns)
    except OSError as error:
        raise BadInput(f"{path}: can't be read: {error.strerror or error}") from None


@lru_cache(maxsize=64)
def _sha256(path: Path, size: int, changed: int) -> str:
    del size, changed
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
