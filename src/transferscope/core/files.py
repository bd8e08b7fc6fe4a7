"""Files: checksums, and writing in one step. Imports no torch."""

from __future__ import annotations

import hashlib
import os
import uuid
from functools import lru_cache
from pathlib import Path

from transferscope.core.errors import BadInput


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


def checksum(path: Path) -> str:
    """SHA-256 of a file, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flushed(path: Path) -> tuple[int, str]:
    """Bring a file to the disk; its size in bytes and its checksum."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace a file in one step: readers see the old content or the new, never a part."""
    data = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}")
    try:
        scratch.write_bytes(data)
        flushed(scratch)
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def sweep_files(folder: Path) -> None:
    """Remove from a folder the files that killed `write_atomically` left behind, unless the writer still lives."""
    for scratch in folder.glob(".*.*-*"):
        pid = scratch.suffix[1:].partition("-")[0]
        if pid.isdigit() and not is_alive(int(pid)):
            scratch.unlink(missing_ok=True)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
