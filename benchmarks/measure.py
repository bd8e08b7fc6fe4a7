"""Candidates for the same work: whether they agree, then their times in turns, and their memory."""

from __future__ import annotations

import json
import math
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).resolve().parent.parent
Size = Literal["full", "tiny"]
LEAST_SECONDS = 0.05
"""A candidate that is quicker is run several times for one measurement."""
ONCE = "once"
"""Note of a time that was taken a single time."""


class Disagreement(Exception):
    """Candidates for the same work gave different results: nothing is timed."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One way to do the work."""

    name: str
    run: Callable[[], Any]
    memory: bool = False
    """Whether its memory is measured, in a process of its own, above that of the case's `forward`."""
    module: str = ""
    """The other's module, for a peer: imported before anything is measured."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """Some work, and the ways to do it."""

    name: str
    ours: Sequence[Candidate]
    peers: Sequence[Candidate]
    agree: Callable[[Mapping[str, Any]], str]
    """Says in words how far the results, by candidate, agree; raises Disagreement."""
    forward: Callable[[], Any] | None = None
    """What the memory is counted above: the forward passes alone."""


@dataclass(kw_only=True)
class Time:
    """Medians of a candidate."""

    case: str
    candidate: str
    wall_seconds: float
    cpu_seconds: float
    memory_mb: float | None = None
    """Peak of resident memory above the forward passes."""
    note: str = ""


@dataclass(kw_only=True)
class Ratio:
    """How many times as long the other way takes: medians over the rounds."""

    case: str
    ours: str
    against: str
    wall: float
    cpu: float


@dataclass(kw_only=True)
class Quantity:
    """A number for itself, such as a duration that has a limit."""

    case: str
    what: str
    value: float
    unit: str


@dataclass(kw_only=True)
class Curve:
    """How cost grows."""

    case: str
    against: str
    sizes: list[float]
    wall_seconds: list[float]
    cpu_seconds: list[float]
    memory_mb: list[float | None] = field(default_factory=list)
    exponent: float = math.nan
    """Of the CPU time: slope of the line through the logarithms, over the upper half of the sizes."""
    statement: str = ""


@dataclass(kw_only=True)
class Result:
    """What a job found."""

    times: list[Time] = field(default_factory=list)
    ratios: list[Ratio] = field(default_factory=list)
    quantities: list[Quantity] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """How far the candidates' results agree, and what was left out."""


def clock() -> tuple[float, float]:
    """Wall time and CPU time, the latter of this process and of its finished children, in seconds."""
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    cpu = own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
    return time.perf_counter(), cpu


def timed(work: Callable[[], Any], repeats: int = 1) -> tuple[Any, float, float]:
    """What the work gives, and its wall and CPU seconds for one run."""
    found = None
    wall, cpu = clock()
    for _ in range(repeats):
        found = work()
    wall_after, cpu_after = clock()
    return found, (wall_after - wall) / repeats, (cpu_after - cpu) / repeats


def compare(job: str, case: Case, size: Size, rounds: int) -> Result:
    """Runs all candidates of a case in turns, once their results are known to agree."""
    candidates = [*case.ours, *case.peers]
    found, repeats = {}, {}
    for each in candidates:
        # also what warms up caches and allocators
        found[each.name], wall, _ = timed(each.run)
        repeats[each.name] = max(1, math.ceil(LEAST_SECONDS / max(wall, 1e-6))) if wall < LEAST_SECONDS else 1
    note = f"{case.name}: {case.agree(found)}"
    found.clear()
    seconds: dict[str, list[tuple[float, float]]] = {each.name: [] for each in candidates}
    for turn in range(rounds):
        # another one is first in each round
        for each in candidates[turn % len(candidates) :] + candidates[: turn % len(candidates)]:
            _, wall, cpu = timed(each.run, repeats[each.name])
            seconds[each.name].append((wall, cpu))
    times = [
        Time(
            case=case.name,
            candidate=each.name,
            wall_seconds=statistics.median(wall for wall, _ in seconds[each.name]),
            cpu_seconds=statistics.median(cpu for _, cpu in seconds[each.name]),
            memory_mb=_memory_above(job, case, each, size),
        )
        for each in candidates
    ]
    ratios = [
        Ratio(
            case=case.name,
            ours=own.name,
            against=other.name,
            **median_ratios(seconds[own.name], seconds[other.name]),
        )
        for own in case.ours
        for other in case.peers
    ]
    return Result(times=times, ratios=ratios, notes=[note])


def compare_all(job: str, cases: Iterable[Case], size: Size, rounds: int) -> Result:
    """The results of several cases together."""
    whole = Result()
    for case in cases:
        found = compare(job, case, size, rounds)
        whole.times += found.times
        whole.ratios += found.ratios
        whole.notes += found.notes
    return whole


def median_ratios(ours: list[tuple[float, float]], others: list[tuple[float, float]]) -> dict[str, float]:
    """Median over the rounds of their time over ours: what the machine does meanwhile hits both."""
    wall, cpu = (
        statistics.median(
            other[clock] / max(own[clock], 1e-9) for own, other in zip(ours, others, strict=True)
        )
        for clock in (0, 1)
    )
    return {"wall": wall, "cpu": cpu}


def _memory_above(job: str, case: Case, candidate: Candidate, size: Size) -> float | None:
    if not candidate.memory or size == "tiny":
        return None
    return peak_memory(job, case.name, candidate.name, size) - peak_memory(job, case.name, FORWARD, size)


FORWARD = "forward"
RETURNED_AT_ONCE = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
"""For glibc: what is freed goes back to the system, else what an allocator keeps would hide tens of MB, or add them."""


def peak_memory(job: str, case: str, candidate: str, size: Size) -> float:
    """MB that a run adds to the resident memory of a fresh process at its peak."""
    command = [sys.executable, "-m", "benchmarks.memory", job, case, candidate, size]
    environment = os.environ | RETURNED_AT_ONCE
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)
    if done.returncode:
        raise RuntimeError(f"the memory of {candidate} could not be measured:\n{done.stderr}")
    return float(json.loads(done.stdout.splitlines()[-1]))


def largest_difference(found: Mapping[str, Any], reference: str, tolerance: float) -> str:
    """The largest difference of each candidate's tensor from the reference's, in words."""
    worst = {
        name: float((values - found[reference]).abs().max())
        for name, values in found.items()
        if name != reference
    }
    for name, difference in worst.items():
        if not difference <= tolerance:
            raise Disagreement(f"{name} differs from {reference} by {difference:.3g}, above {tolerance:g}")
    words = ", ".join(f"{name} {difference:.1e}" for name, difference in worst.items())
    return f"largest difference from {reference}: {words}"
