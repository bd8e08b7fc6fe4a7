"""Recompute every finding of a study from its tables, from the words of docs/findings.md alone.

.venv/bin/python tools/recompute.py DIR

DIR is the folder of a run, with tables/*.csv and findings.json. Nothing of transferscope is imported: only NumPy, SciPy
and Polars. Every effect, interval, p-value and word is compared; differences are printed, and the exit code is 1 if
there are any.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy import stats

Table = pl.DataFrame
Statistic = Callable[[Table], float]
Numbers = dict[str, Any]

col = pl.col
ROUNDING = 1e-12
SIZES = {"": (0.02, 0.05, 0.15), "x": (1.1, 1.5, 3.0), "nats": (0.05, 0.2, 1.0)}
REPEAT_RATES = {"strong": 0.94, "some": 0.75, "hint": 0.54}


# Statistics of one target


def mean(rows: Table, column: str, where: pl.Expr | None = None) -> float:
    value = (rows if where is None else rows.filter(where))[column].mean()
    return math.nan if value is None else float(value)  # type: ignore[arg-type]


def slope(rows: Table, x: str, y: str, one: list[str], log: bool = False) -> float:
    """Mean over networks or pairs of the least-squares slope, times the range of x."""
    slopes = []
    for _, part in rows.group_by(one):
        places, values = part[x].to_numpy().astype(float), part[y].to_numpy().astype(float)
        if np.ptp(places) == 0:
            return math.nan
        slopes.append(np.polyfit(places, np.log(values) if log else values, 1)[0] * np.ptp(places))
    return float(np.mean(slopes)) if slopes else math.nan


def pair(column: str, kind: str, **equal: str) -> Statistic:
    where = [col("pair") == kind, *(col(name) == value for name, value in equal.items())]
    return lambda rows: mean(rows, column, pl.all_horizontal(where))


def drop(kind: str) -> Statistic:
    return pair("interior_drop_metric", kind, definition="line", checkpoint="final")


def log_ratio(part: float, whole: float) -> float:
    return math.log(part / whole) if part > 0 and whole > 0 else math.nan


def unshuffled(rows: Table) -> float:
    return mean(rows, "gain", col("view") == "unshuffled")


def at_smallest(rows: Table, column: str) -> float:
    blocks = rows.filter(col("view") == "blocks")
    return mean(blocks, column, col("block_size_px") == blocks["block_size_px"].min())


def gain_slope(rows: Table) -> float:
    sized = rows.filter(col("view").is_in(["unshuffled", "blocks"]))
    return slope(
        sized.with_columns(log_size=col("block_size_px").cast(pl.Float64).log()), "log_size", "gain", ["seed"]
    )


def uncommon(rows: Table) -> float:
    share = {kind: mean(rows, "uncommon_share", (col("pair") == kind) & (col("scope") == "all"))
             for kind in ("P-T & P-T", "P-T & RI-T", "RI-T & RI-T")}  # fmt: skip
    return log_ratio(share["P-T & P-T"], float(np.minimum(share["P-T & RI-T"], share["RI-T & RI-T"])))


def judged(rows: Table, wrong: str) -> float:
    own = rows.filter((col("pair") == "P-T & RI-T") & (col("wrong") == wrong) & (col("n") > 0))
    by_judge = own.group_by("a", "b", "judge_kind").agg(col("judged_wrong").mean())
    return mean(by_judge.group_by("a", "b").agg(col("judged_wrong").mean()), "judged_wrong")


def cka(rows: Table, kind: str) -> float:
    return mean(rows, "linear_cka", (col("pair") == kind) & (col("depth_a") == col("depth_b")))


def cka_with_ri_t(rows: Table) -> float:
    return float(np.maximum(cka(rows, "P-T & RI-T"), cka(rows, "RI-T & RI-T")))


def cka_fall(rows: Table) -> float:
    own = rows.filter((col("pair") == "P-T & P-T") & (col("depth_a") == col("depth_b")))
    return -slope(own, "depth_a", "linear_cka", ["a", "b"])


def distance(rows: Table) -> float:
    whole = col("module") == "all"
    near, far = (
        mean(rows, "distance", (col("pair") == kind) & whole) for kind in ("P-T & P-T", "RI-T & RI-T")
    )
    return log_ratio(near, far)


def distance_growth(rows: Table) -> float:
    modules = rows.filter((col("module") != "all") & (col("depth") < rows["depth"].max()))
    return slope(
        modules.filter(col("pair") == "P-T & P-T"), "depth", "distance", ["seed_a", "seed_b"], log=True
    )


def low_drop(kind: str) -> Statistic:
    def statistic(rows: Table) -> float:
        body = rows.filter(~col("is_head"))
        low = body.filter(col("depth") < (body["depth"].max() + 1) / 2)  # type: ignore[operator]
        return mean(low, "test_drop", col("kind") == kind)

    return statistic


def criticality_growth(rows: Table) -> float:
    body = rows.filter((col("kind") == "P-T") & ~col("is_head"))
    rises = body.with_columns(rise=pl.max_horizontal("train_rise_loss", pl.lit(1e-3)))
    return slope(rises, "depth", "rise", ["seed"], log=True)


def course(rows: Table) -> dict[int, float]:
    own = rows.filter((col("kind") == "RI-T") & ~col("is_head"))
    return dict(own.group_by("epoch").agg(col("test_drop").mean()).sort("epoch").iter_rows())


def suddenness(rows: Table) -> float:
    drops = {0: 0.0, **course(rows)}
    highest = dict(zip(drops, np.maximum.accumulate(list(drops.values())).tolist(), strict=True))
    end = max(highest)
    steps = [highest[b] - highest[a] for a in highest for b in highest if a < b <= a + 0.1 * end]
    return max(steps) / highest[end] if highest[end] >= 0.02 else math.nan


def becomes_critical(rows: Table) -> float:
    drops = list(course(rows).values())
    return min(0.02 - drops[0], drops[-1] - 0.02)


def epochs_of(rows: Table) -> list[int]:
    return sorted(set(rows["pretrain_epoch"].to_list()))


def at_epoch(rows: Table, epoch: int, column: str = "target_metric") -> float:
    return mean(rows, column, col("pretrain_epoch") == epoch)


def since_first(rows: Table) -> float:
    trained = [epoch for epoch in epochs_of(rows) if epoch > 0]
    return at_epoch(rows, trained[-1]) - at_epoch(rows, trained[0])


def since_middle(rows: Table) -> float:
    trained = [epoch for epoch in epochs_of(rows) if epoch > 0]
    middle = min(trained, key=lambda epoch: (abs(epoch - trained[-1] / 2), epoch))
    return at_epoch(rows, trained[-1]) - at_epoch(rows, middle)


def carried_over(rows: Table) -> float:
    drops = set(rows.filter(col("after_rate_drop"))["pretrain_epoch"].to_list())
    steps = [(a, b) for a, b in pairwise([0, *(e for e in epochs_of(rows) if e > 0)]) if b in drops]
    target, source = (
        sum(at_epoch(rows, b, column) - at_epoch(rows, a, column) for a, b in steps)
        for column in ("target_metric", "source_metric")
    )
    return target / source if source > 0 else math.nan


def spectra(rows: Table) -> float:
    positive = rows.filter(col("mean") > 0)
    differences = []
    for _, part in positive.group_by("convolution"):
        logs = [part.filter(col("kind") == kind)["mean"].log().mean() for kind in ("P-T", "RI-T")]
        if None not in logs:
            differences.append(logs[0] - logs[1])  # type: ignore[operator]
    return float(np.mean(differences)) if differences else math.nan


def part(name: str, quantity: str = "final metric") -> Statistic:
    return lambda rows: mean(rows, "value", (col("part") == name) & (col("quantity") == quantity))


STATISTICS: Mapping[str, Statistic] = {
    "gain_shrinks_with_blocks": lambda rows: unshuffled(rows) - at_smallest(rows, "gain"),
    "gain_falls_along_block_sizes": gain_slope,
    "gain_shrinks_most_near_source": lambda rows: unshuffled(rows) - at_smallest(rows, "gain"),
    "gain_survives_shuffling": lambda rows: at_smallest(rows, "gain"),
    "statistics_help_speed_most": lambda rows: at_smallest(rows, "speed_gain") - at_smallest(rows, "gain"),
    "p_t_share_mistakes": uncommon,
    "p_t_mistakes_are_ambiguous": lambda rows: judged(rows, "only a") - judged(rows, "only b"),
    "p_t_features_are_similar": lambda rows: cka(rows, "P-T & P-T") - cka_with_ri_t(rows),
    "p_t_similarity_falls_with_depth": cka_fall,
    "ri_t_features_are_dissimilar": lambda rows: (
        cka_with_ri_t(rows) - (cka(rows, "RI & RI") + cka(rows, "P-T & P-T")) / 2
    ),
    "p_t_are_close": distance,
    "distance_grows_toward_head": distance_growth,
    "no_barrier_between_p_t": drop("P-T & P-T"),
    "barrier_p_t_ri_t": drop("P-T & RI-T"),
    "barrier_ri_t_ri_t": drop("RI-T & RI-T"),
    "barrier_ri_t_same_init": drop("RI-T & RI-T, same init"),
    "barrier_between_several_p": drop("P-T & P-T, other P"),
    "p_t_share_a_basin": pair("margin", "P-T & P-T"),
    "ri_t_do_not_share_a_basin": pair("margin", "RI-T & RI-T"),
    "p_t_can_be_averaged": pair("metric_gain", "P-T & P-T", what="averaged weights"),
    "p_t_low_modules_not_critical": low_drop("P-T"),
    "p_t_criticality_grows_toward_head": criticality_growth,
    "ri_t_low_modules_critical": low_drop("RI-T"),
    "ri_t_becomes_critical_in_training": becomes_critical,
    "ri_t_becomes_critical_suddenly": suddenness,
    "later_checkpoints_are_better": since_first,
    "late_checkpoints_differ_little": since_middle,
    "source_jumps_do_not_carry_over": carried_over,
    "ri_t_spectra_are_smaller": spectra,
    "weight_statistics_speed_up": part("weight statistics", "optimization speed"),
    "features_give_more_than_statistics": lambda rows: (
        part("beyond weight statistics")(rows) - part("weight statistics")(rows)
    ),
    "features_survive_shuffling": part("features on shuffled blocks"),
}


# The test


def seed_columns(rows: Table) -> list[str]:
    return [name for name in rows.columns if name.startswith("seed")]


def jackknife(values: list[float]) -> tuple[float, float]:
    """Variance and its degrees of freedom."""
    n = len(values)
    return (n - 1) / n * float(np.square(np.subtract(values, np.mean(values))).sum()), n - 1


def on_one_target(statistic: Statistic, rows: Table, images: Table | None) -> Numbers:
    """The statistic, the parts of its variance, and the seeds of one target."""
    columns = seed_columns(rows)
    seeds = sorted({seed for name in columns for seed in rows[name].drop_nulls()})
    parts = []
    if len(seeds) > 2:
        without = [
            statistic(rows.filter(pl.all_horizontal([col(name).ne_missing(seed) for name in columns])))
            for seed in seeds
        ]
        parts.append(jackknife(without))
    if images is not None and images.height:
        groups = [statistic(group) for _, group in images.group_by(["without_group"])]
        parts.append(jackknife(groups))
    return {"effect": statistic(rows), "parts": parts, "num_seeds": len(seeds)}


def compare_with(claim: Numbers, found: Numbers) -> Numbers:
    """Interval, p and the side."""
    null = math.log(claim["threshold"]) if claim["unit"] == "x" else claim["threshold"]
    values = [value for value, _ in found["parts"]]
    variance = sum(values) if values else math.nan
    numbers = {"num_seeds": found["num_seeds"], "p_value": math.nan, "is_negligible": False}
    ends = [math.nan, math.nan]
    if math.isfinite(found["effect"]) and math.isfinite(variance) and math.sqrt(variance) > ROUNDING:
        df = variance**2 / sum(value**2 / own for value, own in found["parts"] if value > 0)
        t = stats.t(df, loc=found["effect"], scale=math.sqrt(variance))
        ends = [float(end) for end in t.interval(0.95)]
        if found["num_seeds"] > 2:
            numbers["p_value"] = float(2 * stats.t.sf(abs(found["effect"] - null) / math.sqrt(variance), df))
            margin = math.log(SIZES["x"][0]) if claim["unit"] == "x" else SIZES[claim["unit"]][0]
            low, high = t.interval(0.9)
            numbers["is_negligible"] = bool(-margin < low and high < margin)
    shown = [found["effect"], *ends]
    if claim["unit"] == "x":
        shown = [math.exp(number) for number in shown]
    numbers |= dict(zip(("effect", "low", "high"), shown, strict=True))
    is_claimed = (found["effect"] > null) == (claim["side"] == "above") and found["effect"] != null
    return {**numbers, "is_on_claimed_side": is_claimed}


def words(claim: Numbers, numbers: Numbers, p_adjusted: float = math.nan) -> Numbers:
    """Evidence, verdict, size and repeat rate."""
    p = numbers["p_value"]
    if p < 0.025:
        evidence = "strong" if p < 0.005 or p_adjusted < 0.05 else "some"
    elif numbers["is_negligible"]:
        evidence = "shown to be negligible"
    else:
        evidence = "hint" if p < 0.05 else "open"
    verdict = "undecided"
    if evidence in ("strong", "some"):
        verdict = "holds" if numbers["is_on_claimed_side"] else "does not hold"
    effect, size = numbers["effect"], "unknown"
    if math.isfinite(effect) and not (claim["unit"] == "x" and effect <= 0):
        distance = max(effect, 1 / effect) if claim["unit"] == "x" else abs(effect)
        names = ("negligible", "small", "medium", "large")
        size = names[int(np.searchsorted(SIZES[claim["unit"]], distance, side="right"))]
    return {"evidence": evidence, "verdict": verdict, "size": size, "repeat_rate": REPEAT_RATES.get(evidence)}


def recomputed(claim: Numbers, tables: Mapping[str, Table]) -> Numbers:
    """What the tables say of one claim, on all targets and on each; without the words, which need Holm's p."""
    statistic, table = STATISTICS[claim["id"]], tables[claim["table"]]
    images = tables.get(f"{claim['table']}_images") if claim["num_images"] else None
    if claim["table"] == "feature_reuse":
        table, images = _moved(table, table), None if images is None else _moved(images, table)
    names = [one["target"] for one in claim["targets"]]
    if claim["across"] == "contrast":
        ranks = table.filter(col("likeness_rank").is_not_null()).sort("likeness_rank")
        ranks = (
            ranks.filter(col("target").is_in(_shuffled(table)))["target"]
            .unique(maintain_order=True)
            .to_list()
        )
        weights = {ranks[0]: 1.0, ranks[-1]: -1.0}
    else:
        weights = dict.fromkeys(names, 1 / len(names))
    each = {
        name: on_one_target(
            statistic,
            table.filter(col("target") == name),
            None if images is None else images.filter(col("target") == name),
        )
        for name in weights
    }
    sizes = {len(found["parts"]) for found in each.values()}
    parts = [(weights[name] ** 2 * value, df) for name, found in each.items() for value, df in found["parts"]]
    overall = {
        "effect": sum(weights[name] * found["effect"] for name, found in each.items()),
        "parts": parts if len(sizes) == 1 else [],
        "num_seeds": min(found["num_seeds"] for found in each.values()),
    }
    numbers = compare_with(claim, overall)
    targets = {name: compare_with(claim, each[name]) for name in names}
    if claim["across"] == "each" and len(targets) > 1:
        against = [one["p_value"] for one in targets.values() if not one["is_on_claimed_side"]]
        tested = [p for p in against if not math.isnan(p)]
        largest = max((one["p_value"] for one in targets.values()), key=lambda p: (math.isnan(p), p))
        numbers["p_value"] = (
            min(1.0, len(targets) * min(tested)) if tested else math.nan if against else largest
        )
        numbers["is_on_claimed_side"] = not against
        numbers["is_negligible"] = all(one["is_negligible"] for one in targets.values())
    return {**numbers, "targets": targets}


