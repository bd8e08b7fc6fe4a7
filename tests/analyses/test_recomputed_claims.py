"""Every claim on made-up studies of two targets, computed anew in plain Python with SciPy from the rows of its table.

Written from the words of `statistic` and docs/findings.md, sharing no code with the analyses: effect, interval, p and
verdict must be the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pytest
from planted_studies import SCENARIOS, Draw, Scenario
from scipy import stats

from transferscope.analyses.contract import all_claims, analysis_module

BY_ID = {claim.id: claim for claim in all_claims()}

SEEDS = range(4)
NO_STUDY: Any = None
Rows = list[dict[str, Any]]


def of(rows: Rows, **wanted: Any) -> Rows:
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def groups(rows: Rows, *names: str) -> dict[tuple[Any, ...], Rows]:
    found: dict[tuple[Any, ...], Rows] = {}
    for row in rows:
        found.setdefault(tuple(row[name] for name in names), []).append(row)
    return found


def mean(numbers: Iterable[float]) -> float:
    return float(np.mean(list(numbers)))


def over_targets(rows: Rows, value: str | Callable[[dict[str, Any]], float]) -> float:
    number = (lambda row: row[value]) if isinstance(value, str) else value
    return mean(mean(map(number, part)) for part in groups(rows, "target").values())


def shrinkage(rows: Rows, rank: int | None = None) -> float:
    of_rank = groups(rows if rank is None else of(rows, likeness_rank=rank), "target").values()
    return mean(
        mean(row["relative_gain"] for row in of(part, view="unshuffled"))
        - mean(row["relative_gain"] for row in of(part, view="blocks", block_size_px=1))
        for part in of_rank
    )


def small(rows: Rows) -> Rows:
    return of(rows, view="blocks", block_size_px=1)


def uncommon(rows: Rows, pair: str) -> float:
    return over_targets(of(rows, pair=pair), "uncommon_share")


def judged(rows: Rows, who: str) -> float:
    pairs = groups([row for row in of(rows, wrong=who) if row["n"]], "target", "a", "b").values()
    shares: Rows = [
        {
            "target": part[0]["target"],
            "share": mean(
                mean(row["judged_wrong"] for row in own) for own in groups(part, "judge_kind").values()
            ),
        }
        for part in pairs
    ]
    return over_targets(shares, "share")


def cka(rows: Rows, pair: str) -> float:
    return over_targets(
        [row for row in of(rows, pair=pair) if row["depth_a"] == row["depth_b"]], "linear_cka"
    )


def most_like_ri_t(rows: Rows) -> float:
    return max(cka(rows, "P-T & RI-T"), cka(rows, "RI-T & RI-T"))


def at_depth(rows: Rows, depth: int) -> float:
    return over_targets(of(rows, pair="P-T & P-T", depth_a=depth, depth_b=depth), "linear_cka")


def whole_distance(rows: Rows, pair: str) -> float:
    return over_targets(of(rows, pair=pair, module="all"), "distance")


def rank_correlation(rows: Rows, value: str, *instance: str) -> float:
    profiles: Rows = []
    for part in groups(rows, "target", *instance).values():
        found: Any = stats.spearmanr([row["depth"] for row in part], [row[value] for row in part])
        profiles.append({"target": part[0]["target"], "found": found.statistic})
    return over_targets(profiles, "found")


def barrier(pair: str) -> Callable[[Rows], float]:
    return lambda rows: over_targets(
        of(rows, pair=pair, checkpoint="final", definition="line"), "barrier_metric"
    )


def low_drop(kind: str) -> Callable[[Rows], float]:
    def statistic(rows: Rows) -> float:
        body = of(rows, kind=kind, is_head=False)
        count = 1 + max(row["depth"] for row in body)
        return over_targets([row for row in body if row["depth"] < count / 2], "test_drop")

    return statistic


def suddenness(rows: Rows) -> float:
    shares = []
    for part in groups(of(rows, kind="RI-T", is_head=False), "target").values():
        drops = {
            epoch: mean(row["test_drop"] for row in own) for (epoch,), own in groups(part, "epoch").items()
        }
        epochs = sorted(drops)
        highest = {0: 0.0} | {last: max(0.0, *(drops[e] for e in epochs if e <= last)) for last in epochs}
        near = [(a, b) for a in highest for b in highest if a < b <= a + epochs[-1] / 10]
        shares.append(max(highest[b] - highest[a] for a, b in near) / highest[epochs[-1]])
    return mean(shares)


def at_epoch(rows: Rows, epoch: int, name: str = "target_metric") -> float:
    return over_targets(of(rows, pretrain_epoch=epoch), name)


def carried_over(rows: Rows) -> float:
    epochs = sorted({row["pretrain_epoch"] for row in rows})
    drops = [(a, b) for a, b in pairwise(epochs) if of(rows, pretrain_epoch=b, after_rate_drop=True)]
    change = {
        name: sum(at_epoch(rows, b, name) - at_epoch(rows, a, name) for a, b in drops)
        for name in ("target_metric", "source_metric")
    }
    return change["target_metric"] / change["source_metric"]


def middle(rows: Rows) -> tuple[int, int, int]:
    """First trained, middle and last checkpoint."""
    trained = sorted({row["pretrain_epoch"] for row in rows} - {0})
    return trained[0], min(trained, key=lambda epoch: abs(epoch - trained[-1] / 2)), trained[-1]


def spectra(rows: Rows) -> float:
    differences: Rows = []
    for (target, _), part in groups(rows, "target", "convolution").items():
        means = [
            mean(row["mean_relative"] for row in of(part, kind=kind) if row["mean_relative"] >= 0)
            for kind in ("P-T", "RI-T")
        ]
        differences.append({"target": target, "difference": means[0] - means[1]})
    return over_targets(differences, "difference")


def part_of(rows: Rows, part: str, quantity: str = "final metric") -> float:
    return over_targets(of(rows, part=part, quantity=quantity), "value")


STATISTICS: Mapping[str, tuple[str, Callable[[Rows], float]]] = {
    "gain_shrinks_with_blocks": ("feature_reuse", shrinkage),
    "gain_shrinks_most_near_source": (
        "feature_reuse",
        lambda rows: shrinkage(rows, 1) - shrinkage(rows, 2),
    ),
    "gain_survives_shuffling": ("feature_reuse", lambda rows: over_targets(small(rows), "relative_gain")),
    "statistics_help_speed_most": (
        "feature_reuse",
        lambda rows: over_targets(
            small(rows), lambda row: row["speed_gain"] / row["p_t_speed"] - row["relative_gain"]
        ),
    ),
    "p_t_share_mistakes": (
        "mistakes",
        lambda rows: (
            uncommon(rows, "P-T & P-T") / min(uncommon(rows, "P-T & RI-T"), uncommon(rows, "RI-T & RI-T"))
        ),
    ),
    "p_t_mistakes_are_ambiguous": (
        "mistakes_difficulty",
        lambda rows: judged(rows, "only a") - judged(rows, "only b"),
    ),
    "p_t_features_are_similar": (
        "feature_similarity",
        lambda rows: cka(rows, "P-T & P-T") - most_like_ri_t(rows),
    ),
    "p_t_similarity_falls_with_depth": (
        "feature_similarity",
        lambda rows: at_depth(rows, 0) - at_depth(rows, max(row["depth_a"] for row in rows)),
    ),
    "ri_t_features_are_dissimilar": (
        "feature_similarity",
        lambda rows: most_like_ri_t(rows) - (cka(rows, "RI & RI") + cka(rows, "P-T & P-T")) / 2,
    ),
    "p_t_are_close": (
        "parameter_distance",
        lambda rows: whole_distance(rows, "P-T & P-T") / whole_distance(rows, "RI-T & RI-T"),
    ),
    "distance_grows_toward_head": (
        "parameter_distance",
        lambda rows: rank_correlation(
            [
                row
                for row in of(rows, pair="P-T & P-T")
                if row["module"] != "all" and row["depth"] < max(own["depth"] or 0 for own in rows)
            ],
            "distance",
            "a",
            "b",
        ),
    ),
    "no_barrier_between_p_t": ("barriers", barrier("P-T & P-T")),
    "barrier_p_t_ri_t": ("barriers", barrier("P-T & RI-T")),
    "barrier_ri_t_ri_t": ("barriers", barrier("RI-T & RI-T")),
    "barrier_ri_t_same_init": ("barriers", barrier("RI-T & RI-T, same init")),
    "p_t_share_a_basin": (
        "barriers_basin",
        lambda rows: over_targets(
            of(rows, pair="P-T & P-T"), lambda row: row["largest_epsilon"] - row["deviation"]
        ),
    ),
    "p_t_can_be_averaged": (
        "barriers_averaging",
        lambda rows: over_targets(of(rows, pair="P-T & P-T", what="averaged weights"), "metric_gain"),
    ),
    "p_t_low_modules_not_critical": ("criticality", low_drop("P-T")),
    "ri_t_low_modules_critical": ("criticality", low_drop("RI-T")),
    "p_t_criticality_grows_toward_head": (
        "criticality",
        lambda rows: rank_correlation(of(rows, kind="P-T", is_head=False), "train_rise_loss", "seed"),
    ),
    "ri_t_becomes_critical_suddenly": ("criticality_training", suddenness),
    "later_checkpoints_are_better": (
        "checkpoints",
        lambda rows: at_epoch(rows, middle(rows)[2]) - at_epoch(rows, middle(rows)[0]),
    ),
    "late_checkpoints_differ_little": (
        "checkpoints",
        lambda rows: at_epoch(rows, middle(rows)[2]) - at_epoch(rows, middle(rows)[1]),
    ),
    "source_jumps_do_not_carry_over": ("checkpoints", carried_over),
    "ri_t_spectra_are_smaller": ("spectra", spectra),
    "weight_statistics_speed_up": (
        "low_level_statistics",
        lambda rows: part_of(rows, "weight statistics", "optimization speed"),
    ),
    "features_give_more_than_statistics": (
        "low_level_statistics",
        lambda rows: part_of(rows, "beyond weight statistics") - part_of(rows, "weight statistics"),
    ),
    "features_survive_shuffling": (
        "low_level_statistics",
        lambda rows: part_of(rows, "features on shuffled blocks"),
    ),
}


def without(rows: Rows, seed: int) -> Rows:
    return [
        row
        for row in rows
        if not any(name.startswith("seed") and value == seed for name, value in row.items())
    ]


def recomputed(rows: Rows, statistic: Callable[[Rows], float], null: float) -> tuple[float, ...]:
    """Effect, ends of the interval and p, by pseudo-values."""
    whole, n = statistic(rows), len(SEEDS)
    pseudo_values = [n * whole - (n - 1) * statistic(without(rows, seed)) for seed in SEEDS]
    error = stats.sem(pseudo_values)
    if error < 1e-12:
        return whole, math.nan, math.nan, math.nan
    low, high = stats.t.interval(0.95, n - 1, loc=whole, scale=error)
    return whole, low, high, float(2 * stats.t.sf(abs(whole - null) / error, n - 1))


def two_targets(scenario: Scenario) -> dict[str, pl.DataFrame]:
    """Two draws of the study, their targets side by side, with noise on every number so that each row counts."""
    rng = np.random.default_rng(3)
    once, again = (scenario.simulate(Draw(rng, SEEDS)) for _ in range(2))
    tables = {}
    for name, table in once.items():
        other = again[name]
        if "target" in table.columns:
            other = other.with_columns(pl.col("target") + " of the second draw")
        both = pl.concat([table, other])
        tables[name] = both.with_columns(
            pl.col(column) + pl.Series(rng.normal(0, 0.002, both.height))
            for column, dtype in both.schema.items()
            if dtype == pl.Float64
        )
    return tables


def test_no_claim_is_left_out() -> None:
    assert STATISTICS.keys() == BY_ID.keys()


@pytest.mark.parametrize("name", ["holds", "does not hold"])
@pytest.mark.parametrize("analysis", sorted({scenario.analysis for scenario in SCENARIOS}))
def test_claims_are_what_their_words_say(analysis: str, name: str) -> None:
    (scenario,) = (own for own in SCENARIOS if (own.analysis, own.name) == (analysis, name))
    tables = two_targets(scenario)
    found = list(analysis_module(analysis).findings(tables, NO_STUDY))
    assert {finding.claim.id for finding in found} == set(scenario.truths)
    for finding in found:
        claim = finding.claim
        table, statistic = STATISTICS[claim.id]
        effect, low, high, p_value = recomputed(tables[table].to_dicts(), statistic, claim.threshold)
        assert finding.effect == pytest.approx(effect, abs=1e-12), claim.id
        if math.isnan(low):  # no seed makes a difference: see test_order.py and test_findings.py
            assert math.isnan(finding.low), claim.id
            continue
        numbers = (finding.low, finding.high, finding.p_value)
        verdicts = {"above": ("does not hold", "holds"), "below": ("holds", "does not hold")}[claim.side]
        expected = verdicts[effect > claim.threshold] if p_value < 0.05 else "undecided"
        assert finding.verdict == expected, claim.id
        assert numbers == pytest.approx((low, high, p_value), rel=1e-9, abs=1e-12), claim.id
