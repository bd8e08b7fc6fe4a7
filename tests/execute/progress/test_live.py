"""What a run notes of itself, and what others read of it: also where a run was killed, and of a half-written line."""

from __future__ import annotations

import http.client
import json
import math
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tiny import TinyRun

from transferscope.cli.live.server import WatchServer
from transferscope.cli.live.state import Watcher, short
from transferscope.core.errors import BadInput
from transferscope.execute.events import Event
from transferscope.execute.progress.records import (
    Recorder,
    progress_folder,
    read_runs,
    read_tasks,
    sweep_records,
)
from transferscope.execute.progress.several import Several
from transferscope.execute.progress.terminal import LineProgress, RemainingTime
from transferscope.study.task import Task

LOST = "train P-T digits seed 0"
HOSTILE = "<img src=x onerror=alert(1)>"


def test_where_nothing_can_be_written_the_run_goes_on_without(tiny_run: TinyRun, tmp_path: Path) -> None:
    task = train_task(tiny_run)
    progress_folder(tmp_path).write_text("in the way")
    recorder = Recorder(tmp_path)
    recorder.begin([task], 0)
    recorder.started(task)
    recorder.progressed(task, 0.5, {"train_loss": 1.0})
    recorder.ended(task, Event(key=task.key, what="failed", reason="a reason"))
    recorder.finish()
    assert progress_folder(tmp_path).read_text() == "in the way"


def test_a_half_written_record_of_a_killed_run_is_swept_away(tmp_path: Path) -> None:
    left = progress_folder(tmp_path) / ".run-4194305.json.4194305-0a1b2c3d"
    left.parent.mkdir()
    left.write_text("half")
    sweep_records(tmp_path)
    assert not left.parent.exists()


@pytest.fixture
def half(tiny_run: TinyRun, tmp_path: Path) -> Path:
    """The tiny run without one training and what was measured on it."""
    folder = tmp_path / "half"
    shutil.copytree(tiny_run.out, folder)
    for task in of_half(tiny_run):
        shutil.rmtree(folder / "store/objects" / task.key[:2] / task.key)
    return folder


def of_half(tiny_run: TinyRun) -> list[Task]:
    """The tasks that `half` lacks."""
    graph = tiny_run.plan.graph
    lost = {next(task.key for task in graph if task.title == LOST)}
    for task in graph:
        if lost & set(task.inputs):
            lost.add(task.key)
    return [task for task in graph if task.key in lost]


def train_task(tiny_run: TinyRun) -> Task:
    return next(task for task in tiny_run.plan.graph if task.title == LOST)


def watcher(folder: Path, tiny_run: TinyRun) -> Watcher:
    return Watcher(folder, lambda: tiny_run.plan)


ROW = {"epoch": 1, "learning_rate": 0.1, "train_loss": 2.5, "train_metric": 0.5, "test_loss": math.nan}


def test_what_a_run_notes_is_read_back_and_gone_when_it_ends(tiny_run: TinyRun, tmp_path: Path) -> None:
    task = train_task(tiny_run)
    recorder = Recorder(tmp_path)
    recorder.begin([task], 3)
    recorder.started(task)
    recorder.progressed(task, 0.0, {"epoch": 0, "test_loss": 3.0})
    recorder.progressed(task, 0.5, ROW)
    (run,) = read_runs(tmp_path)
    assert (run.pid, run.share, run.seconds_left) == (os.getpid(), 0.0, None)
    noted = read_tasks(tmp_path)[task.key]
    assert (noted.title, noted.kind, noted.share, noted.is_alive) == (LOST, "train", 0.5, True)
    assert noted.rows == [{"epoch": 0, "test_loss": 3.0}, {**ROW, "test_loss": None}]
    recorder.ended(task, Event(key=task.key, what="done"))
    recorder.finish()
    assert not progress_folder(tmp_path).exists()


