"""What a disturbed run left, and what comes of it when it goes on: in the process that lives on."""

from __future__ import annotations

import io
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import small_study
from rich.console import Console

from transferscope.api.run import RunOptions, run_study
from transferscope.execute.store.local import MARKER, Store
from transferscope.study.file import load_study

CACHED = re.compile(r"(\d+) tasks succeeded, (\d+) were cached, 0 failed, 0 not run")


@dataclass(frozen=True, kw_only=True)
class Job:
    """A folder to look at and to go on in."""

    study: Path
    out: Path
    whole: Path
    """The folder of the undisturbed run."""
    damage: str = ""
    """Copy the undisturbed run first, and damage so."""
    file: str = ""
    """The file to damage, relative to the folder."""
    forget: tuple[str, ...] = ()
    """Keys of the results to forget after the damage, so that the damaged one is read."""


@dataclass(kw_only=True)
class Verdict:
    """What was found."""

    problems: list[str] = field(default_factory=list)
    printed: str = ""


def undisturbed(study: Path, out: Path) -> str:
    """Run a study here; what it printed."""
    printed = io.StringIO()
    options = RunOptions(out=out, workers=1, device="cpu")
    code = run_study(load_study(study), options, Console(file=printed, width=200))
    return printed.getvalue() if code == 0 else f"exit code {code}\n{printed.getvalue()}"


def judge(job: Job) -> Verdict:
    """Look at what is there, go on, and compare with the undisturbed run to the bit."""
    verdict = Verdict()
    if job.damage:
        _damage(job)
    else:
        verdict.problems += _seen(job)
    before = _stamps(job.out)
    verdict.printed = undisturbed(job.study, job.out)
    ended = CACHED.search(verdict.printed)
    if ended is None:
        return Verdict(problems=[f"it did not go on: {verdict.printed}"], printed=verdict.printed)
    after = _stamps(job.out)
    unread = ""
    if job.damage and job.file.startswith("store/") and job.file not in verdict.printed:
        unread = job.file  # by this run: whoever reads it is told
        if job.file not in Store(job.out / "store").flaw(job.file.split("/")[3]):
            verdict.problems.append(f"the damaged {job.file} was not named")
    if not job.damage:
        again = [key for key, stamp in before.items() if after[key] != stamp]
        if again:
            verdict.problems.append(f"finished tasks were computed again: {again}")
    verdict.problems += _differences(job, unread)
    if not verdict.problems:
        shutil.rmtree(job.out)
    return verdict


def _damage(job: Job) -> None:
    shutil.copytree(job.whole, job.out)
    small_study.DAMAGES[job.damage](job.out / job.file)
    store = Store(job.out / "store")
    for key in job.forget:
        if store.path(key).exists():
            store.remove(key)


def _stamps(out: Path) -> dict[str, int]:
    store = Store(out / "store")
    keys = [path.name for path in (out / "store" / "objects").glob("*/*")]
    return {key: (store.path(key) / MARKER).stat().st_mtime_ns for key in keys if store.has(key)}


def _seen(job: Job) -> list[str]:
    """What can be seen after the disturbance is whole."""
    store = Store(job.out / "store")
    problems = []
    for path in (job.out / "store" / "objects").glob("*/*"):
        if not store.has(path.name) or store.flaw(path.name):
            problems.append(f"a result was seen that is not whole: {path}")
    for path in job.out.glob("tables/[!.]*"):
        if path.read_bytes() != (job.whole / "tables" / path.name).read_bytes():
            problems.append(f"a table was seen that is not whole: {path}")
    return problems


def _differences(job: Job, unread: str) -> list[str]:
    problems = []
    for what in (small_study.outcome, small_study.results):
        own, whole = what(job.out), what(job.whole)
        problems += [
            f"{name} differs"
            for name in sorted(whole)
            if own.get(name) != whole[name] and not unread.endswith(f"/{name}")
        ]
        problems += [f"{name} is too much" for name in sorted(own.keys() - whole.keys())]
    left = [*job.out.rglob(".*"), *(job.out / "store" / "unfinished").glob("*")]
    left += [path for name in ("claims", "resume") for path in (job.out / "store" / name).glob("*")]
    left += (job.out / "progress").glob("*")
    return problems + [f"left behind: {path}" for path in left]
