"""Results on disk, by key.

A result is a folder of files. It is written under another name, its marker `done.json` last, flushed, and
renamed in one step: a result that can be seen is whole, whenever the writer was killed. What happens to it later
is noticed by the checksums in the marker: see `checksums`.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from transferscope.core.errors import BadInput
from transferscope.core.files import flushed, is_alive, sweep_files, writing_to
from transferscope.execute.store.checksums import Damaged, Result, sealed, unsealed

MARKER = "done.json"
WAIT_S = 10.0
"""How long a run waits for another process to end its cleaning."""


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A result in the store; its title and kind are unknown if its marker is damaged."""

    key: str
    title: str
    kind: str
    num_bytes: int


class Store:
    """Results under one folder.

    Locks are the operating system's: they end with the process that holds them, however it ends.
    """

    url: str | None = None
    """Where results are besides; see `remote_store`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._claims: dict[str, IO[bytes]] = {}

    def prepare(self) -> None:
        """Make the folder, or raise BadInput where nothing can be written."""
        try:
            (self.root / "objects").mkdir(parents=True, exist_ok=True)
            probe = self.root / f".writable.{os.getpid()}-{uuid.uuid4().hex[:8]}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise BadInput(
                f"can't write results to {self.root}: {error.strerror or error}. "
                "Choose another place with --out, or make this one writable."
            ) from None

    def path(self, key: str) -> Path:
        """The folder of a result."""
        return self.root / "objects" / key[:2] / key

    def has(self, key: str) -> bool:
        """Whether the result is there and each of its files has the size it was written with.

        Checksums are left to who reads: a run of hundreds of finished tasks is found finished at once.
        """
        info = self._read_marker(key)
        if info is None:
            return False
        folder = self.path(key)
        try:
            return all((folder / name).stat().st_size == size for name, size in info["files"].items())
        except OSError:
            return False

    def result(self, key: str) -> Result:
        """A result to read, whose files are checked as they are asked for.

        Raises:
            Damaged: it isn't there, or its marker can't be read.
        """
        folder, info = self.path(key), self._read_marker(key)
        if info is None:
            raise Damaged(key, f"{folder / MARKER} is missing or damaged")
        return Result(key=key, folder=folder, sizes=info["files"], checksums=info.get("checksums", {}))

    def here(self, key: str) -> Result | None:
        """A result to read if it is on this machine; nothing is fetched."""
        return self.result(key) if self.has(key) else None

    def flaw(self, key: str) -> str:
        """What is wrong with a result by its checksums; "" if it is whole, or missing."""
        if not self.path(key).exists():
            return ""
        try:
            self.result(key).check()
        except Damaged as damaged:
            return damaged.reason
        return ""

    def discard_damaged(self, key: str) -> str:
        """Remove a result if it is damaged and no other process holds it; returns what was wrong, or ""."""
        if not self.claim(key):
            return ""
        try:
            flaw = self.flaw(key)
            if flaw:
                self.remove(key)
            return flaw
        finally:
            self.release(key)

    def info(self, key: str) -> dict[str, Any]:
        """What was noted with a result: title, seconds, when and where it was made, sizes of its files."""
        info = self._read_marker(key)
        if info is None:
            raise KeyError(key)
        return info

    def present(self, keys: Iterable[str]) -> set[str]:
        """Those of the results that are there."""
        return {key for key in keys if self.has(key)}

    def infos(self, keys: Iterable[str]) -> dict[str, dict[str, Any]]:
        """What was noted with those of the results that are there."""
        return {key: self.info(key) for key in keys if self.has(key)}

    def fetch(self, keys: Iterable[str]) -> None:
        """Bring these results to this machine: they are."""

    def share(self, keys: Iterable[str]) -> None:
        """Show these results to other machines: where the folder can be seen they are."""

    def commit(self, key: str, write: Callable[[Path], None], info: dict[str, Any]) -> None:
        """Store a result: `write` fills a folder, which then appears under the key in one step.

        A result that is already whole is left as it is; a damaged one is replaced.
        """
        with self._writing():
            self._commit(key, write, info)

    def _commit(self, key: str, write: Callable[[Path], None], info: dict[str, Any]) -> None:
        folder, scratch = self.path(key), self._scratch(key)
        scratch.mkdir(parents=True)
        try:
            write(scratch)
            written = {
                str(path.relative_to(scratch)): flushed(path)
                for path in sorted(scratch.rglob("*"))
                if path.is_file()
            }
            sizes = {name: size for name, (size, _) in written.items()}
            checksums = {name: checksum for name, (_, checksum) in written.items()}
            marker = scratch / MARKER
            marker.write_text(sealed({**info, "files": sizes, "checksums": checksums}))
            flushed(marker)
            if not self.has(key) or self.flaw(key):
                if folder.exists():
                    self.remove(key)
                folder.parent.mkdir(parents=True, exist_ok=True)
                try:
                    scratch.rename(folder)
                except OSError:
                    # another process was faster: its result is as good
                    if not self.has(key):
                        raise
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def claim(self, key: str) -> bool:
        """Lock this result; returns False if another process holds it. The lock ends with the process."""
        path = self.root / "claims" / f"{key}.lock"
        with self._writing():
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("wb")
        if not _locked(file, fcntl.LOCK_EX) or not _is_named(path, file):
            file.close()
            return False
        self._claims[key] = file
        return True

    def release(self, key: str) -> None:
        """Unlock a result, whether it was stored or not."""
        file = self._claims.pop(key)
        # while it is still locked: who opens the name from now on opens another file
        with suppress(OSError):  # what is left of it says nothing, and is swept away
            (self.root / "claims" / f"{key}.lock").unlink(missing_ok=True)
        file.close()

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Nothing in this store is cleaned away meanwhile."""
        with self._lock_file() as file:
            end = time.monotonic() + WAIT_S
            while not _locked(file, fcntl.LOCK_SH):
                if time.monotonic() > end:
                    raise BadInput(f"{self.root} is being cleaned; try again when that is done.")
                time.sleep(0.05)
            yield

    @contextmanager
    def unused(self) -> Iterator[None]:
        """No run begins or goes on in this store meanwhile.

        Raises:
            BadInput: a run is under way.
        """
        with self._lock_file() as file:
            if not _locked(file, fcntl.LOCK_EX):
                raise BadInput(
                    f"a run is under way in {self.root.parent}; clean when it has ended. Nothing was removed."
                )
            yield

    def unreferenced(self, keys: Collection[str]) -> list[Stored]:
        """All results but those of these keys, the largest first; damaged ones too."""
        found = []
        for folder in (self.root / "objects").glob("*/*"):
            if folder.name in keys or not folder.is_dir():
                continue
            info = self._read_marker(folder.name) or {}
            sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
            found.append(
                Stored(
                    key=folder.name,
                    title=str(info.get("title", "damaged")),
                    kind=str(info.get("kind", "unknown")),
                    num_bytes=sum(sizes),
                )
            )
        return sorted(found, key=lambda stored: (-stored.num_bytes, stored.key))

    def remove(self, key: str) -> None:
        """Remove a result in one step, as far as anyone can see."""
        scratch = self._scratch(key)
        with self._writing():
            scratch.parent.mkdir(parents=True, exist_ok=True)
            self.path(key).rename(scratch)
        shutil.rmtree(scratch, ignore_errors=True)

    def _scratch(self, key: str) -> Path:
        """A folder that nobody sees; the number of its process tells `sweep` who writes there."""
        return self.root / "unfinished" / f"{key[:16]}-{os.getpid()}-{uuid.uuid4().hex[:8]}"

    def _writing(self) -> AbstractContextManager[None]:
        return writing_to(self.root, "finished tasks are kept, and then the same command goes on from here.")

    def _lock_file(self) -> IO[bytes]:
        with self._writing():
            self.root.mkdir(parents=True, exist_ok=True)
            return (self.root / "in-use.lock").open("ab")

    def sweep(self) -> None:
        """Remove what killed writers left behind, unless a writer still lives.

        While a run is under way nothing is: on another machine of a shared folder its processes can't be seen.
        """
        with self._lock_file() as file:
            if _locked(file, fcntl.LOCK_EX):
                self._sweep()

    def _sweep(self) -> None:
        sweep_files(self.root)
        for scratch in (self.root / "unfinished").glob("*-*-*"):
            pid = scratch.name.split("-")[1]
            if not (pid.isdigit() and is_alive(int(pid))):
                shutil.rmtree(scratch, ignore_errors=True)
        for path in (self.root / "claims").glob("*.lock"):
            if self.claim(path.stem):
                self.release(path.stem)

    def _read_marker(self, key: str) -> dict[str, Any] | None:
        try:
            text = (self.path(key) / MARKER).read_text()
        except (OSError, ValueError):
            return None
        return unsealed(text)


def _locked(file: IO[bytes], how: int) -> bool:
    """Lock an open file, or say that another process has."""
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_named(path: Path, file: IO[bytes]) -> bool:
    """Whether a name still means this open file: its owner may have removed it before we had the lock."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