def test_a_line_that_is_half_there_is_not_read(tiny_run: TinyRun, tmp_path: Path) -> None:
    task = train_task(tiny_run)
    recorder = Recorder(tmp_path)
    recorder.begin([task], 0)
    recorder.started(task)
    recorder.progressed(task, 0.5, ROW)
    with (progress_folder(tmp_path) / f"{task.key}.jsonl").open("a") as file:
        file.write('{"share": 0.75, "row": {"epo')
    assert len(read_tasks(tmp_path)[task.key].rows) == 1
    (progress_folder(tmp_path) / "other.jsonl").write_text("no JSON\n[1]\n3\n")
    (progress_folder(tmp_path) / "run-1.json").write_text("[]")
    assert len(read_runs(tmp_path)) == len(read_tasks(tmp_path)) == 1


def test_a_killed_run_is_not_under_way_and_swept_by_the_next(tiny_run: TinyRun, half: Path) -> None:
    code = (
        "import os, pickle, sys\n"
        "from pathlib import Path\n"
        "from transferscope.execute.progress.records import Recorder\n"
        "task = pickle.loads(sys.stdin.buffer.read())\n"
        f"recorder = Recorder(Path({str(half)!r}))\n"
        "recorder.begin([task], 0)\n"
        "recorder.started(task)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    import pickle

    task = train_task(tiny_run)
    subprocess.run([sys.executable, "-c", code], input=pickle.dumps(task), check=False)
    assert len(list(progress_folder(half).iterdir())) == 2
    snapshot = watcher(half, tiny_run).look()
    assert not snapshot.is_running
    assert snapshot.counts["waiting"] == len(of_half(tiny_run))
    sweep_records(half)
    assert not progress_folder(half).exists()


def test_a_snapshot_counts_what_the_store_and_the_records_say(tiny_run: TinyRun, half: Path) -> None:
    task, missing = train_task(tiny_run), of_half(tiny_run)
    watch = watcher(half, tiny_run)
    total = len(tiny_run.plan.graph)
    before = watch.look()
    assert before.counts == {"done": total - len(missing), "running": 0, "failed": 0, "waiting": len(missing)}
    assert before.share == pytest.approx(1 - len(missing) / total)
    assert short(before) == f"{total - len(missing)}/{total} tasks, no run is under way"
    recorder = Recorder(half)
    recorder.begin(missing, total - len(missing))
    recorder.started(task)
    recorder.progressed(task, 0.5, ROW)
    under_way = watch.look()
    assert (under_way.counts["running"], under_way.is_running) == (1, True)
    (running,) = under_way.running
    assert (running.title, running.share, running.loss) == (LOST, 0.5, 2.5)
    groups = {group.name: group.counts for group in under_way.groups}
    assert sum(sum(counts.values()) for counts in groups.values()) == total
    assert groups["train P-T on digits"]["running"] == 1
    recorder.ended(task, Event(key=task.key, what="failed", reason=HOSTILE))
    recorder.finish()
    after = watch.look()
    assert after.failed == ({"title": LOST, "reason": HOSTILE},)
    assert watcher(tiny_run.out, tiny_run).look().is_complete


def test_curves_are_those_of_the_stored_histories_and_come_once(tiny_run: TinyRun, half: Path) -> None:
    import polars as pl

    watch = watcher(half, tiny_run)
    watch.look()
    first = watch.curves()
    trainings = {task.key for task in tiny_run.plan.graph if task.kind == "train"}
    assert {one["key"] for one in first["trainings"]} == trainings - {train_task(tiny_run).key}
    for one in first["trainings"][:3]:
        stored = pl.read_parquet(tiny_run.store.path(one["key"]) / "history.parquet")
        assert one["rows"] == [list(row) for row in stored.select(first["columns"]).rows()]
    watch.look()
    assert watch.curves(first["version"])["trainings"] == []
    recorder = Recorder(half)
    recorder.begin([train_task(tiny_run)], 0)
    recorder.started(train_task(tiny_run))
    recorder.progressed(train_task(tiny_run), 0.5, ROW)
    watch.look()
    (changed,) = watch.curves(first["version"])["trainings"]
    assert (changed["title"], changed["state"]) == (LOST, "running")
    assert changed["rows"] == [[1, 2.5, None, 0.5, None]]


class Breaks:
    """A listener whose disk is full."""

    def begin(self, to_do: list[Task], num_cached: int) -> None: ...
    def added(self, tasks: list[Task]) -> None: ...
    def started(self, task: Task) -> None:
        raise OSError(28, "No space left on device")

    progressed = ended = finish = lambda *_: pytest.fail("it is told nothing more")


def test_a_listener_that_fails_is_said_once_and_the_run_goes_on(tiny_run: TinyRun) -> None:
    from rich.console import Console

    said: list[str] = []
    several = Several(LineProgress(Console(quiet=True)), {"noting": Breaks()}, say=said.append)
    task = train_task(tiny_run)
    several.begin([task], 0)
    several.started(task)
    several.progressed(task, 0.5, ROW)
    several.ended(task, Event(key=task.key, what="done"))
    several.finish()
    assert said == [
        "noting failed, and the run goes on without it: OSError: [Errno 28] No space left on device"
    ]


@pytest.fixture
def server(half: Path, tiny_run: TinyRun) -> Iterator[WatchServer]:
    with WatchServer(watcher(half, tiny_run)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(server: WatchServer, path: str, **headers: str) -> tuple[int, Any, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    connection.request("GET", path, headers={name.capitalize(): value for name, value in headers.items()})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, answer.headers, content


def test_the_page_is_for_this_machine_alone(server: WatchServer) -> None:
    port = server.server_port
    assert server.server_address[0] == "127.0.0.1"
    for host in (f"127.0.0.1:{port}", f"localhost:{port}"):
        assert ask(server, "/state", host=host)[0] == 200
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1:1", f"127.0.0.1.evil.example:{port}", ""):
        status, _, content = ask(server, "/state", host=host)
        assert status == 403
        assert b"tiny" not in content
    assert ask(server, "/state", origin="http://evil.example")[0] == 403
    assert ask(server, "/state", origin=f"http://127.0.0.1:{port}")[0] == 200
    _, headers, _ = ask(server, "/")
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["Access-Control-Allow-Origin"] is None


@pytest.mark.parametrize(
    "path", ["/../records.py", "/study.yaml", "/page.js/..", "//etc/passwd", "/%2e%2e/x"]
)
def test_nothing_else_is_served(server: WatchServer, path: str) -> None:
    assert ask(server, path)[0] == 404


def test_the_state_is_served_as_json(server: WatchServer) -> None:
    status, headers, content = ask(server, "/state?since=none")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    document = json.loads(content)
    assert document["study"] == "tiny"
    version = document["curves"]["version"]
    assert json.loads(ask(server, f"/state?since={version}")[2])["curves"]["trainings"] == []


def test_a_port_that_is_taken_is_told(server: WatchServer, half: Path, tiny_run: TinyRun) -> None:
    with pytest.raises(BadInput, match=f"--port {server.server_port}: can't listen there"):
        WatchServer(watcher(half, tiny_run), server.server_port)


def test_the_first_small_tasks_give_no_estimate_of_days(monkeypatch: pytest.MonkeyPatch) -> None:
    task = SimpleNamespace
    small, large = task(key="a", cost=1.0), task(key="b", cost=99_999.0)
    now = [0.0]
    monkeypatch.setattr("transferscope.execute.progress.terminal.time.monotonic", lambda: now[0])
    clock = RemainingTime()
    clock.begin([small, large])  # type: ignore[list-item]
    clock.started(small)  # type: ignore[arg-type]
    now[0] = 5.0
    clock.ended(small, Event(key="a", what="done"))  # type: ignore[arg-type]
    assert clock.seconds_left() is None
    clock.started(large)  # type: ignore[arg-type]
    clock.progressed(large, 0.5)  # type: ignore[arg-type]
    now[0] = 30.0
    assert clock.seconds_left() == pytest.approx(30.0, rel=1e-3)
    clock.progressed(large, 0.001)  # type: ignore[arg-type]
    now[0] = 700.0  # of a long study something is said after ten minutes
    assert clock.seconds_left() == pytest.approx(700 * 999, rel=0.02)
