"""What to do with the pre-trained weights: each piece of advice with its evidence and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from transferscope.analyses.findings import MIN_SEEDS, SMALL_METRIC, Estimate
from transferscope.report.page.content import Advice, Certainty
from transferscope.report.page.phrases import (
    counted,
    estimated,
    interval,
    listed,
    mean_estimate,
    points,
    side,
    targets_of,
)

Tables = Mapping[str, Mapping[str, pl.DataFrame]]


def advice(tables: Tables) -> list[Advice]:
    """Whether to pre-train, which checkpoint to take, what to leave frozen, whether averaging is safe.

    Args:
        tables: analysis -> table name -> rows; what wasn't measured gives no line.
    """
    return [*_pretrain(tables), *_checkpoint(tables), *_freeze(tables), *_average(tables)]


def _table(tables: Tables, analysis: str, name: str) -> pl.DataFrame | None:
    table = tables.get(analysis, {}).get(name)
    return None if table is None or table.is_empty() else table


def _clear_or_open(found: Estimate, threshold: float = 0.0) -> tuple[Certainty, str]:
    """Clear where the whole interval lies on one side of the threshold."""
    seeds = counted(found.num_seeds, "seed")
    if side(found, threshold):
        return "clear", f"the whole 95 % interval over {seeds} lies on one side"
    if found.num_seeds < MIN_SEEDS:
        return "open", f"{seeds} give no interval; at least {MIN_SEEDS} are needed"
    if not math.isfinite(found.low):
        return "open", f"there is no interval over {seeds}"
    return "open", f"the 95 % interval over {seeds} reaches over both answers; more seeds would narrow it"


def _pretrain(tables: Tables) -> Iterator[Advice]:
    table = _table(tables, "feature_reuse", "feature_reuse")
    if table is None:
        return
    whole = table.filter(pl.col("view") == "unshuffled")
    advised = {
        1: "Start from the pre-trained weights on {}.",
        -1: "Train from scratch on {}.",
        0: "Start from the pre-trained weights where time counts, on {}: they train faster. Whether the final metric "
        "gains can't be told.",
    }
    found: dict[tuple[str, Certainty, str], list[tuple[str, str]]] = {}
    for target in targets_of(whole):
        own = whole.filter(pl.col("target") == target)
        gain, speed = mean_estimate(own, "gain"), mean_estimate(own, "speed_gain")
        text, decides = advised[side(gain)], gain
        if side(gain) == 0 and side(speed) > 0:
            decides = speed
        elif side(gain) == 0:
            seeds = counted(gain.num_seeds, "seed")
            text = f"Whether to pre-train for {{}} can't be told from {seeds}."
        evidence = f"ain {estimated(gain)}, in optimization speed {estimated(speed)}."
        certainty, why = _clear_or_open(decides)
        if decides is speed:
            why = f"{why}, for the speed"
        found.setdefault((text, certainty, why), []).append((target, evidence))
    # targets of the same advice have one line
    for (text, certainty, why), same in found.items():
        lines = [f"On {target}, g{evidence}" for target, evidence in same]
        yield Advice(
            text=text.format(listed([target for target, _ in same])),
            evidence=" ".join(lines) if len(same) > 1 else f"G{same[0][1]}",
            certainty=certainty,
            why=why,
            analysis="feature_reuse",
        )


def _checkpoint(tables: Tables) -> Iterator[Advice]:
    table = _table(tables, "checkpoints", "checkpoints_choice")
    if table is None:
        return
    for row in table.iter_rows(named=True):
        best = f"epoch {row['best_epoch']}, {row['best_metric']:.3f}"
        seeds = counted(row["num_seeds"], "seed")
        certainty, why = "indirect", f"by the rule of one standard error over {seeds}, from one pre-training"
        if row["recommended_epoch"] is None:
            text = f"Which checkpoint to take for {row['target']} can't be told from {seeds}."
            evidence = f"The best is {best}, of {row['last_epoch']} epochs."
            certainty, why = "open", f"{seeds} give no standard error"
        elif row["recommended_epoch"] == row["best_epoch"]:
            text = f"For {row['target']}, start from pre-training epoch {row['best_epoch']} of {row['last_epoch']}."
            evidence = (
                f"There is no earlier one within one standard error of its {row['best_metric']:.3f} (standard error "
                f"{row['standard_error']:.4f} over {seeds})."
            )
        else:
            of = f"{row['recommended_epoch']} of {row['last_epoch']}"
            text = f"For {row['target']}, pre-training epoch {of} is enough."
            evidence = (
                f"It is the earliest within one standard error of the best ({best}, standard error "
                f"{row['standard_error']:.4f} over {seeds}); the difference is {points(row['difference'])}"
                f"{_ends(row)}."
            )
        yield Advice(text=text, evidence=evidence, certainty=certainty, why=why, analysis="checkpoints")


def _ends(row: Mapping[str, Any]) -> str:
    if not math.isfinite(row["difference_low"]):
        return ""
    ends = [f"{100 * row[name]:+.1f}".replace("-", "−") for name in ("difference_low", "difference_high")]
    return f" [{ends[0]}, {ends[1]}]"


def _freeze(tables: Tables) -> Iterator[Advice]:
    """The modules from the bottom up that every P-T can keep, and what that costs on test images."""
    table = _table(tables, "criticality", "criticality_freezing")
    if table is None:
        return
    rows = table.filter((pl.col("kind") == "P-T") & (pl.col("order") == "bottom up"))
    for target in targets_of(rows):
        own = rows.filter(pl.col("target") == target)
        text, evidence = _frozen(own, target)
        certainty, why = (
            "indirect",
            "judged by putting modules back after training, not by training with them frozen",
        )
        if (seeds := own["seed"].n_unique()) < MIN_SEEDS:
            text = f"Which modules of {target} to leave frozen can't be told from {counted(seeds, 'seed')}."
            certainty, why = "open", f"at least {MIN_SEEDS} seeds are needed"
        yield Advice(text=text, evidence=evidence, certainty=certainty, why=why, analysis="criticality")


def _frozen(own: pl.DataFrame, target: str) -> tuple[str, str]:
    """The advice on freezing for one target, and its evidence."""
    chosen = own.filter("chosen")
    seeds = own["seed"].n_unique()
    counts = chosen["num_modules"].to_list()
    if chosen.is_empty() or chosen["seed"].n_unique() < seeds:
        text = f"No set of modules of {target} can be left frozen in every one of {counted(seeds, 'seed')}."
        return text, ""
    count = min(counts)
    kept = own.filter(pl.col("num_modules") == count)
    limit = points(kept["acceptable_drop"][0], signed=False)
    if not count:
        return f"Leave no module of {target} frozen.", (
            f"Putting even the lowest back costs more than {limit} of the training metric in {counts.count(0)} of "
            f"{counted(seeds, 'seed')}."
        )
    drop = mean_estimate(kept, "test_drop")
    text = f"On {target}, leave {_names(kept['modules'][0])} frozen ({100 * kept['share'][0]:.0f} % of the parameters)."
    return text, (
        f"Back at their pre-trained values together, they cost at most {limit} of the training metric in every seed, "
        f"and {points(drop.effect, signed=False)} {interval(drop)} of the test metric."
    )


def _names(modules: str) -> str:
    return listed([name.strip() for name in modules.split(",")])


def _average(tables: Tables) -> Iterator[Advice]:
    """Whether the mean of two instances' weights is as good as the instances."""
    table = _table(tables, "barriers", "barriers_averaging")
    if table is None:
        return
    averaged = table.filter(
        (pl.col("what") == "averaged weights")
        & (pl.col("num_instances") == 2)
        & pl.col("seed_a").is_not_null()
    )
    safe = {
        1: "Averaging the weights of two fine-tuned networks is safe.",
        -1: "Don't average the weights of two fine-tuned networks.",
        0: "Whether averaging the weights of two fine-tuned networks is safe can't be told from these seeds.",
    }
    p_t, ri_t = (_of_kind(averaged, kind) for kind in ("P-T", "RI-T"))
    if p_t.is_empty():
        return
    gain = mean_estimate(p_t, "metric_gain")
    line = f"{estimated(gain)} against the two on average, as they were trained".replace(
        "points", "points of the test metric", 1
    )
    if not ri_t.is_empty():
        line += f"; of two trained from scratch {estimated(mean_estimate(ri_t, 'metric_gain'))}"
    certainty, why = _clear_or_open(gain, -SMALL_METRIC)
    yield Advice(
        text=safe[side(gain, -SMALL_METRIC)],
        evidence=f"{line} (mean over {counted(len(targets_of(p_t)), 'target')}).",
        certainty=certainty,
        why=why,
        analysis="barriers",
    )


def _of_kind(averaged: pl.DataFrame, kind: str) -> pl.DataFrame:
    names: Sequence[str] = (kind, f"{kind} & {kind}")
    return averaged.filter(pl.col("pair").is_in(names) & (pl.col("target") == pl.col("target_b")))
