"""The folder of a study: what lies where, and everything in it that people read.

DIR/report.html, findings.json, tables/, figures/, study.yaml, provenance.json, logs/, and store/ with the
results of the tasks.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transferscope.analyses.claims import Claim, Finding, Result
from transferscope.core.config import Study
from transferscope.core.errors import BadInput
from transferscope.core.files import checksum, sweep_files, write_atomically, writing_to
from transferscope.core.machine import INSTRUCTION_SETTINGS, cpu_capability, usable_cores
from transferscope.execute.loop import Failure, Outcome
from transferscope.execute.store.local import Store
from transferscope.execute.store.remote import open_store
from transferscope.execute.store.snapshot_folders import sweep_snapshots
from transferscope.report.page.content import Answer
from transferscope.report.pretrained import pretrained_facts
from transferscope.study.file import load_study, resolved_yaml
from transferscope.study.plan import Plan
from transferscope.study.task import Task, canonical_key

if TYPE_CHECKING:
    from rich.console import Console

LIBRARIES = ("torch", "numpy", "scipy", "scikit-learn", "matplotlib", "polars", "altair", "vl-convert-python")
"""Libraries whose version can change a number or a figure."""
LONGEST_FILE_NAME = 60
"""Characters of a figure's name; each takes four bytes at most, and file systems allow 255."""
_NOT_IN_FILE_NAMES = re.compile(r"[^\w. -]+")
FINDINGS_SCHEMA = 2
"""Version of findings.json: 1 was that of transferscope 0.1, with verdicts only."""
READ_AT_THE_END = ("measure", "weights")
"""Kinds of results that tables and report are made from: small, but for given weights."""
FOLDERS = ("tables", "figures", "logs")
"""Folders of files for people."""