def _moved(rows: Table, table: Table) -> Table:
    """The rows without those whose permutation moves no block."""
    if "shuffle_seed" not in table.columns:
        return rows
    sizes = dict(table.filter(view="unshuffled").select("target", "block_size_px").iter_rows())
    still = []
    for target, block, seed, drawn in (
        table.filter(view="blocks").select("target", "block_size_px", "seed", "shuffle_seed").iter_rows()
    ):
        count = (sizes[target] // block) ** 2
        if np.array_equal(np.random.RandomState(drawn).permutation(count), np.arange(count)):
            still.append((target, block, seed))
    gone = [
        (row[0], row[1], row[2]) in still and row[3] == "blocks"
        for row in rows.select("target", "block_size_px", "seed", "view").iter_rows()
    ]
    return rows.filter(~pl.Series(gone, dtype=pl.Boolean))


def _shuffled(table: Table) -> list[str]:
    return table.filter(col("view") == "blocks")["target"].unique().to_list()


def holm(p_values: list[float]) -> list[float]:
    """Adjusted p-values; NaN is not counted."""
    order = [place for place in np.argsort(p_values) if not math.isnan(p_values[place])]
    adjusted, largest = [math.nan] * len(p_values), 0.0
    for smaller, place in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - smaller) * p_values[place]))
        adjusted[place] = largest
    return adjusted


