"""Passes and steps of a ResNet-18 at 224 px, with and without freed memory kept by the process.

Each measurement has a process of its own, as an allocator remembers what was done before:
python -m benchmarks.allocation WORK WAY SIZE.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from benchmarks.measure import ROOT, Disagreement, Quantity, Ratio, Result, Size, Time, median_ratios, timed
from benchmarks.memory import peak_bytes, start_anew
from benchmarks.networks import ResNet, images
from transferscope.core.allocator import freed_memory_kept

JOB = "allocation"
KEPT, USUAL = "freed memory kept, as in a task", "as glibc does"
WORK = ("forward passes", "training steps")
NUM_CLASSES = 10


@dataclass(frozen=True, kw_only=True)
class _Measured:
    cpu: float
    wall: float
    peak_mb: float
    sums: list[float]
    """Of what was computed: equal, or nothing is said."""


def run(size: Size, rounds: int) -> Result:
    result = Result()
    for work in WORK:
        found: dict[str, list[_Measured]] = {KEPT: [], USUAL: []}
        for turn in range(rounds):
            for way in (KEPT, USUAL) if turn % 2 else (USUAL, KEPT):
                found[way].append(_in_a_process(work, way, size))
        _add(result, f"{work}, batches of {_shape(size)[0]}", found)
    return result


def _add(result: Result, case: str, found: dict[str, list[_Measured]]) -> None:
    sums = [each.sums for way in found.values() for each in way]
    if any(own != sums[0] for own in sums):
        raise Disagreement(f"{case}: the results are not equal to the bit")
    result.notes.append(f"{case}: equal to the bit")
    for way, measured in found.items():
        result.times.append(
            Time(
                case=case,
                candidate=way,
                wall_seconds=statistics.median(each.wall for each in measured),
                cpu_seconds=statistics.median(each.cpu for each in measured),
            )
        )
        peak = statistics.median(each.peak_mb for each in measured)
        result.quantities.append(Quantity(case=case, what=f"{way}: peak memory", value=peak, unit="MB"))
    seconds = {way: [(each.wall, each.cpu) for each in measured] for way, measured in found.items()}
    result.ratios.append(
        Ratio(case=case, ours=KEPT, against=USUAL, **median_ratios(seconds[KEPT], seconds[USUAL]))
    )


def _in_a_process(work: str, way: str, size: Size) -> _Measured:
    command = [sys.executable, "-m", "benchmarks.allocation", work, way, size]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(f"{work} could not be measured:\n{done.stderr}")
    return _Measured(**json.loads(done.stdout.splitlines()[-1]))


def _shape(size: Size) -> tuple[int, int, int]:
    """Images of a batch, pixels of their side, batches."""
    return (16, 224, 8) if size == "full" else (2, 32, 1)


def main(work: str, way: str, size: Size) -> None:
    torch.set_num_threads(1)
    batch, side, repeats = _shape(size)
    model: nn.Module = ResNet(64, NUM_CLASSES, large=True, seed=0)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    inputs = images(batch, side).contiguous(memory_format=torch.channels_last)
    once = _pass if work == WORK[0] else _step
    before = start_anew()
    with freed_memory_kept() if way == KEPT else nullcontext():
        once(model, inputs)  # what every process pays once
        found, wall, cpu = timed(lambda: [once(model, inputs) for _ in range(repeats)])
    peak_mb = (peak_bytes() - before) / 2**20
    sums = [float(value) for values in found for value in values]
    print(json.dumps(asdict(_Measured(cpu=cpu, wall=wall, peak_mb=peak_mb, sums=sums))))


@torch.no_grad()
def _pass(model: nn.Module, inputs: Tensor) -> Tensor:
    return model.eval()(inputs).sum(1)


def _step(model: nn.Module, inputs: Tensor) -> Tensor:
    """The loss and each gradient's sum; the weights stay."""
    model.train().zero_grad()
    labels = torch.arange(len(inputs)) % NUM_CLASSES
    loss = nn.functional.cross_entropy(model(inputs), labels)
    loss.backward()
    grads = [parameter.grad.sum() for parameter in model.parameters() if parameter.grad is not None]
    return torch.stack([loss.detach(), *grads])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], "full" if sys.argv[3] == "full" else "tiny")
