"""The length that a .safetensors file gives its header, looked at before the header is read."""

from __future__ import annotations

import struct
from pathlib import Path

MAX_HEADER_BYTES = 8 * 2**20
"""Of a header; it takes some hundred bytes a tensor, and to read one of a million tensors takes a minute."""


def check_header(path: Path) -> None:
    """Whether a file's header has a length that can be.

    Raises:
        ValueError: it hasn't; says so without the file's name.
    """
    with path.open("rb") as file:
        start = file.read(8)
    length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
    if not 2 <= length <= min(MAX_HEADER_BYTES, path.stat().st_size - 8):
        raise ValueError(
            f"it says that its header has {length:,} bytes, more than the {MAX_HEADER_BYTES:,} that are read, "
            "or than the file has, or too few"
        )
