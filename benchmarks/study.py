"""The default study in one process, over its floor: its own training steps and forward passes alone.

The floor is measured while the study runs: CPU time within the forward passes of whole networks (without what hooks
compute there), backward passes, gradient clipping and steps of the optimizer. All else counts as overhead: imports,
drawing the data, reading and writing, Grams, bootstraps, spectra, figures, the report. Afterwards the same command
runs again, with nothing left to compute.

BENCH_VARIANT names a variant of the study (quick, say); BENCH_OUT is where it runs, a new folder by default.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import Quantity, Ratio, Result, Size, Time, timed

JOB = "study"
FLOOR = "the floor: training steps and forward passes alone"


def run(size: Size, rounds: int) -> Result:
    variant = os.environ.get("BENCH_VARIANT", "" if size == "full" else "quick")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(os.environ.get("BENCH_OUT", folder)) / "study"
        return _measured(variant, out, size, rounds)


def _measured(variant: str, out: Path, size: Size, rounds: int) -> Result:
    name = "the default study" + (f", variant {variant}" if variant else "")
    overrides = [] if size == "full" else ["--set", "training.epochs=1", "--set", "training.keep_epochs=[]"]
    command = [sys.executable, "-m", "benchmarks.instrumented", variant or "none", str(out), *overrides]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    found = json.loads((out / "floor.json").read_text())
    result = Result(
        times=[
            Time(case=name, candidate="all of it", wall_seconds=found["wall"], cpu_seconds=found["cpu"]),
            Time(case=name, candidate=FLOOR, wall_seconds=found["floor_wall"], cpu_seconds=found["floor"]),
        ],
        ratios=[
            Ratio(
                case=name,
                ours="all of it",
                against=FLOOR,
                wall=found["floor_wall"] / found["wall"],
                cpu=found["floor"] / found["cpu"],
            )
        ],
        notes=["Run once; floor and whole are of the same run."],
    )
    result.quantities += [
        Quantity(case="where the time goes", what=part, value=100 * share, unit="% of the CPU time")
        for part, share in found["parts"].items()
    ]
    again = [sys.executable, "-m", "transferscope", "run", str(out / "study.yaml"), "--out", str(out)]
    reruns = [
        timed(lambda: subprocess.run(again, check=True, stdout=subprocess.DEVNULL)) for _ in range(rounds)
    ]
    result.quantities += [
        Quantity(
            case=name,
            what=f"a warm rerun, {clock}",
            value=statistics.median(run[place] for run in reruns),
            unit="s",
        )
        for place, clock in ((2, "CPU time"), (1, "wall time"))
    ]
    return result
