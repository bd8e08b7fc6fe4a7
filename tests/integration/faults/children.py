"""Runs of the command line in children of a process that imported everything and ran nothing.

A child costs no start: it is forked, disturbed by what `arm` set up, and ends. The one that goes on where others were
stopped (`Resumer`) lives on, so that it draws a report in a fraction of the first time.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

LIMIT_S = 120
"""A run that takes longer hangs."""
PR_SET_CHILD_SUBREAPER = 36
IDLE = ("polars-ooc-clea",)
"""Threads that sleep from the import of their library on, and that nobody misses in a child."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a child ended."""

    code: int
    """Exit code, or minus the signal that killed it."""
    said: str
    """What it wrote to its two streams."""


def adopt_orphans() -> None:
    """Workers of a killed driver become children of this process, so that it sees them end."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def start(study: Path, out: Path, workers: int, before: Callable[[], None]) -> int:
    """Fork a child that runs a study by the command line; its process number."""
    threads = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    others = [name for name in threads if name not in IDLE]
    assert len(others) == 1, f"a fork needs a process of one thread, this one has {threads}"
    pid = os.fork()
    if pid:
        return pid
    code = 99
    try:
        os.setsid()
        signal.alarm(LIMIT_S)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        stream = os.open(_log(pid=os.getpid(), out=out), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(stream, 1)
        os.dup2(stream, 2)
        os.close(stream)
        options = ["--workers", str(workers), "--device", "cpu"]
        sys.argv = ["transferscope", "run", str(study), "--out", str(out), *options]
        from transferscope.cli import main
        from transferscope.execute.progress import records

        records.EVERY_S = 0.0  # as many steps each time, however long they take
        before()
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 98
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def wait(pid: int, out: Path) -> Ended:
    """Wait for a child, and for the processes that it left behind."""
    _, status = os.waitpid(pid, 0)
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            os.waitpid(-pid, os.WNOHANG)
        except ChildProcessError:
            break
        time.sleep(0.01)
    log = _log(pid=pid, out=out)
    said = log.read_text(errors="replace")
    log.unlink()
    return Ended(code=os.waitstatus_to_exitcode(status), said=said)


def _log(*, pid: int, out: Path) -> Path:
    return out.with_name(f"{out.name}-{pid}.log")


class Resumer:
    """A process that lives on and does one job after the other.

    Args:
        work: one job; what it returns is sent back.
    """

    def __init__(self, work: Callable[[Any], Any]) -> None:
        self._pipe, theirs = Pipe()
        self.pid = os.fork()
        if self.pid == 0:
            self._pipe.close()
            with contextlib.suppress(EOFError, KeyboardInterrupt):
                while True:
                    job = theirs.recv()
                    try:
                        theirs.send((True, work(job)))
                    except Exception:
                        theirs.send((False, traceback.format_exc()))
            os._exit(0)
        theirs.close()

    def give(self, job: Any) -> None:
        """Hand over a job."""
        self._pipe.send(job)

    def take(self) -> Any:
        """The outcome of the job that was given first."""
        good, outcome = self._pipe.recv()
        if not good:
            raise RuntimeError(outcome)
        return outcome

    def close(self) -> None:
        """End it."""
        self._pipe.close()
        os.waitpid(self.pid, 0)
