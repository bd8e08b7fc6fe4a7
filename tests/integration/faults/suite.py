"""The fault suite: a small study, disturbed at every point that `points` enumerates, and compared to the bit.

    PYTHONPATH=tests/support python tests/integration/faults/suite.py [--small] [--only WORD] [--part K/N] [--ray]

Prints how many points were tried and how many lost anything, by kind; ends with 1 where any did. Needs Linux and a
C compiler.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import children
import points
import shim
import small_study
from judge import Job, Verdict, judge, undisturbed
from points import Point

from transferscope.execute.store.local import Store
from transferscope.study.file import load_study
from transferscope.study.plan import plan

STOPPED = "stopped; finished tasks are kept, and the same command goes on from here"
QUIET = {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1", "_RJEM_MALLOC_CONF": "background_thread:false"}
"""A process that forks has one thread."""
OFTEN = {"TRANSFERSCOPE_SNAPSHOT_SECONDS": "0"}
"""Trainings note at the end of every epoch how far they are."""


@dataclass(kw_only=True)
class Bench:
    """What all points share."""

    folder: Path
    study: Path
    whole: Path
    resumer: children.Resumer
    kinds: dict[str, str]
    """Kind of each task, by key."""


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--small", action="store_true", help="one point of each kind")
    arguments.add_argument("--only", default="", help="points whose kind or label holds this")
    arguments.add_argument("--part", default="1/1", help="2/3: the second third of them")
    arguments.add_argument(
        "--ray", action="store_true", help="the tests that kill a Ray worker and a node too"
    )
    chosen = arguments.parse_args()
    reason = shim.available()
    if reason:
        print(f"skipped: {reason}")
        return 0
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        folder = Path(name)
        if "shim.so" not in os.environ.get("LD_PRELOAD", ""):
            environment = os.environ | QUIET | OFTEN | {"LD_PRELOAD": str(shim.make(folder))}
            return subprocess.run([sys.executable, *sys.argv], env=environment, check=False).returncode
        started = time.monotonic()
        bench, all_points = prepared(folder)
        part, of = map(int, chosen.part.split("/"))
        try:
            tried = points.small(all_points) if chosen.small else all_points
            tried = [point for point in tried if chosen.only in f"{point.kind} {point.label}"]
            tried = tried[part - 1 :: of]
            problems = run(bench, tried)
        finally:
            bench.resumer.close()
        kinds = [point.kind for point in tried]
        if chosen.ray and importlib.util.find_spec("ray") is None:
            print("Ray is not installed: its worker and node are not killed")
        elif chosen.ray:
            kinds.append("Ray worker and Ray node killed")
            found = ray_problems(kinds[-1])
            tell(found, 0)
            problems += found
        return table(kinds, problems, time.monotonic() - started)


def prepared(folder: Path) -> tuple[Bench, list[Point]]:
    """Run the study undisturbed, twice: recorded in a child, and in the process that lives on."""
    children.adopt_orphans()
    study = small_study.write(folder / "small.yaml")
    kinds = {task.key: task.kind for task in plan(load_study(study)).graph}
    recorded, modules = folder / "recorded", folder / "modules"
    log = os.open(folder / "calls", os.O_RDWR | os.O_CREAT)

    def record() -> None:
        shim.arm("record", 0, 0, recorded, log)
        exit_ = os._exit

        def note(code: int) -> None:
            modules.write_text("\n".join(sys.modules))
            exit_(code)

        os._exit = note  # type: ignore[assignment]

    ended = children.wait(children.start(study, recorded, 1, record), recorded)
    assert ended.code == 0, ended.said
    calls = (folder / "calls").read_text()
    for name in modules.read_text().splitlines():
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    whole = folder / "whole"
    resumer = children.Resumer(lambda job: undisturbed(*job) if isinstance(job, tuple) else judge(job))
    resumer.give((study, whole))
    printed = resumer.take()
    assert "0 failed, 0 not run" in printed, printed
    assert small_study.outcome(recorded) == small_study.outcome(whole), "it is not reproducible to the bit"
    assert small_study.results(recorded) == small_study.results(whole), "it is not reproducible to the bit"
    files = [path for path in sorted((whole / "store" / "objects").rglob("*")) if path.is_file()]
    files += [*sorted((whole / "tables").iterdir()), whole / "findings.json", whole / "report.html"]
    names = [path.relative_to(whole).as_posix() for path in files]
    all_points = points.enumerated(points.steps(calls, recorded, kinds), names, worker_steps=90)
    return Bench(folder=folder, study=study, whole=whole, resumer=resumer, kinds=kinds), all_points


def run(bench: Bench, tried: list[Point]) -> list[tuple[Point | str, str]]:
    """Try all points: while one is disturbed, the one before goes on."""
    problems: list[tuple[Point | str, str]] = []
    waiting: deque[Point] = deque()

    def take() -> None:
        point, verdict = waiting.popleft(), bench.resumer.take()
        assert isinstance(verdict, Verdict)
        problems.extend((point, problem) for problem in verdict.problems)

    told = 0
    for number, point in enumerate(tried):
        if sys.stderr.isatty():
            print(f"\r{number}/{len(tried)} {point.kind[:50]:50}", end="", file=sys.stderr)
        out = bench.folder / f"out-{number}"
        job = Job(study=bench.study, out=out, whole=bench.whole)
        problems += [(point, problem) for problem in disturb(bench, point, out)]
        if point.how == "damage":
            job = replace(job, damage=point.damage, file=point.file, forget=readers(bench, point))
        if waiting:
            take()
        bench.resumer.give(job)
        waiting.append(point)
        told = tell(problems, told)
    while waiting:
        take()
    tell(problems, told)
    return problems


def tell(problems: list[tuple[Point | str, str]], told: int) -> int:
    """Print the problems that are new; how many there are."""
    for point, problem in problems[told:]:
        where = point if isinstance(point, str) else f"{point.kind}: {point.label} ({point.how} {point.at})"
        print(f"LOST  {where}\n      {problem}", flush=True)
    return len(problems)


def readers(bench: Bench, point: Point) -> tuple[str, ...]:
    """Results to forget so that the damaged one is read: all that rest on it; none for what is drawn."""
    parts = point.file.split("/")
    if parts[0] != "store":
        return ()
    resting = {parts[3]}
    for task in plan(load_study(bench.study)).graph:
        if resting & set(task.inputs):
            resting.add(task.key)
    return tuple(sorted(resting - {parts[3]}))


def disturb(bench: Bench, point: Point, out: Path) -> list[str]:
    """Run the study into a folder, disturbed, and say what the run itself did wrong."""
    if point.how == "damage":
        return []
    if point.how == "two":
        return two_at_once(bench, point, out)
    if point.how == "locks":
        leave_locks(bench, out)
        return []
    once = multiprocessing.get_context("fork").RawValue("i", 1)

    def in_worker() -> None:
        if once.value:
            once.value = 0
            shim.arm(point.how, point.at, point.again, out)

    def before() -> None:
        if point.workers > 1:
            fork_workers()
        if point.how == "clock":
            jump(point.file, point.at)
        elif point.worker:
            os.register_at_fork(after_in_child=in_worker)
        else:
            shim.arm(point.how, point.at, point.again, out)
            os.register_at_fork(after_in_child=lambda: shim.arm("off", 0, 0, out))

    ended = children.wait(children.start(bench.study, out, point.workers, before), out)
    return judged(point, ended, out)


def judged(point: Point, ended: children.Ended, out: Path) -> list[str]:
    """What the disturbed run itself did wrong."""
    wrong = []
    if "Traceback" in ended.said:
        wrong.append("it ended with a traceback")
    if ended.code == -14:
        wrong.append("it hung")
    elif point.how == "clock" or point.worker:
        if ended.code != 0:
            wrong.append("it did not end well")
        if point.worker and "died: its process was killed by SIGKILL" not in ended.said:
            wrong.append("no worker was killed")
    elif point.how in ("kill", "torn"):
        if ended.code not in (-9, 0) or (ended.code == 0 and point.workers == 1):
            wrong.append("it was not killed")
    elif point.how in ("no space", "broken"):
        if ended.code != 2 or "can't write" not in ended.said or str(out) not in ended.said:
            wrong.append("it did not say what could not be written, and end with 2")
    elif ended.code != 130 or STOPPED not in ended.said:
        wrong.append("it did not say that it stopped, and end with 130")
    return [f"{problem}: exit code {ended.code}\n{ended.said}" for problem in wrong]


def fork_workers() -> None:
    """Workers are forked, not spawned: they need not import everything for each point."""
    from transferscope.execute import pool as local

    get_context = multiprocessing.get_context
    local.multiprocessing.get_context = lambda _: get_context("fork")  # type: ignore[assignment]


def jump(where: str, every: int) -> None:
    """Clocks that jump by a day, every so many looks."""
    looks, offset = 0, 0.0

    def jumping(clock: Callable[[], float]) -> Callable[[], float]:
        def look() -> float:
            nonlocal looks, offset
            looks += 1
            if looks % every == 0:
                back = where == "back" or (where == "both" and looks // every % 2)
                offset += -86400.0 if back else 86400.0
            return clock() + offset

        return look

    for name in ("time", "monotonic", "perf_counter"):
        setattr(time, name, jumping(getattr(time, name)))


def leave_locks(bench: Bench, out: Path) -> None:
    """What processes leave that died at the worst moment, in a folder in which nothing else is."""
    dead = os.fork()
    if dead == 0:
        os._exit(0)
    os.waitpid(dead, 0)
    store = Store(out / "store")
    store.prepare()
    for key in bench.kinds:
        for place in (
            store.root / "claims" / f"{key}.lock",
            store.root / "unfinished" / f"{key[:16]}-{dead}-0a1b2c3d" / "x",
        ):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text("stale")
    (store.root / "in-use.lock").write_text("stale")
    (out / "tables").mkdir()
    (out / "tables" / f".mistakes.csv.{dead}-0a1b2c3d").write_text("half")


def two_at_once(bench: Bench, point: Point, out: Path) -> list[str]:
    """Two runs into one folder; one of them may be killed."""
    pids = []
    for at in (point.at, 0):
        arm = (lambda at=at: shim.arm("kill", at, 0, out)) if at else (lambda: None)
        pids.append(children.start(bench.study, out, 1, arm))
    ends = [children.wait(pid, out) for pid in pids]
    wrong = [end for end in ends[bool(point.at) :] if end.code != 0 or "Traceback" in end.said]
    problems = [f"one of two did not end well: exit code {end.code}\n{end.said}" for end in wrong]
    if point.at == 0 and not wrong:
        succeeded = sum(int(end.said.split(" tasks succeeded")[0].split()[-1]) for end in ends)
        if succeeded != len(bench.kinds):
            problems.append(f"{succeeded} tasks were computed instead of {len(bench.kinds)}")
    return problems


def ray_problems(kind: str) -> list[tuple[Point | str, str]]:
    """The engine's own tests, in processes of Ray's."""
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-k",
        "dies or killed",
        str(Path(__file__).parents[1] / "test_ray_engine.py"),
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return [] if done.returncode == 0 and "2 passed" in done.stdout else [(kind, done.stdout)]


def table(kinds: list[str], problems: list[tuple[Point | str, str]], seconds: float) -> int:
    """Print the outcome."""
    lost = {id(point): point for point, _ in problems}
    lost_kinds = [point if isinstance(point, str) else point.kind for point in lost.values()]
    width = max(map(len, kinds), default=0)
    print(f"{'kind':{width}}  points  lost")
    for kind in dict.fromkeys(kinds):
        number = kinds.count(kind) * (2 if kind.startswith("Ray") else 1)
        print(f"{kind:{width}}  {number:6}  {lost_kinds.count(kind):4}")
    total = len(kinds) + sum(kind.startswith("Ray") for kind in kinds)
    print(f"{'together':{width}}  {total:6}  {len(lost):4}   in {seconds:.0f} s")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
