"""Where a training that is under way notes how far it is: a folder of its own in the store.

A snapshot is training.json and the safetensors files that it names, each with its checksum. Files are written under
new names and flushed, then training.json is replaced in one step: whenever the writer is killed, the last snapshot is
whole. What was written once, a checkpoint, stays as it is. What can't be used is ignored, and said.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from transferscope.core.errors import BadInput
from transferscope.core.files import flushed, write_atomically
from transferscope.execute.store.checksums import Damaged, Result, sealed, unsealed
from transferscope.execute.store.local import Store
from transferscope.execute.store.snapshot_folders import snapshot_folder
from transferscope.train.snapshot import Snapshot, State

FORMAT = 1
NOTE = "training.json"
SECONDS_VARIABLE = "TRANSFERSCOPE_SNAPSHOT_SECONDS"
DEFAULT_SECONDS = 60.0
"""Least time between two snapshots, counted from the start: a training shorter than this writes none."""

_log = logging.getLogger(__name__)


class StoredSnapshots:
    """The snapshots of one training."""

    def __init__(self, store: Store, key: str, device: torch.device, every_seconds: float) -> None:
        """
        Args:
            store: where the result will be.
            key: of the result.
            device: where the training computes: a snapshot of another kind of device is not gone on from.
            every_seconds: least time between two.
        """
        self._key, self._folder, self._every_s = key, snapshot_folder(store, key), every_seconds
        self._identity = {"format": FORMAT, "key": key, "torch": torch.__version__, "device": device.type}
        self._written: dict[str, _File] = {}
        self._last = time.monotonic()

    def newest(self) -> Snapshot | None:
        """The last snapshot; one that is damaged, or of another version, is as none."""
        try:
            text = (self._folder / NOTE).read_text()
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            return self._ignored(str(error))
        note = unsealed(text)
        if note is None:
            return self._ignored(f"{NOTE} is damaged")
        if note.get("identity") != self._identity:
            return self._ignored(
                "it is of another version of torch or of this tool, or of another kind of device"
            )
        files = {name: _File(**file) for name, file in note["files"].items()}
        result = Result(
            key=self._key,
            folder=self._folder,
            sizes={file.name: file.size for file in files.values()},
            checksums={file.name: file.checksum for file in files.values()},
        )
        try:
            states = {name: _read(result / file.name) for name, file in files.items()}
        except Damaged as damaged:
            return self._ignored(damaged.reason)
        except (OSError, SafetensorError) as error:
            return self._ignored(str(error))
        self._written = files
        _log.info("the training was stopped; it goes on after epoch %d", note["facts"]["epoch"])
        return Snapshot(facts=note["facts"], states=states)

    def is_due(self) -> bool:
        """Whether enough time has passed."""
        return time.monotonic() - self._last >= self._every_s

    def write(self, snapshot: Snapshot) -> None:
        """Replace the last snapshot; where there is no room, the training goes on without."""
        files: dict[str, _File] = {}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for name, state in snapshot.states.items():
                files[name] = self._written.get(name) or _write(self._folder, name, state)
            note = {
                "identity": self._identity,
                "facts": dict(snapshot.facts),
                "files": {name: vars(file) for name, file in files.items()},
            }
            write_atomically(self._folder / NOTE, sealed(note))
            self._written = files
        except (OSError, SafetensorError) as error:
            _log.warning("how far the training is could not be noted, it went on without: %s", error)
        self._remove_others()
        self._last = time.monotonic()

    def remove(self) -> None:
        """What is noted is needed no more."""
        (self._folder / NOTE).unlink(missing_ok=True)  # first: never a note whose files are gone
        shutil.rmtree(self._folder, ignore_errors=True)

    def _remove_others(self) -> None:
        kept = {NOTE, *(file.name for file in self._written.values())}
        for path in self._folder.glob("*"):
            if path.name not in kept:
                path.unlink(missing_ok=True)

    def _ignored(self, reason: str) -> None:
        _log.warning("what a stopped training left was ignored, it began anew: %s", reason)
        self.remove()


class _File:
    """A file of a snapshot as it was written."""

    def __init__(self, *, name: str, size: int, checksum: str) -> None:
        self.name, self.size, self.checksum = name, size, checksum


def snapshot_seconds() -> float:
    """Least time between two snapshots, from the environment.

    Raises:
        BadInput: not a number, or below 0.
    """
    text = os.environ.get(SECONDS_VARIABLE, str(DEFAULT_SECONDS))
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:
        raise BadInput(f"{SECONDS_VARIABLE}={text}: expected seconds of at least 0, as 60.")
    return seconds


def _write(folder: Path, name: str, state: State) -> _File:
    path = folder / f"{name}.{uuid.uuid4().hex[:8]}.safetensors"
    save_file(state, path, metadata={"order": json.dumps(list(state))})
    size, checksum = flushed(path)
    return _File(name=path.name, size=size, checksum=checksum)


def _read(path: Path) -> State:
    with safe_open(path, framework="pt") as file:
        metadata: Mapping[str, Any] = file.metadata()
        return {name: file.get_tensor(name) for name in json.loads(metadata["order"])}
