"""The program of each of the processes that `ranks` starts for one training."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path

import torch
import torch.distributed

from transferscope.execute.attempt import attempt
from transferscope.execute.events import Event
from transferscope.execute.store.remote import open_store
from transferscope.train.ranks import PATIENCE, Ranks

KEPT_OPEN_S = 2.0
"""How long the pipe stays open after success, so that the last event is read; ten times that after a failure."""


def _main(pipe: Connection) -> None:
    """The life of one of the processes."""
    work = pipe.recv()
    threading.Thread(target=_die_with_parent, args=(pipe,), daemon=True).start()
    rank, task = work["rank"], work["task"]
    device = torch.device(f"cuda:{rank}" if work["device"].startswith("cuda") else work["device"])
    if device.type == "cuda":
        torch.cuda.set_device(device)
    torch.distributed.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        init_method=work["meeting"],
        rank=rank,
        world_size=work["count"],
        timeout=PATIENCE,
    )

    def on_progress(share: float, row: Mapping[str, float]) -> None:
        if rank == 0:
            pipe.send(Event(key=task.key, what="progress", share=share, row=row))

    root, url = work["store"]
    event = attempt(task, open_store(Path(root), url), str(device), on_progress, ranks=Ranks.joined())
    pipe.send(event)
    time.sleep(KEPT_OPEN_S if event.what == "done" else 10 * KEPT_OPEN_S)
    os._exit(0)


def _die_with_parent(pipe: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        pipe.recv()
    os._exit(1)


if __name__ == "__main__":
    _main(Connection(int(sys.argv[1])))
