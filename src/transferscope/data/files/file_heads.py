"""What the first bytes of a file say of it. Imports neither torch nor Pillow."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

PNG_START = b"\x89PNG\r\n\x1a\n"
HEAD_BYTES = 132
"""Of a file: enough to tell its format (DICOM is the longest) and, for PNG, its depth."""


def png_depth(head: bytes) -> tuple[int, int] | None:
    """Bits a channel and colour type of a PNG file, from its first bytes; None for anything else."""
    if not head.startswith(PNG_START) or len(head) < 26 or head[12:16] != b"IHDR":
        return None
    return head[24], head[25]


def head_of(path: str) -> bytes:
    """The first bytes of a file; none where it can't be read."""
    try:
        with open(path, "rb") as file:
            return file.read(HEAD_BYTES)
    except OSError:
        return b""


def read_otherwise(named_heads: Iterable[tuple[str, bytes]]) -> list[str]:
    """In which ways some of the files are read that version 0.1 read otherwise, as marks for the fingerprint.

    It had one range for all 16-bit images, and refused files that are of another format than their name says.

    Args:
        named_heads: name and first bytes of each file.
    """
    marks = set()
    for name, head in named_heads:
        if (png_depth(head) or (8, 0))[0] == 16:
            marks.add("16-bit-range")
        if head and _format_of_name(name) not in ("", _format_of_head(head)):
            marks.add("format-by-content")
    return sorted(marks)


def _format_of_name(name: str) -> str:
    suffix = name.rpartition(".")[2].lower()
    return {"jpg": "JPEG", "jpeg": "JPEG", "png": "PNG", "bmp": "BMP", "webp": "WEBP"}.get(suffix, "")


def _format_of_head(head: bytes) -> str:
    for start, name in ((PNG_START, "PNG"), (b"\xff\xd8", "JPEG"), (b"BM", "BMP")):
        if head.startswith(start):
            return name
    return "WEBP" if head[:4] == b"RIFF" and head[8:12] == b"WEBP" else ""


MAX_HEADER_BYTES = 8 * 2**20
"""Of a header; it takes some hundred bytes a tensor, and to read one of a million tensors takes a minute."""


def check_header(path: Path) -> None:
    """Check the length that a .safetensors file gives its header, before the header is read.

    Raises:
        ValueError: the length is impossible or too large; the message does not name the file.
    """
    with path.open("rb") as file:
        start = file.read(8)
    length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
    if not 2 <= length <= min(MAX_HEADER_BYTES, path.stat().st_size - 8):
        raise ValueError(
            f"it says that its header has {length:,} bytes, more than the {MAX_HEADER_BYTES:,} that are read, "
            "or than the file has, or too few"
        )
