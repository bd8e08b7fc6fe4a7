"""The first page in plain words: what transfer gave, what survives shuffling, where it sits, one basin or not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from transferscope.config import Study
from transferscope.findings import Finding
from transferscope.report.content import Answer, Headline

Tables = Mapping[str, Mapping[str, pl.DataFrame]]


def answer(study: Study, tables: Tables, findings: Sequence[Finding]) -> Answer:
    """The answer of a study, from its tables; what wasn't measured is left out.

    Args:
        study: the study.
        tables: analysis -> table name -> rows.
        findings: the verdicts on the claims.
    """
    parts = [_gain(tables), _survival(tables), _place(tables), _basin(tables)]
    paragraphs = [text for text, _ in parts if text]
    headlines = [headline for _, headline in parts if headline is not None]
    held = sum(finding.verdict == "holds" for finding in findings)
    refuted = sum(finding.verdict == "does not hold" for finding in findings)
    paragraphs.append(
        f"Of the paper's {len(findings)} claims, {held} hold on this study, {refuted} do not, and "
        f"{len(findings) - held - refuted} are undecided, from {len(study.seeds)} seeds a kind."
    )
    return Answer(paragraphs=paragraphs, headlines=headlines)


Part = tuple[str, Headline | None]


def _gain(tables: Tables) -> Part:
    table = _rows(tables, "feature_reuse", pl.col("view") == "unshuffled")
    if table is None:
        return "", None
    by_target = _means(table, "target", "p_t", "ri_t", "gain", "p_t_speed", "ri_t_speed")
    best = max(by_target, key=lambda row: row["gain"])
    listed = "; ".join(
        f"{row['target']} {_points(row['gain'])} ({row['ri_t']:.2f} to {row['p_t']:.2f})" for row in by_target
    )
    mean = sum(row["gain"] for row in by_target) / len(by_target)
    speed = [sum(row[name] for row in by_target) / len(by_target) for name in ("p_t_speed", "ri_t_speed")]
    metric = (
        "accuracy or mean AUC" if table["metric"].n_unique() > 1 else table["metric"][0].replace("_", " ")
    )
    text = (
        f"What transfer gave: against training from scratch, starting from the pre-trained weights changed the test "
        f"{metric} by {listed}. It trained faster too: averaged over the epochs, the training metric was "
        f"{speed[0]:.2f} with pre-trained weights and {speed[1]:.2f} without."
    )
    detail = f"mean over {len(by_target)} targets; most on {best['target']}: {_points(best['gain'])}"
    return text, Headline(value=_points(mean), label="gain of P-T over RI-T", detail=detail)


def _survival(tables: Tables) -> Part:
    table = _rows(tables, "feature_reuse", pl.col("view") != "pixels_and_channels")
    if table is None or table.filter(pl.col("view") == "blocks").is_empty():
        return "", None
    smallest = table.filter(pl.col("view") == "blocks")["block_size_px"].min()
    shuffled = table.filter((pl.col("view") == "blocks") & (pl.col("block_size_px") == smallest))
    whole = table.filter(
        (pl.col("view") == "unshuffled") & pl.col("target").is_in(shuffled["target"].unique())
    )
    gain = [_mean_over_targets(part, "gain") for part in (whole, shuffled)]
    speed = [_mean_over_targets(part, "speed_gain") for part in (whole, shuffled)]
    text = (
        f"How much of it survives shuffling: with blocks of {smallest} px shuffled, so that no shape is left to reuse "
        f"a feature on, the gain is {_points(gain[1])} instead of {_points(gain[0])}, and the gain in optimization "
        f"speed {_points(speed[1])} instead of {_points(speed[0])} (mean over {whole['target'].n_unique()} targets). "
    )
    if gain[1] > 0 or speed[1] > 0:
        what = "both" if gain[1] > 0 and speed[1] > 0 else "accuracy" if gain[1] > 0 else "speed alone"
        text += f"What remains, in {what}, comes from low-level statistics and not from visual features."
    else:
        text += "Nothing remains that low-level statistics could have given."
    share = gain[1] / gain[0] if gain[0] > 0 else math.nan
    value = "not defined" if math.isnan(share) else f"{100 * share:.0f} %"
    detail = f"of the gain in the final metric, at {smallest} px blocks"
    return text, Headline(value=value, label="of the gain survives shuffling", detail=detail)


def _place(tables: Tables) -> Part:
    table = _rows(tables, "criticality", ~pl.col("is_head"))
    if table is None:
        return "", None
    p_t, ri_t = (table.filter(pl.col("kind") == kind) for kind in ("P-T", "RI-T"))
    by_module = {
        kind: {row["module"]: row for row in _means(part, "module", "test_drop", "test_drop_cumulative")}
        for kind, part in (("P-T", p_t), ("RI-T", ri_t))
    }
    free = [name for name, row in by_module["P-T"].items() if row["test_drop"] < 0.02]
    costly = max(by_module["P-T"].items(), key=lambda item: item[1]["test_drop"])
    together = next(
        (name for name, row in reversed(by_module["P-T"].items()) if row["test_drop_cumulative"] < 0.02), None
    )
    scratch = sum(row["test_drop"] for row in by_module["RI-T"].values()) / len(by_module["RI-T"])
    text = (
        f"Where it sits: putting one module of a fine-tuned network back to its pre-trained values costs less than "
        f"2 points for {_listed(free)}; the most costly is {costly[0]} ({_points(-costly[1]['test_drop'])}). "
    )
    text += (
        f"Everything up to {together} can be put back together at less than 2 points. "
        if together
        else "No two modules from the bottom up can be put back together at less than 2 points. "
        if not together and free
        else ""
    )
    text += (
        f"In a network trained from scratch, putting back one module costs {_points(scratch)[1:]} on average."
    )
    value = f"{len(free)} of {len(by_module['P-T'])}"
    return text, Headline(
        value=value,
        label="modules keep their pre-trained values at no cost",
        detail="one at a time, less than 2 points",
    )


def _basin(tables: Tables) -> Part:
    table = _rows(
        tables, "barriers", (pl.col("target") == pl.col("target_b")) & (pl.col("definition") == "line")
    )
    if table is None:
        return "", None
    height = {
        kind: _mean_over_targets(part, "barrier_metric")
        for kind in ("P-T & P-T", "RI-T & RI-T", "P-T & RI-T")
        if not (part := table.filter(pl.col("pair") == kind)).is_empty()
    }
    if "P-T & P-T" not in height:
        return "", None
    p_t = table.filter(pl.col("pair") == "P-T & P-T").with_columns(
        best=pl.max_horizontal("metric_a", "metric_b"),
        mean_ends=(pl.col("metric_a") + pl.col("metric_b")) / 2,
    )
    midpoint = p_t["metric_midpoint"].mean()
    shared = height["P-T & P-T"] < 0.02
    text = (
        f"Whether the instances share a basin: on the straight path between two fine-tuned networks the test metric "
        f"drops by at most {_points(height['P-T & P-T'])[1:]} below the line between them"
    )
    others = [
        f"{_points(height[kind])[1:]} for {kind}" for kind in ("RI-T & RI-T", "P-T & RI-T") if kind in height
    ]
    text += f" ({', '.join(others)}). " if others else ". "
    text += "They lie in one basin" if shared else "They are separated by a barrier"
    if isinstance(midpoint, float):
        ends = _mean_over_targets(p_t, "mean_ends")
        text += (
            f"; averaging the weights of two gives {_mean_over_targets(p_t, 'metric_midpoint'):.3f} where the two "
            f"themselves have {ends:.3f} on average"
        )
    label = "barrier between two fine-tuned networks"
    return text + ".", Headline(
        value=_points(height["P-T & P-T"])[1:],
        label=label,
        detail="one basin" if shared else "separate basins",
    )


def _rows(tables: Tables, analysis: str, where: pl.Expr) -> pl.DataFrame | None:
    """The analysis's own table, filtered; None where nothing is left."""
    if analysis not in tables:
        return None
    rows = tables[analysis][analysis].filter(where)
    return None if rows.is_empty() else rows


def _means(table: pl.DataFrame, by: str, *columns: str) -> list[dict[str, Any]]:
    return table.group_by(by, maintain_order=True).agg(pl.col(*columns).mean()).to_dicts()


def _mean_over_targets(table: pl.DataFrame, column: str) -> float:
    means = table.group_by("target").agg(pl.col(column).mean())[column]
    value = means.mean()
    return float(value) if isinstance(value, (int, float)) else math.nan


def _points(difference: float) -> str:
    """A difference of metrics in points of a hundred, with its sign."""
    return f"{100 * difference:+.1f} points"


def _listed(names: Sequence[str]) -> str:
    if not names:
        return "no module"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
