"""A study in this process, with a clock around its training steps and forward passes.

python -m benchmarks.instrumented VARIANT DIR [--set KEY=VALUE ...]
"""

from __future__ import annotations

import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

STARTED = time.perf_counter()


class Floor:
    """CPU and wall seconds within what the study can't do without."""

    def __init__(self) -> None:
        self.cpu: dict[str, float] = defaultdict(float)
        self.wall = 0.0
        self._depth = 0

    def clocked(self, part: str, function: Callable[..., Any], sign: int = 1) -> Callable[..., Any]:
        """The function with a clock; within another one's time it counts there, with sign -1 it is taken off."""

        @wraps(function)
        def timed(*args: Any, **options: Any) -> Any:
            if self._depth and sign > 0:
                return function(*args, **options)
            self._depth += 1
            wall, cpu = time.perf_counter(), time.process_time()
            try:
                return function(*args, **options)
            finally:
                self._depth -= 1
                if sign > 0 or self._depth:
                    self.cpu[part] += sign * (time.process_time() - cpu)
                    self.wall += sign * (time.perf_counter() - wall)

        return timed

    @property
    def total(self) -> float:
        return sum(self.cpu.values())


def main(variant: str, out: str, *options: str) -> int:
    import torch
    from rich.console import Console
    from torch import nn

    torch.set_num_threads(1)
    from transferscope.api.run import RunOptions, run_study
    from transferscope.execute import jobs
    from transferscope.metrics.similarity import capture
    from transferscope.study.file import load_study
    from transferscope.study.templates import embedded_study
    from transferscope.train import optimizer

    floor = Floor()
    nn.Module.__call__ = floor.clocked("forward", nn.Module.__call__)  # type: ignore[method-assign]
    torch.Tensor.backward = floor.clocked("backward", torch.Tensor.backward)  # type: ignore[method-assign]
    optimizer.Sgd.step = floor.clocked("optimizer", optimizer.Sgd.step)  # type: ignore[method-assign]
    nn.utils.clip_grad_norm_ = floor.clocked("optimizer", nn.utils.clip_grad_norm_)
    capture.gram = floor.clocked("Grams in hooks", capture.gram, sign=-1)
    tasks: dict[str, float] = defaultdict(float)
    run_task = jobs.run_task

    @wraps(run_task)
    def watched(task: Any, *args: Any, **more: Any) -> Any:
        cpu, pure = time.process_time(), floor.total
        try:
            return run_task(task, *args, **more)
        finally:
            kind = task.payload.analysis if task.kind == "measure" else task.kind
            tasks[kind] += (time.process_time() - cpu) - (floor.total - pure)

    jobs.run_task = watched
    before = time.process_time()
    overrides = [value for flag, value in zip(options[::2], options[1::2], strict=True) if flag == "--set"]
    study = load_study(embedded_study(), overrides=overrides, variant=None if variant == "none" else variant)
    code = run_study(study, RunOptions(out=Path(out), workers=1, device="cpu"), Console(quiet=True))
    cpu = time.process_time()
    parts = {
        "forward passes": floor.cpu["forward"] + floor.cpu["Grams in hooks"],
        "backward passes": floor.cpu["backward"],
        "optimizer": floor.cpu["optimizer"],
        "imports": before,
        **{f"{kind}, apart from these": seconds for kind, seconds in tasks.items()},
    }
    parts["planning, tables, figures, report"] = cpu - sum(parts.values())
    found = {
        "cpu": cpu,
        "wall": time.perf_counter() - STARTED,
        "floor": floor.total,
        "floor_wall": floor.wall,
        "parts": {name: seconds / cpu for name, seconds in sorted(parts.items(), key=lambda part: -part[1])},
    }
    (Path(out) / "floor.json").write_text(json.dumps(found, indent=1))
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
