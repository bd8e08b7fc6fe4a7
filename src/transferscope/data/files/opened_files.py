"""The data files that the user's own code opens: what results of such data are reused by. Imports no torch.

Python reports every file that it opens itself (an audit event), among them those that Pillow, NumPy, pandas, `csv`,
`json` and `torch.load` read. Files that a compiled library opens by itself, such as those of OpenCV, polars or PyArrow,
are not reported.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from transferscope.core.fingerprint import is_installed
from transferscope.data.files.image_list import SMALL_BYTES

T = TypeVar("T")
MAX_BUILDS = 3
"""A data set that writes files while it is built, such as a download, is built again, so that what it opens is what
it opens each time."""
CODE = (".py", ".pyc", ".pyd", ".so")
"""Files of code are not data: `fingerprint.sources_fingerprint` covers the user's own."""
NO_DATA = ("/dev/", "/proc/", "/sys/")
_recording = threading.local()


_read: dict[str, dict[Path, None]] = {}
"""What was read so far in this process, by the name of what was built."""


class _Opened:
    """The paths opened by one thread."""

    def __init__(self) -> None:
        self.read: dict[str, None] = {}
        self.written: dict[str, None] = {}


def built(name: str, build: Callable[[], T]) -> tuple[T, list[Path]]:
    """Call a function, and give what it returns and the data files that it reads.

    It is called again, up to `MAX_BUILDS` times in all, while it writes files. Files that an earlier call of the same
    name read count too: code reads some files once, when it is imported, and keeps what they hold.
    """
    known = _read.setdefault(name, {})
    made, wrote = _recorded_call(build, known)
    for _ in range(MAX_BUILDS - 1):
        if not wrote:
            break
        made, wrote = _recorded_call(build, known)
    return made, [path for path in known if _is_data(path)]


def _recorded_call(build: Callable[[], T], known: dict[Path, None]) -> tuple[T, bool]:
    """What the function returns, and whether it wrote files; the files that it read are added to `known`."""
    with _recorded() as opened:
        made = build()
    known |= dict.fromkeys(Path(path) for path in opened.read)
    return made, any(_counts(path) for path in opened.written)


def contents_fingerprint(paths: Collection[Path]) -> str:
    """SHA-256 of files by name and content, whichever folder they lie in; empty without files.

    The contents of the smallest files, up to 32 MB together, are read; for the others their sizes and times of change
    stand in.
    """
    entries, total = [], 0
    for path in sorted(paths, key=lambda path: (path.stat().st_size, path)):
        state = path.stat()
        total += state.st_size
        content: Any = (state.st_size, state.st_mtime_ns)
        if total <= SMALL_BYTES:
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        entries.append((path.name, content))
    return hashlib.sha256(repr(sorted(entries, key=repr)).encode()).hexdigest() if entries else ""


@contextmanager
def _recorded() -> Iterator[_Opened]:
    _hook()
    before = getattr(_recording, "opened", None)
    _recording.opened = opened = _Opened()
    try:
        yield opened
    finally:
        _recording.opened = before


@cache
def _hook() -> None:
    """Once a process: an audit hook can't be removed, so it does nothing while no thread records."""

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        opened: _Opened | None = getattr(_recording, "opened", None)
        if opened is None or event not in ("open", "sqlite3.connect"):
            return
        path = arguments[0]
        if not isinstance(path, str | bytes | os.PathLike):
            return  # a file descriptor
        mode, flags = (arguments[1], arguments[2]) if event == "open" else (None, 0)
        writes = bool(set(mode or "") & set("wax+")) or bool(
            isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)
        )
        (opened.written if writes else opened.read)[os.fsdecode(path)] = None

    sys.addaudithook(note)


def _counts(path: str) -> bool:
    return not path.startswith(NO_DATA) and "__pycache__" not in path


def _is_data(path: Path) -> bool:
    try:
        is_file = stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return False
    return is_file and _counts(str(path.absolute())) and path.suffix not in CODE and not is_installed(path)
