"""What lies in a shared folder that no study refers to; see `remote_store` for what is where in it.

Only in a folder: its locks tell whether a run is under way, which is asked before anything is looked at, and each
run notes there what it refers to. An object store has no locks: a run could begin between the look and the removal.
"""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from transferscope.core.errors import BadInput
from transferscope.execute.store.local import Store
from transferscope.execute.store.remote import parsed_marker

FILE = "file://"
CUT_OFF = "cut off"
"""Kind of an upload that was."""


@dataclass(frozen=True, kw_only=True)
class Unused:
    """Something that no study refers to."""

    place: str
    """The run that it belongs to, or the URL."""
    kind: str
    title: str
    num_bytes: int
    remove: Callable[[], None]


@dataclass(frozen=True, kw_only=True)
class _Reference:
    """What an --out folder on some machine needs."""

    path: Path
    host: str
    folder: Path
    keys: frozenset[str]

    @property
    def is_gone(self) -> bool:
        """Whether its folder was removed: on this machine, and not just because its disk isn't there."""
        return (
            self.host == socket.gethostname()
            and not self.folder.exists()
            and self.folder.parent.parent.exists()
        )


def unused_under(url: str, keys: Collection[str], stack: ExitStack) -> list[Unused]:
    """Results under the URL of a shared folder that neither these keys nor any study that was run with it refer to.

    Uploads that were cut off too. No run begins there until `stack` is left.

    Args:
        url: file://FOLDER; anything else holds nothing that could be removed, see `why_not`.
        keys: what is needed besides what the runs noted.
        stack: holds the lock.

    Raises:
        BadInput: a run is under way, or a note of what a study refers to can't be read.
    """
    if why_not(url):
        return []
    folder = Path(url.removeprefix(FILE))
    try:
        stack.enter_context(Store(folder).unused())
    except BadInput:
        raise BadInput(
            f"a run that shares its results in {folder} is under way; clean when it has ended. Nothing was removed."
        ) from None
    references = [_reference(path) for path in sorted((folder / "studies").glob("*.json"))]
    needed = {*keys}.union(*(reference.keys for reference in references if not reference.is_gone))
    found = [_unneeded(folder, url, key) for key in sorted(_all_keys(folder) - needed)]
    for key in sorted(_all_keys(folder) & needed):
        found += _cut_off(folder, url, key)
    # a study whose folder is gone is forgotten once what it alone referred to is removed
    found += [
        Unused(
            place=url,
            kind="note",
            title=f"what {reference.folder.parent} referred to, which is gone",
            num_bytes=reference.path.stat().st_size,
            remove=partial(reference.path.unlink, missing_ok=True),
        )
        for reference in references
        if reference.is_gone
    ]
    return found


def why_not(url: str) -> str:
    """Why nothing under a URL is removed; nothing where something is."""
    if not url.startswith(FILE):
        return (
            f"{url}: nothing there is removed: only a folder has locks, which tell that no run is using it. Once none "
            "is, remove the place with the service's own tools; the next run uploads what a folder still has, and "
            "computes the rest again."
        )
    folder = Path(url.removeprefix(FILE))
    return "" if folder.is_dir() else f"{url}: not looked at: there is no such folder here."


def _all_keys(folder: Path) -> set[str]:
    markers = {path.stem for path in (folder / "markers").glob("*.json")}
    return markers | {path.name for path in (folder / "results").glob("*") if path.is_dir()}


def _marker(folder: Path, key: str) -> tuple[Path, dict[str, Any] | None]:
    path = folder / "markers" / f"{key}.json"
    try:
        return path, parsed_marker(path.read_bytes())
    except FileNotFoundError:
        return path, None


def _unneeded(folder: Path, url: str, key: str) -> Unused:
    marker, noted = _marker(folder, key)
    results = folder / "results" / key
    about = noted or {"title": f"result {key[:16]}", "kind": "damaged" if marker.exists() else CUT_OFF}

    def remove() -> None:
        marker.unlink(missing_ok=True)  # first: without it the result isn't there
        shutil.rmtree(results, ignore_errors=True)

    return Unused(
        place=url,
        kind=str(about.get("kind", "unknown")),
        title=str(about.get("title", "unknown")),
        num_bytes=_num_bytes(results) + (marker.stat().st_size if marker.exists() else 0),
        remove=remove,
    )


def _cut_off(folder: Path, url: str, key: str) -> list[Unused]:
    """Uploads of a result that is needed which its marker doesn't name."""
    marker, noted = _marker(folder, key)
    if noted is None and marker.exists():
        return []  # damaged: a run that needs it says so, and computes it again
    counts = None if noted is None else noted["upload"]
    return [
        Unused(
            place=url,
            kind=CUT_OFF,
            title=f"upload {upload.name} of {key[:16]}",
            num_bytes=_num_bytes(upload),
            remove=partial(shutil.rmtree, upload),
        )
        for upload in sorted((folder / "results" / key).glob("*"))
        if upload.name != counts
    ]


def _num_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _reference(path: Path) -> _Reference:
    try:
        noted = json.loads(path.read_text())
        keys = frozenset(map(str, noted["keys"]))
        return _Reference(path=path, host=str(noted["host"]), folder=Path(noted["folder"]), keys=keys)
    except (OSError, ValueError, KeyError, TypeError):
        raise BadInput(
            f"{path} can't be read, which notes what a study refers to. Run that study again, which writes it anew, "
            "or remove the file where there is no such study any more. Nothing was removed."
        ) from None
