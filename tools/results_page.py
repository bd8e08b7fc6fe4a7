"""Print what came out of a finished run as a page of the documentation, in Markdown.

.venv/bin/python tools/results_page.py runs/demo > docs/demo-tables.md
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

KINDS = ("p_t", "ri_t")


def main(folder: Path) -> None:
    tables = {path.stem: pl.read_parquet(path) for path in (folder / "tables").glob("*.parquet")}
    origin = json.loads((folder / "provenance.json").read_text())
    findings = json.loads((folder / "findings.json").read_text())["findings"]
    print(provenance(origin))
    for section in (rates, by_block, pairs, similarity, distances):
        text = section(tables)
        if text:
            print(text)
    print(claims(findings))


def provenance(origin: Mapping[str, Any]) -> str:
    """How it was run: command, date, machine, time."""
    tasks = origin["tasks"]
    spent = sum(task["seconds"] for task in tasks if task.get("seconds"))
    said = {
        "command": f"`{origin['command']}`",
        "date": origin["written"][:10],
        "machine": f"{origin['hardware']['processor']}, {origin['hardware']['cores']} cores",
        "processes": f"{origin['num_workers']}, one thread each",
        "versions": origin["versions"],
        "tasks": f"{len(tasks)}, {spent:,.0f} seconds of one process",
    }
    lines = []
    for name, value in said.items():
        if isinstance(value, Mapping):
            value = ", ".join(f"{key} {item}" for key, item in value.items())
        lines.append([name, str(value)])
    return _table(["", "how it was run"], lines)


def rates(tables: Mapping[str, pl.DataFrame]) -> str:
    """The search of the learning rates, where there was one."""
    if "learning_rates" not in tables:
        return ""
    rows = [
        [
            row["target"],
            row["kind"],
            f"{row['rate']:g}",
            _number(row["held_out_metric"]),
            "yes" if row["chosen"] else "",
        ]
        for row in tables["learning_rates"].iter_rows(named=True)
    ]
    return "## Learning rates\n\n" + _table(["target", "kind", "rate", "held-out metric", "chosen"], rows)


def by_block(tables: Mapping[str, pl.DataFrame]) -> str:
    """Final metric and optimization speed of P-T / RI-T by block size, mean over seeds."""
    table = tables.get("feature_reuse")
    if table is None:
        return ""
    views = table.select("view", "block_size_px").unique(maintain_order=True).rows()
    views = list(dict.fromkeys((view, None if view == "unshuffled" else block) for view, block in views))
    names = [f"{block} px" if block else view.replace("_", " ") for view, block in views]
    parts = []
    for title, columns in (
        ("Test metric", KINDS),
        ("Optimization speed (training metric, mean over epochs)", [f"{kind}_speed" for kind in KINDS]),
    ):
        rows = []
        for target in table["target"].unique(maintain_order=True):
            cells = [_pair_of_means(table, target, view, block, columns) for view, block in views]
            rows.append([target, *cells])
        parts.append(
            f"## {title} of P-T / RI-T by block size, mean over seeds\n\n" + _table(["target", *names], rows)
        )
    return "\n".join(parts)


def pairs(tables: Mapping[str, pl.DataFrame]) -> str:
    """Barriers over the line, and the metric of the averaged weights, by kind of pair."""
    table = tables.get("barriers")
    if table is None:
        return ""
    here = (pl.col("definition") == "line") & (pl.col("target") == pl.col("target_b"))
    means = (
        table.filter(here & (pl.col("checkpoint") == "final"))
        .group_by("target", "pair", maintain_order=True)
        .agg(
            pl.len(),
            pl.col("barrier_metric", "barrier_loss", "metric_midpoint", "metric_a", "metric_b").mean(),
        )
    )
    rows = [
        [
            row["target"],
            row["pair"],
            str(row["len"]),
            _number(row["barrier_metric"]),
            _number(row["barrier_loss"]),
            _number(row["metric_midpoint"]),
            _number((row["metric_a"] + row["metric_b"]) / 2),
        ]
        for row in means.iter_rows(named=True)
    ]
    head = [
        "target",
        "pair",
        "pairs",
        "barrier of the metric",
        "of the loss",
        "metric at the midpoint",
        "at the ends",
    ]
    return "## Barriers\n\n" + _table(head, rows)


def similarity(tables: Mapping[str, pl.DataFrame]) -> str:
    """Linear CKA of equal layers by kind of pair, with the untrained baseline."""
    table = tables.get("feature_similarity")
    if table is None:
        return ""
    same = table.filter(pl.col("depth_a") == pl.col("depth_b"))
    layers = same.sort("depth_a")["layer_a"].unique(maintain_order=True).to_list()
    rows = []
    for target, pair in same.select("target", "pair").unique(maintain_order=True).rows():
        part = same.filter((pl.col("target") == target) & (pl.col("pair") == pair))
        found = dict(part.group_by("layer_a").agg(pl.col("linear_cka").mean()).rows())
        rows.append([target, pair, *(_number(found.get(layer)) for layer in layers)])
    return "## Linear CKA by layer, mean over pairs\n\n" + _table(["target", "pair", *layers], rows)


def distances(tables: Mapping[str, pl.DataFrame]) -> str:
    """L2 distance of the whole network without its head."""
    table = tables.get("parameter_distance")
    if table is None:
        return ""
    whole = table.filter(pl.col("depth").is_null())
    means = whole.group_by("target", "pair", maintain_order=True).agg(pl.col("distance", "cosine").mean())
    rows = [[t, pair, _number(distance), _number(cosine)] for t, pair, distance, cosine in means.rows()]
    return "## L2 distance, without the head\n\n" + _table(
        ["target", "pair", "distance", "cosine of the updates"], rows
    )


def claims(findings: Sequence[Mapping[str, Any]]) -> str:
    """Every claim as it came out."""
    shown = [finding["verdict"] if finding["num_seeds"] else "not measured" for finding in findings]
    count = Counter(shown)
    rows = []
    for finding, verdict in zip(findings, shown, strict=True):
        ours = "" if finding["origin"] == "paper" else " (beyond the paper)"
        interval = (
            "–" if finding["low"] is None else f"{_number(finding['low'])} to {_number(finding['high'])}"
        )
        ps = "–" if finding["p_value"] is None else f"{finding['p_value']:.2g}, {finding['p_adjusted']:.2g}"
        evidence = f"{verdict} ({finding['evidence']})" if finding["num_seeds"] else verdict
        effect = _number(finding["effect"])
        rows.append([finding["statement"] + ours, evidence, finding["size"], effect, interval, ps])
    names = ["holds", "does not hold", "undecided", *(["not measured"] if count["not measured"] else [])]
    verdicts = ", ".join(f"{count[name]} {name}" for name in names)
    head = ["claim", "verdict (evidence)", "size", "effect", "95 % interval", "p, adjusted (Holm)"]
    return f"## Claims\n\nVerdicts: {verdicts}.\n\n" + _table(head, rows)


def _pair_of_means(
    table: pl.DataFrame, target: str, view: str, block: int | None, columns: Iterable[str]
) -> str:
    rows = table.filter((pl.col("target") == target) & (pl.col("view") == view))
    if block is not None:
        rows = rows.filter(pl.col("block_size_px") == block)
    return "–" if rows.is_empty() else " / ".join(f"{rows[column].mean():.3f}" for column in columns)


def _number(value: float | None) -> str:
    return "–" if value is None or value != value else f"{value:.3g}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
