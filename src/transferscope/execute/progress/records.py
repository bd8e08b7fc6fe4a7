"""What a run notes of itself while it goes on, for other processes to read.

DIR/progress/run-PID.json, replaced in one step at most once a second, and DIR/progress/KEY.jsonl for each task under
way: a line when it starts, and one for each epoch. Only the process that runs the study writes, never its workers;
what a task leaves is removed when its result is in the store, and kept with its reason where it failed. A line that
is only half there is not read. Nothing is left of a run whose tasks all succeeded. Where nothing can be written the
run goes on without.
"""

from __future__ import annotations

import json
import math
import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from transferscope.core.files import sweep_files, write_atomically
from transferscope.execute.events import Event
from transferscope.execute.progress.terminal import RemainingTime
from transferscope.study.task import Task

EVERY_S = 1.0
"""The record of the run is written at most so often."""


def progress_folder(out: Path) -> Path:
    """Where a run into a folder notes how it goes."""
    return out / "progress"


class Recorder:
    """Writes the records; a reporter."""

    def __init__(self, out: Path) -> None:
        self._folder = progress_folder(out)
        self._me: dict[str, Any] = {"pid": os.getpid(), "host": socket.gethostname()}
        self._run_file = self._folder / f"run-{os.getpid()}.json"
        self._clock = RemainingTime()
        self._written = -math.inf
        self._about: dict[str, Any] = {}

    def begin(self, to_do: list[Task], num_cached: int) -> None:
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
        self._clock.begin(to_do)
        self._about = {"started": time.time(), "num_tasks": len(to_do), "num_cached": num_cached}
        self._note(now=True)

    def added(self, tasks: list[Task]) -> None:
        self._clock.added(tasks)
        self._about["num_tasks"] += len(tasks)

    def started(self, task: Task) -> None:
        self._clock.started(task)
        line = {"title": task.title, "kind": task.kind, "at": time.time(), **self._me}
        self._write(task, line, "w")

    def progressed(self, task: Task, share: float, row: Mapping[str, float], /) -> None:
        self._clock.progressed(task, share)
        self._write(task, {"share": share, "row": dict(row)}, "a")

    def ended(self, task: Task, event: Event) -> None:
        self._clock.ended(task, event)
        if event.what == "done":
            with suppress(OSError):
                self._file(task).unlink(missing_ok=True)
            self._note()
        else:  # where its process died it may be started again, which overwrites this
            self._write(task, {"failed": event.reason}, "a")

    def finish(self) -> None:
        with suppress(OSError):  # what failed stays
            self._run_file.unlink(missing_ok=True)
            self._folder.rmdir()

    def _write(self, task: Task, line: dict[str, Any], mode: Literal["a", "w"]) -> None:
        with suppress(OSError), self._file(task).open(mode) as file:
            file.write(_line(line))
        self._note()

    def _file(self, task: Task) -> Path:
        return self._folder / f"{task.key}.jsonl"

    def _note(self, *, now: bool = False) -> None:
        if not now and time.monotonic() - self._written < EVERY_S:
            return
        self._written = time.monotonic()
        record = {
            **self._me,
            **self._about,
            "share": self._clock.share,
            "seconds_left": self._clock.seconds_left(),
            "at": time.time(),
        }
        with suppress(OSError):
            write_atomically(self._run_file, _line(record))


@dataclass(frozen=True, kw_only=True)
class TaskRecord:
    """What is noted of a task that was started and whose result isn't there yet."""

    key: str
    title: str
    kind: str
    started: float
    """Seconds since 1970."""
    is_alive: bool
    """Whether the process that runs the study is."""
    share: float = 0.0
    failed: str | None = None
    """Why, in one line."""
    rows: list[dict[str, Any]] = field(default_factory=list)
    """Of a training's history, one an epoch; null for what isn't finite."""


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What is noted of a run that is under way."""

    pid: int
    host: str
    started: float
    """Seconds since 1970."""
    share: float
    seconds_left: float | None


def read_runs(out: Path) -> list[RunRecord]:
    """The runs into a folder that are under way; several processes may run the same study."""
    found = []
    for path in sorted(progress_folder(out).glob("run-*.json")):
        with suppress(OSError, ValueError, KeyError, TypeError):
            noted = json.loads(path.read_text())
            if _is_alive(noted):
                names = RunRecord.__dataclass_fields__
                found.append(RunRecord(**{name: noted[name] for name in names}))
    return found


def read_tasks(out: Path) -> dict[str, TaskRecord]:
    """The tasks of a folder that were started and haven't succeeded, by key."""
    found = {}
    for path in sorted(progress_folder(out).glob("*.jsonl")):
        with suppress(OSError, KeyError, TypeError):
            first, *lines = _lines(path) or [{}]
            told = [line for line in lines if "share" in line]
            failed = [str(line["failed"]) for line in lines if "failed" in line]
            found[path.stem] = TaskRecord(
                key=path.stem,
                title=str(first["title"]),
                kind=str(first["kind"]),
                started=float(first["at"]),
                is_alive=_is_alive(first),
                share=float(told[-1]["share"]) if told else 0.0,
                failed=failed[-1] if failed else None,
                rows=[line["row"] for line in told if line.get("row")],
            )
    return found


def _lines(path: Path) -> list[dict[str, Any]]:
    found = []
    for line in path.read_text().splitlines():
        with suppress(ValueError):  # the last one may be half written
            found.append(json.loads(line))
    return [line for line in found if isinstance(line, dict)]


def _line(noted: Mapping[str, Any]) -> str:
    return json.dumps(_finite(noted), ensure_ascii=False) + "\n"


def _finite(value: Any) -> Any:
    """JSON knows no NaN."""
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _is_alive(noted: Mapping[str, Any]) -> bool:
    """Whether the writer of a record lives, as far as this machine can tell: of another host it is believed."""
    if noted["host"] != socket.gethostname():
        return True
    try:
        os.kill(int(noted["pid"]), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def sweep_records(out: Path) -> None:
    """Remove what killed runs left."""
    folder = progress_folder(out)
    sweep_files(folder)
    for path in [*folder.glob("run-*.json"), *folder.glob("*.jsonl")]:
        with suppress(OSError):
            lines = _lines(path)
            if not lines or "pid" not in lines[0] or not _is_alive(lines[0]):
                path.unlink()
    with suppress(OSError):
        folder.rmdir()