@dataclass(frozen=True)
class Workspace:
    """The folder that a study writes to."""

    root: Path
    store_url: str | None = None
    """Where results are besides; None: where they were when the folder was last used."""

    @cached_property
    def store(self) -> Store:
        return open_store(self.root / "store", self.store_url)

    @property
    def report(self) -> Path:
        return self.root / "report.html"

    @property
    def study_file(self) -> Path:
        return self.root / "study.yaml"

    def study(self) -> Study:
        """The study that was run into this folder.

        Raises:
            BadInput: there is none, or it can't be read.
        """
        if not self.study_file.exists():
            raise BadInput(
                f"{self.root} holds no study: there is no study.yaml. Name the --out folder of a run."
            )
        return load_study(self.study_file)

    def missing(self, plan: Plan) -> list[Task]:
        """The tasks of a plan that are still to run."""
        return plan.graph.needed(self.store.present(task.key for task in plan.graph))

    def discard_damaged(self, plan: Plan, consequence: str, console: Console) -> None:
        """Remove the damaged results of a plan, and print each with its flaw.

        Results that no task reads any more are checked by checksum, the others by size: the task that reads a result
        checks its checksum.
        """
        store = self.store
        present = store.present(task.key for task in plan.graph)
        store.fetch(task.key for task in plan.graph if task.kind in READ_AT_THE_END)
        for task in plan.graph:
            # a look without a claim first: hardly anything is damaged
            if (task.kind in READ_AT_THE_END or task.key not in present) and store.flaw(task.key):
                flaw = store.discard_damaged(task.key)
                if flaw:
                    text = f"damaged: {task.title}: {flaw}; {consequence}"
                    console.print(text, highlight=False, markup=False, soft_wrap=True, style="yellow")

    def is_drawn(self, plan: Plan, *, with_images: bool = True) -> bool:
        """Whether everything that people read is there, made from just this plan by just this code."""
        try:
            origin = json.loads(self.provenance_file.read_text())
            return origin["outputs_key"] == outputs_key(plan, with_images=with_images) and all(
                checksum(self.root / name) == written for name, written in origin["outputs"].items()
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return False

    def outputs(self) -> dict[str, str]:
        """The checksums of the files that people read, by name relative to the folder."""
        found = [path for name in ("tables", "figures") for path in (self.root / name).glob("[!.]*")]
        found += [self.report, self.findings_file, self.study_file]
        return {path.relative_to(self.root).as_posix(): checksum(path) for path in sorted(found)}

    @property
    def findings_file(self) -> Path:
        return self.root / "findings.json"

    @property
    def provenance_file(self) -> Path:
        return self.root / "provenance.json"

    def prepare(self, plan: Plan) -> None:
        """Make the folder and note the study in it; raises BadInput where nothing can be written."""
        self.store.prepare()
        self.store.sweep()
        sweep_snapshots(self.store)
        for folder in (self.root, *(self.root / name for name in FOLDERS)):
            sweep_files(folder)
        try:
            write_atomically(self.study_file, resolved_yaml(plan.study))
        except OSError as error:
            raise BadInput(f"can't write to {self.root}: {error.strerror or error}.") from None

    @contextmanager
    def writing(self) -> Iterator[None]:
        """While files for people are written: raises BadInput where one of them can't be."""
        with writing_to(
            self.root,
            f"the results of the tasks are safe in {self.store.root}. Then draw again with: "
            f"transferscope report {self.root}",
        ):
            yield

    def write_logs(self, failures: list[Failure]) -> dict[str, Path]:
        """Write why each failed task failed; the file's place by the task's key."""
        places = {}
        for failure in failures:
            name = re.sub(r"[^A-Za-z0-9]+", "-", failure.task.title).strip("-")[:60]
            path = self.root / "logs" / f"{name}-{failure.task.key[:8]}.log"
            write_atomically(path, f"{failure.task.title}\nkey {failure.task.key}\n\n{failure.details}\n")
            places[failure.task.key] = path
        return places


def file_name(*parts: str) -> str:
    """The parts as the name of a file: names of targets are in it, which may hold anything, `../` too.

    Where something had to be replaced or cut off, some digits of a hash tell the names apart.
    """
    wanted = "-".join(parts)
    name = _NOT_IN_FILE_NAMES.sub("-", wanted)[:LONGEST_FILE_NAME]
    return name if name == wanted else f"{name}-{hashlib.sha256(wanted.encode()).hexdigest()[:8]}"


def findings_document(
    findings: list[Finding], plan: Plan, answer: Answer, pretrained: Mapping[str, Any] | None = None
) -> str:
    """findings.json: the answer in words, and one entry a claim; numbers that aren't finite are null.

    Args:
        findings: in the order of the report.
        plan: of the study.
        answer: the report's first page.
        pretrained: which P the study has, from `pretrained_facts`.
    """
    document = {
        "schema_version": FINDINGS_SCHEMA,
        "study": plan.study.name,
        "variant": plan.study.variant,
        "pretrained": pretrained,
        "answer": {
            "summary": list(answer.summary),
            "paragraphs": list(answer.paragraphs),
            "advice": [asdict(one) for one in answer.advice],
        },
        "findings": [_entry(finding) for finding in findings],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _entry(finding: Finding) -> dict[str, Any]:
    own = {**asdict(finding.claim), **_result_entry(finding), "num_images": finding.num_images}
    return {**own, "note": finding.note, "targets": [_result_entry(one) for one in finding.targets]}


def _result_entry(result: Result) -> dict[str, Any]:
    numbers = {field.name: _plain(getattr(result, field.name)) for field in fields(Result)}
    words = {name: getattr(result, name) for name in ("evidence", "verdict", "repeat_rate")}
    return {**numbers, **words}


def read_findings(document: str) -> list[Finding]:
    """The findings of a findings.json that this version wrote; null is read as NaN.

    Raises:
        BadInput: another version wrote it.
    """
    read = json.loads(document)
    if (version := read.get("schema_version", 1)) != FINDINGS_SCHEMA:
        raise BadInput(
            f"this findings.json has schema version {version}, and this version of transferscope reads "
            f"{FINDINGS_SCHEMA}. Run `transferscope report` on the folder to write it anew."
        )
    return [
        Finding(
            claim=Claim(**{field.name: entry[field.name] for field in fields(Claim)}),
            targets=tuple(Result(**_result_values(one)) for one in entry["targets"]),
            num_images=entry["num_images"],
            note=entry["note"],
            **_result_values(entry),
        )
        for entry in read["findings"]
    ]


def _result_values(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a Result from its entry; null is NaN but where None is a value."""
    values = {field.name: entry[field.name] for field in fields(Result)}
    return {
        name: math.nan if value is None and name != "needs_seeds" else value for name, value in values.items()
    }


def outputs_key(plan: Plan, *, with_images: bool = True) -> str:
    """Changes when anything does that tables, findings, figures or report are made from."""
    package = Path(__file__).parents[1]
    files = sorted(path for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc")
    code = [[path.relative_to(package).as_posix(), path.stat().st_mtime_ns] for path in files]
    spec = {
        "study": plan.study.model_dump(mode="json"),
        "tasks": [task.key for task in plan.graph],
        "versions": versions(),
        "code": code,
        **({} if with_images else {"with_images": False}),
    }
    return canonical_key("outputs", 1, spec)


def provenance(
    plan: Plan, store: Store, outcome: Outcome, *, num_workers: int, device: str
) -> dict[str, Any]:
    """How the numbers came about: versions, hardware, seeds, and the duration of every task."""
    computed = {task.key for task in outcome.succeeded}
    tasks = []
    left_out: dict[str, dict[str, int]] = {}
    infos = store.infos(task.key for task in plan.graph)
    p = pretrained_facts(plan, store)
    for task in plan.graph:
        info = infos.get(task.key)
        if info is not None:
            if info.get("left_out"):
                left_out[task.title] = info["left_out"]
            seconds, device_of_task, notes = info["seconds"], info["device"], info.get("notes")
            capability = info.get("cpu_capability")
            state = "computed" if task.key in computed else "cached"
        else:
            seconds = device_of_task = notes = capability = None
            state = "missing"
        tasks.append(
            {
                "title": task.title,
                "kind": task.kind,
                "key": task.key,
                "state": state,
                "seconds": seconds,
                "device": device_of_task,
                "cpu_capability": capability,
                "cached": state == "cached",
                **({"notes": notes} if notes else {}),
            }
        )
    return {
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": "transferscope run study.yaml --out runs/again",
        "versions": versions(),
        "hardware": hardware(),
        "seeds": list(plan.study.seeds),
        **({"images_left_out": left_out} if left_out else {}),
        "source": _source(plan.study),
        **({} if p is None else {"pretrained": p}),
        "num_workers": num_workers,
        "device": device,
        "threads_per_task": 1,
        "tasks": tasks,
    }


def _source(study: Study) -> str:
    """Where P comes from, in words."""
    source = study.source
    if source is None:
        return "networks that were given"
    weights = source.weights
    data = None if source.data is None else source.data.dataset
    if weights is None:
        return f"pre-trained here on {source.name or data}"
    place = weights.hub if weights.file is None else weights.file.name
    return f"given weights {place}" + (
        f", pre-trained on {source.name or data}" if source.name or data else ""
    )


def versions() -> dict[str, str]:
    """Version of Python, of this package, and of the libraries that can change a number."""
    found = {"python": platform.python_version(), "transferscope": metadata.version("transferscope")}
    return found | {name: metadata.version(name) for name in LIBRARIES}


def hardware() -> dict[str, Any]:
    """The machine, as far as it says."""
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": usable_cores(),
        "cpu_capability": cpu_capability(),
        **{name: os.environ[name] for name in INSTRUCTION_SETTINGS if name in os.environ},
        "byte_order": sys.byteorder,
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
