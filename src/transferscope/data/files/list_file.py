"""The lines of a list of images from an untrusted file. Imports no torch."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

MAX_BYTES = 128 * 2**20
"""Of a list; the longest ones in use have a fifth of that."""
MAX_LINE = 64 * 2**10
"""Characters of a line."""


def lines_of(path: Path, encoding: str = "utf-8") -> Iterator[str]:
    """The lines, each with its end, as `csv` wants them; only `\\n`, `\\r` and both together end one.

    Raises:
        OSError: the file can't be read.
        ValueError: it is no plain file, no text, or larger, or of longer lines, than any list.
    """
    state = path.stat()
    if not stat.S_ISREG(state.st_mode):
        raise ValueError("it is no plain file")
    if state.st_size > MAX_BYTES:
        raise ValueError(f"it has {state.st_size:,} bytes, and no list has more than {MAX_BYTES:,}")
    with path.open(newline="", encoding=encoding) as text:
        yield from _lines(text)


def _lines(text: TextIO) -> Iterator[str]:
    number = 0
    while line := text.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            raise ValueError(f"line {number} has more than {MAX_LINE:,} characters")
        yield line
