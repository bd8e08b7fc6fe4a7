"""Checksums, atomic writes of files, and errors of disks that can't be written to. Imports no torch."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
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
    return checksum(path)


def checksum(path: Path) -> str:
    """SHA-256 of a file, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flushed(path: Path) -> tuple[int, str]:
    """Flush a file to the disk; returns its size in bytes and its checksum."""
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
    """Remove temporary files that a killed `write_atomically` left in a folder, unless their writer is still
    running."""
    for scratch in folder.glob(".*.*-*"):
        pid = scratch.suffix[1:].partition("-")[0]
        if pid.isdigit() and not is_alive(int(pid)):
            scratch.unlink(missing_ok=True)


def is_alive(pid: int) -> bool:
    """Returns True if a process of this number runs on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is another user's
        return True
    return True


_FULL = "Make room there"
_FORBIDDEN = "Give the right to write there"
_BROKEN = "The disk fails: move the folder to another one"
_IN_THE_WAY = "Something else is in the way: move it"
FIXES = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: _FULL,
    errno.EACCES: _FORBIDDEN,
    errno.EPERM: _FORBIDDEN,
    errno.EROFS: _FORBIDDEN,
    errno.EIO: _BROKEN,
    errno.ENOTDIR: _IN_THE_WAY,
    errno.EISDIR: _IN_THE_WAY,
    errno.EEXIST: _IN_THE_WAY,
    errno.ENAMETOOLONG: "Choose a shorter path",
}
"""What the user can do about each error of the system. All other errors are bugs."""
_FOREIGN = re.compile(r"(?:os error |code: )(\d+)")
"""How libraries written in Rust (safetensors, polars) write the number of the system's error."""


class Unwritable(BadInput):
    """A location that can't be written to, so no later task could store its result there either."""


@contextmanager
def writing_to(place: Path, then: str) -> Iterator[None]:
    """Context manager around code that writes files.

    Args:
        place: the location to report if the error names no file.
        then: which results are safe, and how to continue.

    Raises:
        Unwritable: the system refused to write.
    """
    try:
        yield
    except Unwritable:
        raise
    except Exception as error:
        number = number_of(error)
        if number not in FIXES:
            raise
        named = getattr(error, "filename", None)
        where = Path(named).parent if isinstance(named, str) else place
        raise Unwritable(f"can't write to {where}: {os.strerror(number)}. {FIXES[number]}; {then}") from None


def number_of(error: BaseException) -> int | None:
    """The system's error number, or None for other errors."""
    if isinstance(error, OSError):
        return error.errno
    found = _FOREIGN.search(str(error))
    return None if found is None else int(found[1])
