"""Two processes that run a function of a test together, over gloo."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch


def run_in_two(module: str, function: str, *arguments: str) -> list[Any]:
    """What `module.function(*arguments)` returns in each of two processes: tensors, by torch.save.

    Args:
        module: found beside this file.
        function: takes texts, returns tensors in dicts and lists.
        arguments: passed on.
    """
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        processes = [
            subprocess.Popen(
                [sys.executable, __file__, folder, str(rank), module, function, *arguments],
                env=environment,
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(2)
        ]
        for process in processes:
            _, complained = process.communicate(timeout=300)
            assert process.returncode == 0, complained
        return [torch.load(f"{folder}/{rank}.pt", weights_only=True) for rank in range(2)]


if __name__ == "__main__":
    place, number, name, called, *given = sys.argv[1:]
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{place}/meeting", rank=int(number), world_size=2
    )
    found = getattr(importlib.import_module(name), called)(*given)
    torch.save(found, Path(place) / f"{number}.pt")
