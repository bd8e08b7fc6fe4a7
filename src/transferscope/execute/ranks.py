"""One training by several processes of this machine, started for it.

They are started as programs of their own, since a worker of a pool may have no children of multiprocessing's. They
meet through a file, so that nothing listens to the network but what torch opens among them. Where one is killed all
are started again, and go on from the last snapshot.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

from transferscope.core.errors import BadInput, TaskFailed
from transferscope.execute.events import Event
from transferscope.execute.store.checksums import Damaged
from transferscope.execute.store.local import Store

if TYPE_CHECKING:
    from transferscope.study.task import Task

MAX_ATTEMPTS = 3
"""How often they are started where one is killed."""
GRACE_S = 2.0
"""How long to wait, when one fails, for the news that another was killed, which would be why."""


def train_together(
    task: Task,
    store: Store,
    device: str,
    count: int,
    on_progress: Callable[[float, Mapping[str, float]], None],
) -> None:
    """Train with so many processes; the result is in the store afterwards.

    Raises:
        TaskFailed: the training failed for a reason that can be named, or a process was killed too often.
        BadInput: too few GPUs.
        Damaged: a result that it reads is.
        RuntimeError: anything else, with the traceback of the process.
    """
    _check_devices(device, count)
    reason = ""
    for _ in range(MAX_ATTEMPTS):
        with tempfile.TemporaryDirectory(prefix="transferscope-") as folder, contextlib.ExitStack() as stack:
            meeting = f"file://{folder}/meeting"
            work = [
                {"task": task, "store": (str(store.root), store.url), "device": device, "meeting": meeting}
                | {"rank": rank, "count": count}
                for rank in range(count)
            ]
            ranks = [stack.enter_context(_started(one)) for one in work]
            died = _attend(ranks, task, on_progress)
            if not died:
                return
            reason = died
    raise TaskFailed(f"{reason}, {MAX_ATTEMPTS} times; is there enough memory for {count} processes?")


@dataclass(frozen=True, kw_only=True)
class _Rank:
    number: int
    process: subprocess.Popen[bytes]
    pipe: Connection


@contextlib.contextmanager
def _started(work: Mapping[str, Any]) -> Any:
    ours, theirs = multiprocessing.Pipe()
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    environment.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # that all parameters are used is no news
    if sys.platform == "linux":
        environment.setdefault(
            "GLOO_SOCKET_IFNAME", "lo"
        )  # whatever the name of this machine means elsewhere
    process = subprocess.Popen(
        [sys.executable, "-m", "transferscope.execute.one_rank", str(theirs.fileno())],
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,  # Ctrl-C is the run's to handle
    )
    theirs.close()
    try:
        with contextlib.suppress(OSError):  # where it died at once, who attends sees it
            ours.send(work)
        yield _Rank(number=work["rank"], process=process, pipe=ours)
    finally:
        process.kill()
        process.wait()
        ours.close()


def _attend(ranks: list[_Rank], task: Task, on_progress: Callable[[float, Mapping[str, float]], None]) -> str:
    """Wait until all have ended; how one was killed, or nothing."""
    left = {rank.pipe: rank for rank in ranks}
    failed: Event | None = None
    end: float | None = None
    while left:
        timeout = None if end is None else max(0.0, end - time.monotonic())
        ready = wait(list(left), timeout)
        for pipe in ready:
            assert isinstance(pipe, Connection)
            try:
                event: Event = pipe.recv()
            except (EOFError, OSError):
                rank = left[pipe]
                return f"process {rank.number} of {len(ranks)} ended with exit code {rank.process.wait()}"
            if event.what == "progress":
                on_progress(event.share, event.row)
                continue
            del left[pipe]
            if event.what == "damaged":
                raise Damaged(_damaged_input(task, event), event.reason)
            if event.what == "failed":
                if event.details == event.reason:  # it has a name: no consequence of another's end
                    raise TaskFailed(event.reason)
                failed, end = failed or event, end or time.monotonic() + GRACE_S
        if failed is not None and (not ready or not left):
            raise RuntimeError(failed.details)
    return ""


def _damaged_input(task: Task, event: Event) -> str:
    return next((key for key in task.inputs if key in event.reason), task.inputs[0])


def _check_devices(device: str, count: int) -> None:
    if not device.startswith("cuda"):
        return
    import torch

    here = torch.cuda.device_count()
    if here < count:
        raise BadInput(
            f"num_workers {count} needs a GPU for each process, here are {here}. Set training.num_workers to {here}, "
            "or train on several machines with torchrun; see docs/scaling.md."
        )
