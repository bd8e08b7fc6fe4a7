"""Results on disk, and the tables of docs/performance.md made from them."""

from __future__ import annotations

import json
import platform
import re
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.bars import bar_of
from benchmarks.measure import ROOT, Curve, Quantity, Ratio, Result, Size, Time
from transferscope.core.machine import usable_cores

FOLDER = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "performance.md"


def write(job: str, result: Result, size: Size, rounds: int) -> Path:
    """benchmarks/results/<job>.json."""
    path = FOLDER / f"{job}.json"
    path.parent.mkdir(exist_ok=True)
    document = {
        "job": job,
        "size": size,
        "rounds": rounds,
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        **asdict(result),
    }
    path.write_text(json.dumps(_short(document), indent=1) + "\n")
    return path


def read(path: Path) -> tuple[dict[str, Any], Result]:
    document = json.loads(path.read_text())
    return document, Result(
        times=[Time(**row) for row in document["times"]],
        ratios=[Ratio(**row) for row in document["ratios"]],
        quantities=[Quantity(**row) for row in document["quantities"]],
        curves=[Curve(**row) for row in document["curves"]],
        notes=document["notes"],
    )


def machine() -> dict[str, Any]:
    """What the numbers depend on."""
    return {
        "processor": _processor(),
        "cores": usable_cores(),
        "threads": 1,
        "python": platform.python_version(),
        "torch": metadata.version("torch"),
        "numpy": metadata.version("numpy"),
    }


def tables(job: str, result: Result) -> str:
    """The result as Markdown."""
    parts = []
    if result.times:
        rows = [
            [each.case, each.candidate, seconds(each.wall_seconds), seconds(each.cpu_seconds), _memory(each)]
            for each in result.times
        ]
        parts.append(_table(["case", "way", "wall", "CPU", "memory above forward"], _drop_empty(rows)))
    if result.ratios:
        rows = [
            [each.case, each.ours, each.against, f"{each.cpu:.2f}", f"{each.wall:.2f}", _bar(job, each)]
            for each in result.ratios
        ]
        parts.append(
            _table(
                ["case", "ours", "against", "times our CPU time", "times our wall time", "asked for"], rows
            )
        )
    if result.quantities:
        rows = [[each.case, each.what, f"{each.value:.3g} {each.unit}"] for each in result.quantities]
        parts.append(_table(["case", "what", "value"], rows))
    for curve in result.curves:
        memory = curve.memory_mb or [None] * len(curve.sizes)
        rows = [
            [f"{size:g}", seconds(wall), seconds(cpu), "" if mb is None else f"{mb:.0f} MB"]
            for size, wall, cpu, mb in zip(
                curve.sizes, curve.wall_seconds, curve.cpu_seconds, memory, strict=True
            )
        ]
        head = (
            f"**{curve.case}**: CPU time grows as ({curve.against}) ^ {curve.exponent:.2f}. {curve.statement}"
        )
        parts.append(
            f"{head.strip()}\n\n{_table([curve.against, 'wall', 'CPU', 'peak memory'], _drop_empty(rows))}"
        )
    if result.notes:
        parts.append("\n".join(f"- {note}" for note in result.notes))
    return "\n\n".join(parts)


def renew_page() -> None:
    """Writes every result's tables between its marks in docs/performance.md."""
    page = PAGE.read_text()
    for path in sorted(FOLDER.glob("*.json")):
        document, result = read(path)
        about = document["machine"]
        origin = (
            f"Measured {document['written'][:10]}, {about['processor']}, {about['cores']} cores, one thread, torch "
            f"{about['torch']}; medians of {document['rounds']} rounds"
            + ("." if document["size"] == "full" else f"; size {document['size']}.")
        )
        begin, end = f"<!-- {document['job']} -->", f"<!-- end of {document['job']} -->"
        text = f"{begin}\n{origin}\n\n{tables(document['job'], result)}\n{end}"
        page = re.sub(
            f"{re.escape(begin)}.*?{re.escape(end)}", lambda _, text=text: text, page, flags=re.DOTALL
        )
    PAGE.write_text(page)


def seconds(value: float) -> str:
    """A duration in the unit that suits it.

    >>> seconds(0.00123), seconds(12.3)
    ('1.23 ms', '12.3 s')
    """
    for factor, unit in ((1e-6, "us"), (1e-3, "ms")):
        if value < 1000 * factor:
            return f"{value / factor:.3g} {unit}"
    return f"{value:.3g} s"


def _bar(job: str, ratio: Ratio) -> str:
    bar = bar_of(job, ratio)
    if bar is None or bar.least is None:
        return ""
    return f"{bar.least:.3g}" + (", missed" if ratio.cpu < bar.least else "")


def _memory(each: Time) -> str:
    return "" if each.memory_mb is None else f"{each.memory_mb:.0f} MB"


def _drop_empty(rows: list[list[str]]) -> list[list[str]]:
    """Without the last column where nobody has it."""
    return rows if any(row[-1] for row in rows) else [row[:-1] for row in rows]


def _table(head: list[str], rows: list[list[str]]) -> str:
    width = len(rows[0]) if rows else len(head)
    lines = [head[:width], ["---"] * width, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _short(value: Any) -> Any:
    """Numbers with six digits: more are noise, and make a diff of every line."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _short(own) for key, own in value.items()}
    return [_short(own) for own in value] if isinstance(value, list) else value


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
