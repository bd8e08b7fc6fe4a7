"""The points at which a run is disturbed, made from a record of what an undisturbed one does."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SCRATCH = re.compile(r"([0-9a-f]{16})-\d+-[0-9a-f]{8}")
HIDDEN = re.compile(r"(\.\S+)\.\d+-[0-9a-f]{8}$")
TENSORS = re.compile(r"/\.tmp\w+$")
KEY = re.compile(r"[0-9a-f]{64}")
DAMAGES = ("zero-length", "truncated", "bit-flipped")
OUTPUTS = "tables, figures, report"


@dataclass(frozen=True, kw_only=True)
class Point:
    """Where and how a run is disturbed."""

    kind: str
    """Row of the table."""
    label: str
    """For people: the step."""
    how: str
    """A mode of the shim, or "damage", "clock", "locks", "two"."""
    damage: str = ""
    at: int = 0
    again: int = 0
    worker: bool = False
    """Whether it is a worker that is disturbed, not the driver."""
    workers: int = 1
    file: str = ""
    """For damage: relative to the folder of the run; for the clock: where it jumps."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One recorded call."""

    number: int
    call: str
    label: str
    part: str


def steps(record: str, out: Path, kinds: Mapping[str, str]) -> list[Step]:
    """The recorded calls, in order.

    Args:
        record: lines "call path".
        out: folder of the run.
        kinds: kind of task by key.
    """
    short = {key[:16]: kind for key, kind in kinds.items()}
    tensors: dict[str, int] = {}
    """Number of each file of tensors within its result: they are written under names drawn by chance."""
    found = []
    for number, line in enumerate(record.splitlines(), start=1):
        call, _, path = line.partition(" ")
        name = str(Path(path).relative_to(out)) if path.startswith(f"{out}/") else "."
        if TENSORS.search(name):
            inside = [other for other in tensors if Path(other).parent == Path(name).parent]
            number_inside = tensors.setdefault(name, len(inside) + 1)
            name = TENSORS.sub(f"/{number_inside}.safetensors", name)
        name = SCRATCH.sub(lambda match: f"<{short.get(match[1], 'probe')}>", name)
        name = HIDDEN.sub(r"\1.*", KEY.sub(lambda match: f"<{kinds[match[0]]}>", name))
        name = re.sub(r"\.[0-9a-f]{8}\.safetensors", ".safetensors", re.sub(r"run-\d+", "run-*", name))
        name = re.sub(r"objects/[0-9a-f]{2}", "objects/*", name)
        found.append(Step(number=number, call=call, label=f"{call} {name}", part=_part(name)))
    return found


def _part(name: str) -> str:
    if name.endswith(".safetensors") or name.startswith("store/resume"):
        return "checkpoints and data written"
    if name.startswith(("store/unfinished", "store/objects")):
        return "store commit"
    if name.startswith("progress"):
        return "progress"
    if name.startswith("store"):
        return "locks and claims"
    return OUTPUTS


def distinct(all_steps: Sequence[Step]) -> list[Step]:
    """Each step once; of those of a store commit the first and the last that are called the same."""
    first = {step.label: step for step in reversed(all_steps)}
    last = {step.label: step for step in all_steps if step.part not in (OUTPUTS, "progress")}
    return sorted({*first.values(), *last.values()}, key=lambda step: step.number)


def spread(chosen: Sequence[Step], number: int) -> list[Step]:
    """So many of them, evenly."""
    count = min(number, len(chosen))
    return [chosen[i * len(chosen) // count] for i in range(count)]


def enumerated(all_steps: Sequence[Step], files: Sequence[str], worker_steps: int) -> list[Point]:
    """All points.

    Args:
        all_steps: what the driver does that computes everything itself.
        files: of stored results and outputs, relative to the folder of the run.
        worker_steps: about how many calls one of two workers makes.
    """
    named = distinct(all_steps)
    outputs = [step for step in named if step.part == OUTPUTS]
    killed = [step for step in named if step.part != OUTPUTS] + spread(outputs, 40)
    found = [
        Point(kind=f"driver killed: {step.part}", label=f"before {step.label}", how="kill", at=step.number)
        for step in killed
    ]
    found += [
        Point(kind="killed in the middle of a write", label=step.label, how="torn", at=step.number)
        for step in killed
        if step.call == "write"
    ]
    for n in range(1, worker_steps, max(1, worker_steps // 12)):
        found.append(
            Point(kind="worker killed", label=f"its step {n}", how="kill", at=n, worker=True, workers=2)
        )
    for n in range(1, 80, 8):
        label = f"its step {n}"
        found.append(Point(kind="driver of workers killed", label=label, how="kill", at=n, workers=2))
    for how, kind in (("no space", "disk full (ENOSPC)"), ("broken", "disk fails (EIO)")):
        chosen = spread([step for step in named if how == "no space" or step.call in ("write", "fsync")], 24)
        found += [Point(kind=kind, label=f"from {step.label}", how=how, at=step.number) for step in chosen]
    computing = [step for step in named if step.part not in (OUTPUTS, "progress")]
    for step in spread(computing, 10) + spread(outputs, 4):
        found.append(Point(kind="Ctrl-C once", label=step.label, how="interrupt", at=step.number))
    for step in spread(computing, 10):
        point = Point(
            kind="Ctrl-C twice", label=step.label, how="interrupt", at=step.number, again=step.number + 3
        )
        found.append(point)
    for number, file in enumerate(files):
        damage = DAMAGES[number % 3]
        found.append(Point(kind=f"file {damage}", label=file, how="damage", file=file, damage=damage))
    for n in (5, 50, 500):
        for jump in ("back", "forward", "both"):
            found.append(
                Point(kind="clock jumps", label=f"{jump}, every {n} looks", how="clock", at=n, file=jump)
            )
    for at in (0, *(step.number for step in spread(computing, 7))):
        label = "both go on" if at == 0 else f"one is killed, its step {at}"
        found.append(Point(kind="two runs at once", label=label, how="two", at=at))
    found.append(
        Point(kind="stale locks", label="claims, scratch folders and files of the dead", how="locks")
    )
    return found


def small(all_points: Sequence[Point]) -> list[Point]:
    """One of each kind but damaged files, each of which `test_damage` damages."""
    kinds: dict[str, list[Point]] = {}
    for point in all_points:
        if point.how != "damage":
            kinds.setdefault(point.kind, []).append(point)
    return [group[len(group) // 2] for group in kinds.values()]
