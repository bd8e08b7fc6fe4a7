"""What is installed, what there is to compute with, and whether results can be kept."""

from __future__ import annotations

import fcntl
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from transferscope.core.machine import usable_cores

PACKAGE = "transferscope"
LOW_MEMORY, LOW_DISK = 2 * 2**30, 2 * 2**30
"""Bytes below which it is said that there is little."""
GIB = 2**30
EXTRAS = {
    "timm": ("timm", "torchvision"),
    "huggingface": ("datasets",),
    "dicom": ("pydicom",),
    "tiff": ("tifffile",),
    "ray": ("ray",),
    "tensorboard": ("tensorboardX",),
    "mlflow": ("mlflow",),
    "wandb": ("wandb",),
}
"""What can be installed besides, and what it brings; not what only developers need."""

State = Literal["ok", "note", "wrong"]


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One thing that was looked at."""

    name: str
    state: State
    """note: worth knowing; wrong: studies can't be run so."""
    found: str
    mend: str = ""
    """What to do about it."""


def facts(out: Path) -> list[Fact]:
    """All that is looked at.

    Args:
        out: where a run would write to; nothing is left there.
    """
    looks: list[Callable[[], list[Fact]]] = [
        _python,
        _libraries,
        _extras,
        _processor,
        _devices,
        _memory,
        lambda: [_disk(out), _writable(out)],
        lambda: [
            Fact(name="browser", state="ok", found="not needed: the report is a file that any browser opens")
        ],
    ]
    return [fact for look in looks for fact in look()]


def _python() -> list[Fact]:
    version = platform.python_version()
    return [
        Fact(name="python", state="ok", found=f"{version}, {sys.executable}"),
        Fact(name=PACKAGE, state="ok", found=f"{metadata.version(PACKAGE)}, {Path(__file__).parents[2]}"),
    ]


def _requirements() -> list[tuple[str, str]]:
    """Name and specifier of what is always required."""
    always = [text for text in metadata.requires(PACKAGE) or [] if "extra" not in text.partition(";")[2]]
    named = [re.match(r"\s*([\w.-]+)(?:\[[^\]]*\])?\s*([^;]*)", text) for text in always]
    return [(one[1], one[2].strip()) for one in named if one is not None]


def _libraries() -> list[Fact]:
    found, wrong = [], []
    for name, wanted in _requirements():
        version = _version(name)
        if version is None:
            wrong.append(
                Fact(name=name, state="wrong", found="not installed", mend=f"pip install '{name}{wanted}'")
            )
        elif _is_older(version, wanted):
            wrong.append(
                Fact(
                    name=name,
                    state="wrong",
                    found=f"{version}, but {wanted} is needed",
                    mend=f"pip install '{name}{wanted}'",
                )
            )
        else:
            found.append(f"{name} {version}")
    return [Fact(name="libraries", state="ok", found=", ".join(found)), *wrong]


def _extras() -> list[Fact]:
    facts = []
    for extra, names in EXTRAS.items():
        versions = {name: _version(name) for name in names}
        missing = [name for name, version in versions.items() if version is None]
        found = ", ".join(f"{name} {version or 'not installed'}" for name, version in versions.items())
        mend = f"where it is wanted: pip install '{PACKAGE}[{extra}]'" if missing else ""
        facts.append(Fact(name=f"extra {extra}", state="note" if missing else "ok", found=found, mend=mend))
    return facts


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _is_older(version: str, wanted: str) -> bool:
    """Whether a version is below what `>=` asks for."""
    least = re.search(r">=\s*([\d.]+)", wanted)
    return least is not None and _numbers(version) < _numbers(least[1])


def _numbers(version: str) -> tuple[int, ...]:
    leading = re.match(r"[\d.]+", version)
    return tuple(int(part) for part in leading[0].split(".") if part) if leading else ()


def _processor() -> list[Fact]:
    import torch

    return [
        Fact(
            name="processor",
            state="ok",
            found=f"{platform.machine()}, {usable_cores()} of {os.cpu_count()} cores for this process: as many "
            f"workers, one thread each (torch itself would take {torch.get_num_threads()})",
        )
    ]


def _devices() -> list[Fact]:
    import torch

    if not torch.cuda.is_available():
        built = torch.version.cuda
        why = f"torch is built for CUDA {built}, and sees no GPU" if built else "torch is built without CUDA"
        return [Fact(name="device", state="ok", found=f"cpu ({why})")]
    found = []
    for index in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(index)
        free, total = torch.cuda.mem_get_info(index)
        text = f"{about.name}, {free / GIB:.1f} of {total / GIB:.1f} GiB free"
        found.append(Fact(name=f"cuda:{index}", state="ok", found=text))
    return found


def _memory() -> list[Fact]:
    free, total = _memory_bytes()
    if free is None or total is None:
        return [Fact(name="memory", state="note", found="this system doesn't say")]
    little = free < LOW_MEMORY
    mend = "run with fewer --workers: each takes about half a GiB and its data" if little else ""
    text = f"{free / GIB:.1f} of {total / GIB:.1f} GiB free"
    return [Fact(name="memory", state="note" if little else "ok", found=text, mend=mend)]


def _memory_bytes() -> tuple[int | None, int | None]:
    """Free and total, also where a container has less than its machine."""
    try:
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        free, total = (int(lines[name].split()[0]) * 1024 for name in ("MemAvailable", "MemTotal"))
    except (OSError, ValueError, KeyError):
        return None, None
    try:
        group = Path("/sys/fs/cgroup")
        limit = int((group / "memory.max").read_text())
        total = min(total, limit)
        free = min(free, limit - int((group / "memory.current").read_text()))
    except (OSError, ValueError):
        pass
    return max(free, 0), total


def _disk(out: Path) -> Fact:
    free = shutil.disk_usage(_existing(out)).free
    little = free < LOW_DISK
    return Fact(
        name="disk",
        state="note" if little else "ok",
        found=f"{free / GIB:.1f} GiB free for {out}",
        mend="choose another place with --out, or see transferscope clean" if little else "",
    )


def _writable(out: Path) -> Fact:
    """Whether results can be kept there: files, renaming a folder in one step, and locks."""
    place = _existing(out)
    try:
        with tempfile.TemporaryDirectory(prefix=".transferscope-doctor-", dir=place) as name:
            folder = Path(name)
            (folder / "one").mkdir()
            with (folder / "one" / "file").open("wb") as file:
                file.write(b"1")
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            (folder / "one").rename(folder / "two")
    except OSError as error:
        return Fact(
            name="store",
            state="wrong",
            found=f"{place}: {error.strerror or error}",
            mend="choose another place with --out, on a file system that can be written to and knows locks",
        )
    kept = f"{out} can be written to, renamed in and locked"
    return Fact(name="store", state="ok", found=kept if out.exists() else f"{kept} (it would be made)")


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    path = path.absolute()
    while not path.is_dir():
        path = path.parent
    return path


def as_rows(found: list[Fact]) -> list[Mapping[str, str]]:
    """As plain data, for JSON."""
    return [{"name": f.name, "state": f.state, "found": f.found, "mend": f.mend} for f in found]
