"""Results under any fsspec URL, so that machines without a common disk can work on one study.

What is under the URL is the truth:

    results/<key>/<upload>/...   the files of one upload; none is ever written twice
    markers/<key>.json           what was noted, each file's size and checksum, and which upload; written last
    studies/<id>.json            where the URL is a shared folder: keys of the results that an --out folder refers to

Object stores have no rename, so the marker alone makes a result visible: a killed upload shows nothing, and two
uploads of one key are each whole. Every machine has a folder, a `Store`, with the results that were made or used
there; one that is fetched is checked against its checksums before it appears in it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import socket
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from transferscope.core.files import checksum, write_atomically
from transferscope.execute.store.checksums import Damaged, Result, sealed, unsealed
from transferscope.execute.store.local import Store
from transferscope.execute.store.remote_folder import RemoteFolder

CACHE_VARIABLE = "TRANSFERSCOPE_CACHE"
"""Environment variable: where a node of a cluster keeps what it made and used."""
REMEMBERED = "remote.json"
"""File beside the results of a study that says where they are too."""
FETCHES = 16
"""Results that are fetched side by side."""


def open_store(root: Path, url: str | None = None) -> Store:
    """The store of a folder: under this URL, else under the one that it was last used with, else the folder's own."""
    url = url or remembered_url(root)
    return Store(root) if url is None else RemoteStore(root, url)


def node_folder(url: str) -> Path:
    """Where a node of a cluster keeps results of a remote store; of each machine its own, also on a common disk."""
    base = os.environ.get(CACHE_VARIABLE) or Path.home() / ".cache" / "transferscope"
    return Path(base) / socket.gethostname() / hashlib.sha256(url.encode()).hexdigest()[:16]


