"""The study that the fault suite disturbs: every kind of task and file, in half a second once all is imported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import tiny

from transferscope.execute.store.local import Store
from transferscope.study.task import Graph, Task


def write(path: Path) -> Path:
    """Write its study file: one pre-training, four trainings and a measurement, on two data sets."""
    document = tiny.document("mistakes")
    document["targets"] = {"digits": document["targets"]["digits"]}
    document["source"]["pretraining"]["epochs"] = 1
    document["training"]["epochs"] = 2
    document["seeds"] = [0, 1]
    return tiny.write(path, document)


def outcome(out: Path) -> dict[str, bytes]:
    """What a run ends in: tables and findings, by name."""
    paths = [*sorted((out / "tables").iterdir()), out / "findings.json"]
    return {path.name: path.read_bytes() for path in paths}


def results(out: Path) -> dict[str, bytes]:
    """The files of all stored results but their markers, which say when and for how long; by name."""
    folder = out / "store" / "objects"
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "done.json"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def forget(out: Path, graph: Graph, *kinds: str) -> None:
    """Remove the results of some kinds of task, and what says that all is drawn."""
    store = Store(out / "store")
    for task in graph:
        if task.kind in kinds:
            store.remove(task.key)
    (out / "provenance.json").unlink()


def files_of(out: Path, task: Task) -> list[Path]:
    """The files of a result, its marker too."""
    return sorted(path for path in Store(out / "store").path(task.key).iterdir() if path.is_file())


def empty(path: Path) -> None:
    """A file of no bytes, as a full disk leaves it."""
    path.write_bytes(b"")


def truncate(path: Path) -> None:
    """Half of a file."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def flip(path: Path) -> None:
    """One bit of a file the other way."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "zero-length": empty,
    "truncated": truncate,
    "bit-flipped": flip,
}