# The comparison

NUMBERS = ("effect", "low", "high", "p_value")


def differences(entries: list[Numbers], tables: Mapping[str, Table]) -> list[str]:
    """One line for each number or word of the findings that is not what the tables say."""
    measured = [entry for entry in entries if entry["num_seeds"] > 0]
    ours = [recomputed(entry, tables) for entry in measured]
    found = []
    for entry, own, p_adjusted in zip(measured, ours, holm([one["p_value"] for one in ours]), strict=True):
        own["p_adjusted"] = p_adjusted
        found += _unlike(entry["id"], entry, {**own, **words(entry, own, p_adjusted)})
        for one in entry["targets"]:
            target = own["targets"][one["target"]]
            found += _unlike(f"{entry['id']} on {one['target']}", one, {**target, **words(entry, target)})
    return found


def _unlike(name: str, entry: Numbers, own: Numbers) -> list[str]:
    lines = []
    for field in (*NUMBERS, *(["p_adjusted"] if "p_adjusted" in own else [])):
        theirs = math.nan if entry[field] is None else entry[field]
        if not np.isclose(theirs, own[field], rtol=1e-5, atol=1e-8, equal_nan=True):
            lines.append(f"{name}: {field} is {theirs:.6g}, recomputed {own[field]:.6g}")
    for field in (
        "num_seeds",
        "is_on_claimed_side",
        "is_negligible",
        "evidence",
        "verdict",
        "size",
        "repeat_rate",
    ):
        if entry[field] != own[field]:
            lines.append(f"{name}: {field} is {entry[field]}, recomputed {own[field]}")
    return lines


def main(folder: str) -> int:
    """Compare a folder; 1 if something differs."""
    place = Path(folder)
    entries = json.loads((place / "findings.json").read_text())["findings"]
    tables = {
        path.stem: pl.read_csv(path, infer_schema_length=None) for path in (place / "tables").glob("*.csv")
    }
    lines = differences(entries, tables)
    print("\n".join(lines))
    measured = [entry for entry in entries if entry["num_seeds"] > 0]
    print(f"{len(measured)} of {len(entries)} claims were measured; {len(lines)} numbers or words differ.")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
