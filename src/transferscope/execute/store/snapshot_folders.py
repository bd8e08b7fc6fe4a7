"""Where trainings under way note how far they are. Imports no torch."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable
from pathlib import Path

from transferscope.execute.store.local import Store

RESUME = "resume"
"""Folder in a store's, on this machine."""


def snapshot_folder(store: Store, key: str) -> Path:
    """Where the training with this key notes how far it is."""
    return store.root / RESUME / key


def unfinished_trainings(store: Store, keys: Collection[str]) -> dict[Path, int]:
    """Folders of snapshots that are none of these keys', or whose result is there, and their bytes."""
    return {
        folder: sum(path.stat().st_size for path in folder.glob("*"))
        for folder in sorted(_all(store))
        if folder.name not in keys or store.has(folder.name)
    }


def sweep_snapshots(store: Store) -> None:
    """Remove the snapshots of finished trainings, left by a writer that was killed just after it had finished."""
    for folder in _all(store):
        if store.has(folder.name):
            shutil.rmtree(folder, ignore_errors=True)


def _all(store: Store) -> Iterable[Path]:
    return (store.root / RESUME).glob("*")
