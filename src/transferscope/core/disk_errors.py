"""Disks that are full, broken or not to be written to: said in one line, wherever it shows."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transferscope.core.errors import BadInput

_FULL = "Make room there"
_FORBIDDEN = "Give the right to write there"
_BROKEN = "The disk fails: move the folder to another one"
_IN_THE_WAY = "Something else is in the way: move it"
MENDS = {
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
"""What to do, by what the system says where a file can't be written; all else is nobody's fault but ours."""
_FOREIGN = re.compile(r"(?:os error |code: )(\d+)")
"""How libraries written in Rust (safetensors, polars) name the system's error in their own exceptions."""


class Unwritable(BadInput):
    """A place that can't be written to; no later task could store its result there either."""


@contextmanager
def writing_to(place: Path, then: str) -> Iterator[None]:
    """While files are written.

    Args:
        place: what is named where the error names no file.
        then: what is safe, and how to go on.

    Raises:
        Unwritable: the system refused to write.
    """
    try:
        yield
    except Unwritable:
        raise
    except Exception as error:
        number = number_of(error)
        if number not in MENDS:
            raise
        named = getattr(error, "filename", None)
        where = Path(named).parent if isinstance(named, str) else place
        raise Unwritable(f"can't write to {where}: {os.strerror(number)}. {MENDS[number]}; {then}") from None


def number_of(error: BaseException) -> int | None:
    """The system's number of an error, where it is one of the system's."""
    if isinstance(error, OSError):
        return error.errno
    found = _FOREIGN.search(str(error))
    return None if found is None else int(found[1])