class RemoteStore(Store):
    """Results under a URL, with a folder of this machine for those that were made or used here.

    Claims are those of the folder, so that runs with the same --out compute each task once; where the URL is a
    shared folder, those of that. Otherwise runs on several machines may compute a task twice, which harms nothing.

    Besides what a `Store` raises, every method raises StoreUnreachable where the URL can't be used.
    """

    def __init__(self, root: Path, url: str) -> None:
        super().__init__(root)
        self.url = url
        self._here = Store(root)
        self._there = RemoteFolder(url)
        shared = self._there.local_path
        self._claimer = self._here if shared is None else Store(shared)
        self._seen: set[str] = set()
        self._noted: dict[str, dict[str, Any]] = {}
        self._flaws: dict[str, str] = {}

    def prepare(self) -> None:
        """Make both folders, or raise BadInput where one can't be written."""
        self._there.check_writable()
        self._here.prepare()
        write_atomically(self.root / REMEMBERED, json.dumps({"url": self.url}) + "\n")

    def present(self, keys: Iterable[str]) -> set[str]:
        """Those of the results that are there, in one listing."""
        sizes = self._there.sizes("markers")
        self._seen = {
            name.removesuffix(".json") for name, size in sizes.items() if size and name.endswith(".json")
        }
        return self._seen.intersection(keys)

    def has(self, key: str) -> bool:
        """Whether the result is there; one that was is not asked for again, as results stay."""
        if key not in self._seen and self._marker(key) is not None:
            self._seen.add(key)
        return key in self._seen

    def info(self, key: str) -> dict[str, Any]:
        """What was noted with a result."""
        noted = self._noted.get(key) or self._marker(key)
        if noted is None:
            raise KeyError(key)
        return {name: value for name, value in noted.items() if name != "upload"}

    def infos(self, keys: Iterable[str]) -> dict[str, dict[str, Any]]:
        """What was noted with those of the results that are there, asked for all at once."""
        there = self.present(keys)
        unknown = [_marker_name(key) for key in sorted(there - self._noted.keys())]
        for name, data in self._there.read_all(unknown).items():
            noted = parsed_marker(data)
            if noted is not None:
                self._noted[name.removeprefix("markers/").removesuffix(".json")] = noted
        return {key: self.info(key) for key in sorted(there) if key in self._noted}

    def result(self, key: str) -> Result:
        """A result to read, fetched where it is not here yet, and again where it was damaged here.

        Raises:
            Damaged: it isn't there; or it is damaged there, and was taken out.
        """
        self._bring(key)
        found = self._here.result(key)
        return _Renewable(**vars(found), renew=lambda: self._renewed(key))

    def here(self, key: str) -> Result | None:
        """A result to read if it is on this machine; nothing is fetched."""
        return self._here.here(key)

    def fetch(self, keys: Iterable[str]) -> None:
        """Bring those of these results that are there to this machine, several at a time.

        The damaged ones are taken out; `flaw` knows of them.
        """

        def bring(key: str) -> None:
            try:
                self._bring(key)
            except Damaged as damaged:
                self._flaws[key] = damaged.reason

        missing = [key for key in self.present(keys) if not self._here.has(key)]
        with ThreadPoolExecutor(FETCHES) as pool:
            for _ in pool.map(bring, missing):
                pass

    def share(self, keys: Iterable[str]) -> None:
        """Upload those of these results that are here and not there: of a run without the URL, or cut off from it."""
        keys = list(keys)
        self._refer_to(keys)
        there = self.present(keys)
        for key in keys:
            if key not in there and self._here.has(key) and not self._here.flaw(key):
                self._upload(key)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Nothing in this store is cleaned away meanwhile; nor in the shared folder, where it has one."""
        with ExitStack() as stack:
            for store in {id(store): store for store in (self._here, self._claimer)}.values():
                stack.enter_context(store.in_use())
            yield

    def _refer_to(self, keys: Sequence[str]) -> None:
        """Note in a shared folder what the study of this machine's folder needs, so that no `clean` removes it."""
        if self._claimer is self._here:
            return
        host, folder = socket.gethostname(), str(self.root.resolve())
        name = hashlib.sha256(f"{host}:{folder}".encode()).hexdigest()[:16]
        noted = {"host": host, "folder": folder, "keys": sorted(keys)}
        self._there.write(f"studies/{name}.json", json.dumps(noted).encode())

    def flaw(self, key: str) -> str:
        """What was wrong with a result that was taken out, or is wrong with the one on this machine."""
        return self._flaws.get(key) or self._here.flaw(key)

    def discard_damaged(self, key: str) -> str:
        """Forget what is damaged, and say what was wrong with it; nothing where it only has to be fetched again."""
        flaw = self._here.discard_damaged(key)
        self._forget(key)
        flaw = self._flaws.pop(key, flaw)
        return "" if self.has(key) else flaw

    def commit(self, key: str, write: Callable[[Path], None], info: dict[str, Any]) -> None:
        """Store a result here, then there; one that is there already is left as it is."""
        self._here.commit(key, write, info)
        if self._marker(key) is None:
            self._upload(key)
        self._seen.add(key)

    def claim(self, key: str) -> bool:
        """Lock this result; returns False if another process holds it."""
        return self._claimer.claim(key)

    def release(self, key: str) -> None:
        """Unlock a result."""
        self._claimer.release(key)

    def sweep(self) -> None:
        """Remove what killed processes left on this machine, and claims of theirs that lie elsewhere."""
        self._here.sweep()
        if self._claimer is not self._here:
            self._claimer.sweep()

    def _marker(self, key: str) -> dict[str, Any] | None:
        data = self._there.read(_marker_name(key))
        noted = None if data is None else parsed_marker(data)
        if noted is not None:
            self._noted[key] = noted
        return noted

    def _forget(self, key: str) -> None:
        self._seen.discard(key)
        self._noted.pop(key, None)

    def _upload(self, key: str) -> None:
        noted = self._here.info(key)
        folder, upload = self._here.path(key), uuid.uuid4().hex[:16]
        checksums = noted.get("checksums") or {name: checksum(folder / name) for name in noted["files"]}
        self._there.upload({f"results/{key}/{upload}/{name}": folder / name for name in noted["files"]})
        marker = {**noted, "checksums": checksums, "upload": upload}
        self._there.write(_marker_name(key), sealed(marker).encode())

    def _bring(self, key: str) -> None:
        """Fetch a result that isn't here."""
        if self._here.has(key):
            return
        with self._one_at_a_time(key):
            if self._here.has(key):  # another process was faster
                return
            noted = self._marker(key)
            if noted is None:
                raise self._taken_out(key, None, "is missing, or its marker is damaged")
            kept = {
                name: value for name, value in noted.items() if name not in ("files", "checksums", "upload")
            }
            self._here.commit(key, lambda folder: self._download(key, noted, folder), kept)

    def _download(self, key: str, noted: dict[str, Any], folder: Path) -> None:
        files = {f"results/{key}/{noted['upload']}/{name}": folder / name for name in noted["files"]}
        try:
            if not self._there.download(files):
                raise Damaged(key, "a file is missing")
            Result(key=key, folder=folder, sizes=noted["files"], checksums=noted["checksums"]).check()
        except Damaged as damaged:
            reason = damaged.reason.replace(f"{folder}/", "")
            raise self._taken_out(key, noted["upload"], reason) from None

    def _taken_out(self, key: str, upload: str | None, reason: str) -> Damaged:
        """A damaged result is not there any more, unless another has taken its place already."""
        data = self._there.read(_marker_name(key))
        now = None if data is None else parsed_marker(data)
        if data is not None and (now is None or now["upload"] == upload):
            self._there.remove(_marker_name(key))
        self._forget(key)
        return Damaged(key, f"{self.url}: result {key[:16]}: {reason}")

    def _renewed(self, key: str) -> Result:
        """A result whose copy here was found damaged."""
        self._here.discard_damaged(key)
        self._bring(key)
        return self._here.result(key)

    @contextmanager
    def _one_at_a_time(self, key: str) -> Iterator[None]:
        """Processes of this machine that want the same result fetch it once."""
        folder = self.root / "fetching"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{key[:2]}.lock").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


@dataclass(frozen=True, kw_only=True)
class _Renewable(Result):
    """A result that is fetched once more where a file of it is found damaged on this machine."""

    renew: Callable[[], Result]

    def __truediv__(self, name: str, /) -> Path:
        try:
            return super().__truediv__(name)
        except Damaged:
            return self.renew() / name


def _marker_name(key: str) -> str:
    return f"markers/{key}.json"


def parsed_marker(data: bytes) -> dict[str, Any] | None:
    """A marker under a URL; None where it is not whole, or names files outside of its result."""
    noted = unsealed(data.decode(errors="replace"))
    if (
        noted is None
        or not isinstance(noted.get("upload"), str)
        or not isinstance(noted.get("checksums"), dict)
    ):
        return None
    names = [PurePosixPath(name) for name in (*noted["files"], noted["upload"])]
    inside = all(name.parts and not name.is_absolute() and ".." not in name.parts for name in names)
    return noted if inside and set(noted["checksums"]) == set(noted["files"]) else None


def remembered_url(root: Path) -> str | None:
    """The URL that a store's folder was last used with."""
    try:
        return json.loads((root / REMEMBERED).read_text())["url"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
