"""A folder under any URL that fsspec knows: with patience for a bad network, and errors that name the place.

Who may read and write there is fsspec's business (environment, configuration files): no credentials pass through
here, a URL that holds some is refused, and none is shown.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from transferscope.core.errors import BadInput
from transferscope.core.files import write_atomically

TRANSIENT = (ConnectionError, TimeoutError)
"""What a second try may not meet; only these are tried again. File systems retry errors of their own besides."""
WAITS_S = (0.5, 1.0, 2.0, 4.0)
"""How long to wait before each further try."""
OBJECT_STORES = frozenset(("s3", "gs", "az", "abfs", "oss", "oci", "obs"))
"""File systems without folders: to make one would at most make a bucket out of a misspelt name."""


_RAISE = object()


class StoreUnreachable(BadInput, ConnectionError):
    """The remote store can't be used: not there, no permission, or no network after several tries."""


def checked_url(text: str) -> str:
    """The URL that a user means; a path is that of a shared folder.

    Raises:
        BadInput: no URL of a folder, or one with credentials in it.
    """
    if "://" not in text:
        if ":" in text.partition("/")[0]:
            raise BadInput(
                f"--store {text}: expected PROTOCOL://PLACE, as in s3://bucket/study, or a folder."
            )
        return f"file://{Path(text).expanduser().resolve()}"
    protocol, _, place = text.partition("://")
    if not protocol or "::" in protocol or not place.strip("/"):
        raise BadInput(
            f"--store {protocol}://...: expected one protocol and a place, as in s3://bucket/study, "
            "gs://bucket/study or file:///shared/study."
        )
    if protocol in ("file", "local"):
        return f"file://{Path(place).expanduser().resolve()}"
    parts = urlsplit(text)
    if ":" in parts.netloc.rpartition("@")[0] or parts.query:
        raise BadInput(
            f"--store {protocol}://...: credentials don't belong into the URL, which is noted in the results; "
            "give them where fsspec looks for them: environment variables, or the service's own files."
        )
    return text.rstrip("/")


class RemoteFolder:
    """Files under a URL.

    Names are relative, with "/" between their parts. Every call raises StoreUnreachable where the place can't be
    used; ConnectionError and TimeoutError are tried again first.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._fs, self._base = self._asked(lambda: _file_system(url))

    @property
    def local_path(self) -> Path | None:
        """The folder itself, where it is one of this machine or mounted here."""
        return Path(self._base) if self._is_local else None

    def check_writable(self) -> None:
        """Write a file and remove it."""
        probe = ".writable"
        self.write(probe, b"")
        self.remove(probe)

    def sizes(self, folder: str) -> dict[str, int]:
        """Size in bytes of each file directly in a folder, in one listing; none where there is no such folder."""
        self._fs.invalidate_cache()
        found = self._asked(lambda: self._fs.ls(self._path(folder), detail=True), if_missing=[])
        return {
            PurePosixPath(entry["name"]).name: entry["size"] for entry in found if entry["type"] == "file"
        }

    def tree(self, folder: str) -> list[tuple[str, int]]:
        """Name below the folder and size of all files anywhere in it, in one call."""
        self._fs.invalidate_cache()
        found = self._asked(lambda: self._fs.find(self._path(folder), detail=True), if_missing={})
        prefix = self._path(folder).rstrip("/") + "/"
        return [(name.removeprefix(prefix), entry["size"]) for name, entry in found.items()]

    def read(self, name: str) -> bytes | None:
        """A file's content; None where there is no such file."""
        return self._asked(lambda: self._fs.cat_file(self._path(name)), if_missing=None)

    def read_all(self, names: Sequence[str]) -> dict[str, bytes]:
        """Contents of those of these files that are there; side by side where the file system can."""
        if not names:
            return {}
        by_path = {self._path(name): name for name in names}
        found = self._asked(lambda: self._fs.cat(list(by_path), on_error="return"))
        for error in found.values():
            if isinstance(error, Exception) and not isinstance(error, FileNotFoundError):
                raise self._unreachable(error) from error
        return {by_path[path]: data for path, data in found.items() if isinstance(data, bytes)}

    def write(self, name: str, data: bytes) -> None:
        """Write a small file; where it can be seen it is whole."""
        path = self._path(name)
        if self._is_local:
            self._asked(lambda: write_atomically(Path(path), data))
            return
        self._make_parents([path])
        self._asked(lambda: self._fs.pipe_file(path, data))

    def upload(self, files: Mapping[str, Path]) -> None:
        """Copy files there, by name; side by side where the file system can."""
        paths = [self._path(name) for name in files]
        self._make_parents(paths)
        sources = [str(path) for path in files.values()]
        if sources:
            self._asked(lambda: self._fs.put(sources, paths))

    def download(self, files: Mapping[str, Path]) -> bool:
        """Copy files here, by name; False where one of them is not there."""
        for path in files.values():
            path.parent.mkdir(parents=True, exist_ok=True)
        there, here = [self._path(name) for name in files], [str(path) for path in files.values()]
        return not files or self._asked(lambda: self._fs.get(there, here), if_missing=False) is not False

    def remove(self, *names: str) -> None:
        """Remove files; missing ones are ignored."""
        for name in names:
            self._asked(lambda name=name: self._fs.rm_file(self._path(name)), if_missing=None)

    @property
    def _is_local(self) -> bool:
        from fsspec.implementations.local import LocalFileSystem

        return isinstance(self._fs, LocalFileSystem)

    def _path(self, name: str) -> str:
        return f"{self._base.rstrip('/')}/{name}"

    def _make_parents(self, paths: Sequence[str]) -> None:
        names = self._fs.protocol
        if not OBJECT_STORES.isdisjoint([names] if isinstance(names, str) else names):
            return
        for parent in sorted({path.rpartition("/")[0] for path in paths}):
            self._asked(lambda parent=parent: self._fs.makedirs(parent, exist_ok=True))

    def _asked(self, ask: Callable[[], Any], if_missing: Any = _RAISE) -> Any:
        """What `ask` returns; TRANSIENT errors are tried again, and a missing file gives `if_missing`."""
        waits = iter(WAITS_S)
        while True:
            try:
                return ask()
            except Exception as error:
                if if_missing is not _RAISE and isinstance(error, FileNotFoundError):
                    return if_missing
                wait = next(waits, None) if isinstance(error, TRANSIENT) else None
                if wait is None and _is_a_defect(error):
                    raise
                if wait is None:
                    raise self._unreachable(error) from error
                time.sleep(wait)

    def _unreachable(self, error: Exception) -> StoreUnreachable:
        lines = str(error).strip().splitlines() or [""]
        tries = f", {len(WAITS_S) + 1} times" if isinstance(error, TRANSIENT) else ""
        return StoreUnreachable(
            f"--store {self.url}: can't be used: {type(error).__name__}: {lines[0]}{tries}. "
            "Finished results are safe there and in --out; fix it and run again, or choose another place."
        )


def _is_a_defect(error: Exception) -> bool:
    """Errors of services have classes of their own; one of Python's that isn't of input or output is ours."""
    return isinstance(error, BadInput) or (
        type(error).__module__ == "builtins" and not isinstance(error, OSError)
    )


def _file_system(url: str) -> tuple[Any, str]:
    import fsspec

    try:
        return fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise BadInput(
            f"--store {url}: fsspec lacks a package for it: {error}. Install it with pip, on every machine."
        ) from None
    except ValueError as error:
        raise BadInput(
            f"--store {url}: {error}. Valid: a folder, or a URL that fsspec knows, as s3://bucket/study, "
            "gs://bucket/study."
        ) from None
