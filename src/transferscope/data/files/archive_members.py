"""The files in tar and zip archives, which are read from their place; nothing is unpacked. Imports no torch."""

from __future__ import annotations

import glob
import io
import os
import tarfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from transferscope.core.errors import BadInput

MAX_MEMBER_BYTES = 2**29
"""Of one file in an archive, unpacked; larger ones are made to exhaust the memory."""


@dataclass(frozen=True)
class Member:
    """A file in an archive."""

    archive: str
    name: str
    """Path in the archive."""
    offset: int
    """Where its bytes are in a tar file; -1 in a zip file."""
    num_bytes: int


@dataclass
class Archives:
    """Reads members; zip files stay open."""

    _zips: dict[str, zipfile.ZipFile] = field(default_factory=dict)

    def read(self, member: Member) -> IO[bytes]:
        """The content of a member. Raises ValueError if it can't be had."""
        if member.num_bytes > MAX_MEMBER_BYTES:
            raise ValueError(f"it has {member.num_bytes:,} bytes")
        if member.offset >= 0:
            with open(member.archive, "rb") as file:
                file.seek(member.offset)
                content = file.read(member.num_bytes)
        else:
            opened = self._zips.get(member.archive)
            if opened is None:
                opened = self._zips.setdefault(member.archive, zipfile.ZipFile(member.archive))
            with opened.open(member.name) as file:
                content = file.read(member.num_bytes + 1)
        if len(content) != member.num_bytes:
            raise ValueError(f"{len(content):,} bytes of {member.num_bytes:,} are there")
        return io.BytesIO(content)


def archives_of(pattern: str, option: str) -> list[str]:
    """The archives that a path or a pattern with * and {000..009} stands for, sorted.

    Raises:
        BadInput: there are none.
    """
    paths = sorted({path for one in _numbers(os.path.expanduser(pattern)) for path in glob.glob(one)})
    if not paths:
        raise BadInput(
            f"{option}: no file fits {pattern}. Give a .tar or .zip file, or several, as in 'shards/train-*.tar'."
        )
    return paths


def _numbers(pattern: str) -> list[str]:
    """The paths of a range of numbers in braces, as webdataset writes it.

    >>> _numbers("a-{08..10}.tar")
    ['a-08.tar', 'a-09.tar', 'a-10.tar']
    """
    before, brace, rest = pattern.partition("{")
    inside, end, after = rest.partition("}")
    first, dots, last = inside.partition("..")
    if not (brace and end and dots and first.isdigit() and last.isdigit()) or int(last) - int(first) > 10**6:
        return [pattern]
    return [f"{before}{number:0{len(first)}d}{after}" for number in range(int(first), int(last) + 1)]


def members_of(paths: Sequence[str]) -> list[Member]:
    """All plain files in the archives, in their order; links and files that begin with a dot are passed over.

    Raises:
        BadInput: one of them is neither a tar file without compression nor a zip file, or is damaged.
    """
    found = []
    for path in paths:
        try:
            found += _of_zip(path) if zipfile.is_zipfile(path) else _of_tar(path)
        except (OSError, tarfile.TarError, zipfile.BadZipFile, ValueError) as error:
            packed = ""
            if Path(path).suffix in (".gz", ".tgz", ".bz2", ".xz", ".zst"):
                packed = " Unpack it to a .tar without compression first: images are compressed already."
            raise BadInput(f"the archive {path} can't be read ({error}).{packed}") from None
    return [one for one in found if not Path(one.name).name.startswith(".") and "__MACOSX/" not in one.name]


def _of_tar(path: str) -> list[Member]:
    with tarfile.open(path, "r:") as opened:
        return [
            Member(path, one.name.removeprefix("./"), one.offset_data, one.size)
            for one in opened
            if one.isreg() and not one.issparse()
        ]


def _of_zip(path: str) -> list[Member]:
    with zipfile.ZipFile(path) as opened:
        return [
            Member(path, one.filename, -1, one.file_size) for one in opened.infolist() if not one.is_dir()
        ]
