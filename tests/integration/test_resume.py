"""A run that is killed, stopped, or run again gives the tables of one that nothing disturbed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny
from tiny import TinyRun

from transferscope.execute.interrupts import NOTICE

TIMEOUT_SECONDS = 120


def start(study_file: Path, out: Path, *options: str) -> subprocess.Popen[str]:
    """A run in a process group of its own."""
    command = [sys.executable, "-m", "transferscope", "run", str(study_file), "--out", str(out), *options]
    return subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def wait_until(happened: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + TIMEOUT_SECONDS
    while not happened():
        assert process.poll() is None, "it ended before its time"
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.005)


def num_results(out: Path) -> int:
    return sum(1 for _ in out.glob("store/objects/*/*/done.json"))


def tables(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((out / "tables").iterdir())}


def is_clean(out: Path) -> bool:
    """Nothing half written can be seen, and the findings can be read."""
    json.loads((out / "findings.json").read_text())
    return not list(out.rglob(".*")) and not list((out / "store" / "unfinished").glob("*"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    """A part of the tiny study, with a search of rates, run in one go."""
    folder = tmp_path_factory.mktemp("undisturbed")
    document = tiny.searching("feature_reuse", "mistakes", "barriers")
    del document["analyses"]["barriers"]["targets"]
    document["targets"], document["seeds"] = {"scans": document["targets"]["scans"]}, [0, 1]
    return tiny.run(tiny.write(folder / "tiny.yaml", document), folder / "out")


def test_a_run_that_is_killed_twice_ends_with_the_same_tables(undisturbed: TinyRun, tmp_path: Path) -> None:
    out = tmp_path / "out"
    total = len(undisturbed.plan.graph)
    moments: dict[str, Callable[[], bool]] = {
        "halfway": lambda: num_results(out) >= total // 2,
        "drawing": lambda: len(list(out.glob("figures/*.svg"))) >= 2,
    }
    finished = 0
    for name, moment in moments.items():
        process = start(undisturbed.study_file, out, "--workers", "1", "--device", "cpu")
        wait_until(moment, process)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert num_results(out) > finished, f"{name}: what was finished was kept, and it went on"
        finished = num_results(out)
        assert (finished == total) == (name == "drawing")
        for path in out.glob("tables/*"):
            whole = undisturbed.out / "tables" / path.name
            assert path.name.startswith(".") or path.read_bytes() == whole.read_bytes(), (
                "what is seen is whole"
            )
    # what it would have left if it had been in the middle of writing a table
    (out / "tables" / f".mistakes.csv.{process.pid}-0a1b2c3d").write_text("half")
    rerun = tiny.run(undisturbed.study_file, out)
    assert rerun.exit_code == 0
    assert f"0 tasks succeeded, {total} were cached, 0 failed, 0 not run" in rerun.printed
    assert tables(out) == tables(undisturbed.out)
    assert is_clean(out)


def test_a_stopped_run_of_two_workers_goes_on_to_the_same_tables(
    undisturbed: TinyRun, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = start(undisturbed.study_file, out, "--workers", "2", "--device", "cpu")
    wait_until(lambda: num_results(out) >= 10, process)
    os.killpg(process.pid, signal.SIGINT)  # what Ctrl-C sends: to the workers too
    _, said = process.communicate(timeout=TIMEOUT_SECONDS)
    assert process.returncode == 130
    stopped = "\nstopped; finished tasks are kept, and the same command goes on from here\n"
    assert said == NOTICE + stopped, "the tasks under way were finished, and the workers said nothing"
    finished = num_results(out)
    total = len(undisturbed.plan.graph)
    assert 10 <= finished < total
    rerun = tiny.run(undisturbed.study_file, out)
    assert f"{total - finished} tasks succeeded, {finished} were cached, 0 failed, 0 not run" in rerun.printed
    assert tables(out) == tables(undisturbed.out), "whether one process computes or two"
    assert is_clean(out)


def test_a_finished_study_runs_no_task_again(undisturbed: TinyRun, monkeypatch: pytest.MonkeyPatch) -> None:
    before = tables(undisturbed.out)
    stamps = {path: path.stat().st_mtime_ns for path in undisturbed.out.glob("store/objects/*/*/*")}

    def forbidden(*_: object) -> None:
        raise AssertionError("a task was run")

    monkeypatch.setattr("transferscope.execute.loop.execute", forbidden)
    again = tiny.run(undisturbed.study_file, undisturbed.out)
    assert again.exit_code == 0
    total = len(undisturbed.plan.graph)
    assert f"0 tasks succeeded, {total} were cached, 0 failed, 0 not run" in again.printed
    assert tables(undisturbed.out) == before
    assert {path: path.stat().st_mtime_ns for path in undisturbed.out.glob("store/objects/*/*/*")} == stamps


def test_a_finished_study_is_gone_through_without_torch(undisturbed: TinyRun) -> None:
    """Importing it takes longer than all the rest."""
    arguments = ["run", str(undisturbed.study_file), "--out", str(undisturbed.out), "--device", "cpu"]
    script = (
        "import sys\n"
        "from transferscope.cli import app\n"
        "try:\n"
        f"    app({arguments!r})\n"
        "except SystemExit as ended:\n"
        "    assert not ended.code\n"
        "print(sorted({'torch', 'polars', 'altair'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "0 tasks succeeded" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"
