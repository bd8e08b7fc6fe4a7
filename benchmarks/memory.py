"""Peak memory of one candidate in a process of its own: python -m benchmarks.memory JOB CASE CANDIDATE SIZE."""

from __future__ import annotations

import importlib
import json
import resource
import sys
from pathlib import Path

import torch

from benchmarks.measure import FORWARD
from benchmarks.peers import peer


def main(job: str, case_name: str, candidate: str, size: str) -> None:
    torch.set_num_threads(1)
    case = next(
        case for case in importlib.import_module(f"benchmarks.{job}").cases(size) if case.name == case_name
    )
    candidates = {each.name: each for each in (*case.ours, *case.peers)}
    if candidate in candidates and candidates[candidate].module:
        peer(candidates[candidate].module)
    runs = {name: each.run for name, each in candidates.items()} | {FORWARD: case.forward}
    before = start_anew()
    runs[candidate]()
    print(json.dumps((peak_bytes() - before) / 2**20))


def start_anew() -> float:
    """Resident bytes now; from here on `peak_bytes` counts."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return _status("VmRSS")
    except OSError:  # not on this system: the peak so far, imports and all
        return peak_bytes()


def peak_bytes() -> float:
    try:
        return _status("VmHWM")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) * 1024 for line in lines if line.startswith(name))


if __name__ == "__main__":
    main(*sys.argv[1:])
