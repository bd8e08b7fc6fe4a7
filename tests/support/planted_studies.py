"""Made-up tables of whole studies whose truth is known, for every claim.

A scenario is one truth about all claims of an analysis at once: what the mean numbers are, over which each seed adds
Gaussian noise of its own. Numbers of pairs share the noise of both of their seeds, as those of networks do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import Any, Literal

import numpy as np
import polars as pl

Tables = dict[str, pl.DataFrame]
Truth = Literal["holds", "does not hold", "at the threshold", "not favoured", "no claim"]
"""Not favoured: a tie at which the statistic is biased, against the claim. No claim: nothing to test."""
Rng = np.random.Generator
HOLD, FAIL, NULL = "holds", "does not hold", "at the threshold"


@dataclass(frozen=True)
class Draw:
    """Where a study's noise comes from."""

    rng: Rng
    seeds: Sequence[int]
    scale: float = 1.0
    """0: no seed makes a difference."""

    def noise(self, size: float) -> float:
        """One number."""
        return self.scale * size * self.rng.normal()


@dataclass(frozen=True)
class Scenario:
    """What is true, and how tables of a study are drawn where it is."""

    analysis: str
    name: str
    simulate: Callable[[Draw], Tables]
    truths: Mapping[str, Truth]


def frame(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, infer_schema_length=None)


def pair_noise(draw: Draw, kinds: Sequence[str], size: float) -> list[dict[str, Any]]:
    """A row a pair, with the noise that it shares with all others of its instances."""
    own = {name: {seed: draw.noise(size) for seed in draw.seeds} for name in ("P-T", "RI-T", "RI", "same")}
    sides = {
        "P-T & P-T": ("P-T", "P-T"),
        "P-T & RI-T": ("P-T", "RI-T"),
        "RI-T & RI-T": ("RI-T", "RI-T"),
        "RI-T & RI-T, same init": ("same", "same"),
        "RI & RI": ("RI", "RI"),
    }
    rows = []
    for kind in kinds:
        a, b = sides[kind]
        for first, second in (combinations if a == b else permutations)(draw.seeds, 2):
            keys = {"target": "t", "pair": kind, "a": f"{a} {first}", "b": f"{b} {second}"}
            noise = own[a][first] + own[b][second]
            rows.append({**keys, "seed_a": first, "seed_b": second, "noise": noise})
    return rows


THREE = ("P-T & P-T", "P-T & RI-T", "RI-T & RI-T")


def reuse(near: tuple[float, float], far: tuple[float, float], speed: float) -> Callable[[Draw], Tables]:
    """Gains of two targets unshuffled and at 1 px, and the gain in speed; P-T is at 0.8 everywhere."""

    def simulate(draw: Draw) -> Tables:
        rows = []
        for rank, (target, gains) in enumerate((("near", near), ("far", far)), start=1):
            for view, size, gain in zip(("unshuffled", "blocks"), (32, 1), gains, strict=True):
                for seed in draw.seeds:
                    keys = {"target": target, "likeness_rank": rank, "view": view, "block_size_px": size}
                    own = {"relative_gain": (gain + draw.noise(0.01)) / 0.8, "p_t_speed": 0.8}
                    own["speed_gain"] = speed + draw.noise(0.01)
                    rows.append({**keys, "seed": seed, "n_test": 100, **own})
        return {"feature_reuse": frame(rows)}

    return simulate


def sweep(*metrics: float) -> Callable[[Draw], Tables]:
    """Target metric from epochs 1 to 4; the source jumps by 0.2 at the drop of the rate before epoch 4."""

    def simulate(draw: Draw) -> Tables:
        rows = [
            {"target": "t", "pretrain_epoch": epoch, "seed": seed, "n_test": 100, "source_metric": source}
            | {"after_rate_drop": epoch == 4, "target_metric": metric + draw.noise(0.002)}
            for epoch, (metric, source) in enumerate(
                zip(metrics, (0.4, 0.5, 0.55, 0.75), strict=True), start=1
            )
            for seed in draw.seeds
        ]
        return {"checkpoints": frame(rows)}

    return simulate


def controls(gain: float, statistics: float, speed: float, shuffled: float = 0.0) -> Callable[[Draw], Tables]:
    """One target with a gain, what weight statistics give, and what features give on shuffled blocks."""

    def simulate(draw: Draw) -> Tables:
        rows = []
        for seed in draw.seeds:
            whole, part = gain + draw.noise(0.01), statistics + draw.noise(0.01)
            own = {"gain": whole, "weight statistics": part, "beyond weight statistics": whole - part}
            own["features on shuffled blocks"] = shuffled + draw.noise(0.01)
            keys = {"target": "t", "block_size_px": 1, "seed": seed}
            rows += [
                {**keys, "quantity": "final metric", "part": name, "value": value}
                for name, value in own.items()
            ]
            faster = {"part": "weight statistics", "value": speed + draw.noise(0.01)}
            rows.append({**keys, "quantity": "optimization speed", **faster})
        networks = pl.DataFrame({"n_test": [100]})
        return {"low_level_statistics": frame(rows), "low_level_statistics_networks": networks}

    return simulate


def overlap(p_t: float, mixed: float, ri_t: float, only_p_t: float) -> Callable[[Draw], Tables]:
    """Uncommon mistakes, and how hard what only P-T gets wrong is; what only RI-T gets wrong is at 0.5."""

    def simulate(draw: Draw) -> Tables:
        means = dict(zip(THREE, (p_t, mixed, ri_t), strict=True))
        rows = [
            {**row, "scope": "all", "n": 100, "uncommon_share": means[row["pair"]] + row["noise"]}
            for row in pair_noise(draw, THREE, 0.004)
        ]
        lenient = {(kind, seed): draw.noise(0.02) for kind in ("P-T", "RI-T") for seed in draw.seeds}
        hard = [
            {**row, "wrong": who, "n": 50, "judge_kind": kind, "seed_judge": seed}
            | {
                "judged_wrong": mean
                + row["noise"] * (who == "only a")
                + lenient[kind, seed]
                + draw.noise(0.01)
            }
            for row in pair_noise(draw, ["P-T & RI-T"], 0.02)
            for who, mean in (("only a", only_p_t), ("only b", 0.5))
            for kind, seed in lenient
            if (kind, seed) not in (("P-T", row["seed_a"]), ("RI-T", row["seed_b"]))
        ]
        return {
            "mistakes": frame(rows),
            "mistakes_difficulty": frame(hard),
            "mistakes_tests": frame([{"n": 100}]),
        }

    return simulate


def similarity(first: Sequence[float], last: Sequence[float]) -> Callable[[Draw], Tables]:
    """CKA at two layers of P-T & P-T, P-T & RI-T, RI-T & RI-T and RI & RI."""
    kinds = (*THREE, "RI & RI")

    def simulate(draw: Draw) -> Tables:
        rows = [
            {**row, "depth_a": depth, "depth_b": depth, "n": 100, "linear_cka": mean + row["noise"]}
            for depth, means in enumerate((first, last))
            for kind, mean in zip(kinds, means, strict=True)
            for row in pair_noise(draw, [kind], 0.01)
        ]
        return {"feature_similarity": frame(rows)}

    return simulate


def distances(ratio: float, slope: float) -> Callable[[Draw], Tables]:
    """P-T lie `ratio` times as far apart as RI-T; distances of six modules and the head rise by `slope`."""

    def simulate(draw: Draw) -> Tables:
        rows = []
        for kind, center in (("P-T & P-T", 10.0 * ratio), ("RI-T & RI-T", 10.0)):
            for row in pair_noise(draw, [kind], 0.01):
                rows.append({**row, "module": "all", "depth": None, "distance": center * (1 + row["noise"])})
        for depth in range(7):
            for row in pair_noise(draw, ["P-T & P-T"], 1.0):
                distance = 100 + slope * depth + row["noise"]
                rows.append({**row, "module": f"m{depth}", "depth": depth, "distance": distance})
        return {"parameter_distance": frame(rows)}

    return simulate


def barriers(heights: Sequence[float], room: float, gain: float) -> Callable[[Draw], Tables]:
    """Barriers of P-T & P-T, P-T & RI-T, RI-T & RI-T and of these from the same init; room for a basin."""
    kinds = (*THREE, "RI-T & RI-T, same init")

    def simulate(draw: Draw) -> Tables:
        lines = [
            {
                **row,
                "definition": "line",
                "n": 100,
                "checkpoint": name,
                "barrier_metric": height + row["noise"],
            }
            for kind, height in zip(kinds, heights, strict=True)
            for row in pair_noise(draw, [kind], 0.001)
            for name in ("final", "best")
        ]
        basin = [
            {**row, "n": 100, "deviation": 0.1, "largest_epsilon": 0.1 + room + row["noise"]}
            for row in pair_noise(draw, ["P-T & P-T"], 0.001)
        ]
        averaged = [
            {**row, "n": 100, "what": "averaged weights", "metric_gain": gain + row["noise"]}
            for row in pair_noise(draw, ["P-T & P-T"], 0.001)
        ]
        tables = {"barriers": lines, "barriers_basin": basin, "barriers_averaging": averaged}
        return {name: frame(rows) for name, rows in tables.items()}

    return simulate


def modules(p_t: float, ri_t: float, slope: float, jump: float) -> Callable[[Draw], Tables]:
    """Drops of the lower modules; how P-T's rises grow; which part of RI-T's whole rise comes at epoch 5 of 20."""

    def simulate(draw: Draw) -> Tables:
        rows, course = [], []
        for kind, drop in (("P-T", p_t), ("RI-T", ri_t)):
            for seed in draw.seeds:
                own = {"target": "t", "kind": kind, "seed": seed, "n_test": 100}
                shift = draw.noise(0.001)
                rows += [
                    {**own, "module": f"m{depth}", "depth": depth, "is_head": depth == 6}
                    | {"test_drop": drop + shift, "train_rise_loss": slope * depth + draw.noise(1)}
                    for depth in range(7)
                ]
        for seed in draw.seeds:
            sudden = 0.4 * jump + draw.noise(0.01)
            keys = {
                "target": "t",
                "kind": "RI-T",
                "seed": seed,
                "module": "m0",
                "is_head": False,
                "n_test": 100,
            }
            for epoch in range(1, 21):
                # slow from epoch 8 on, for what is left of 0.4
                drop = (epoch >= 5) * sudden + (0.4 - sudden) * max(0, epoch - 8) / 12
                course.append({**keys, "epoch": epoch, "test_drop": drop})
        return {"criticality": frame(rows), "criticality_training": frame(course)}

    return simulate


def singular_values(difference: float) -> Callable[[Draw], Tables]:
    """Two convolutions, P-T's mean singular value above RI-T's."""

    def simulate(draw: Draw) -> Tables:
        rows = [
            {"target": "t", "kind": kind, "seed": seed, "convolution": name, "starts_at_zero": False}
            | {"mean_relative": mean + draw.noise(0.01)}
            for name in ("conv1", "conv2")
            for kind, mean in (("P-T", 0.4 + difference), ("RI-T", 0.4))
            for seed in draw.seeds
        ]
        return {"spectra": frame(rows)}

    return simulate


REUSE = (
    "gain_shrinks_with_blocks",
    "gain_shrinks_most_near_source",
    "gain_survives_shuffling",
    "statistics_help_speed_most",
)
MISTAKES = ("p_t_share_mistakes", "p_t_mistakes_are_ambiguous")
FEATURES = ("p_t_features_are_similar", "p_t_similarity_falls_with_depth", "ri_t_features_are_dissimilar")
DISTANCE = ("p_t_are_close", "distance_grows_toward_head")
BARRIERS = (
    "no_barrier_between_p_t",
    "barrier_p_t_ri_t",
    "barrier_ri_t_ri_t",
    "barrier_ri_t_same_init",
    "p_t_share_a_basin",
    "p_t_can_be_averaged",
)
CRITICALITY = (
    "p_t_low_modules_not_critical",
    "ri_t_low_modules_critical",
    "p_t_criticality_grows_toward_head",
    "ri_t_becomes_critical_suddenly",
)
CHECKPOINTS = (
    "later_checkpoints_are_better",
    "late_checkpoints_differ_little",
    "source_jumps_do_not_carry_over",
)
STATISTICS = (
    "weight_statistics_speed_up",
    "features_give_more_than_statistics",
    "features_survive_shuffling",
)


def _all(claims: Sequence[str], truth: Truth) -> dict[str, Truth]:
    return dict.fromkeys(claims, truth)


SCENARIOS = (
    Scenario("feature_reuse", NULL, reuse((0, 0), (0, 0), 0), _all(REUSE, NULL)),
    Scenario("feature_reuse", HOLD, reuse((0.3, 0.05), (0.1, 0.05), 0.2), _all(REUSE, HOLD)),
    Scenario("feature_reuse", FAIL, reuse((-0.3, -0.05), (-0.1, -0.05), -0.2), _all(REUSE, FAIL)),
    Scenario("mistakes", NULL, overlap(0.2, 0.2, 0.3, 0.5), _all(MISTAKES, NULL)),
    Scenario("mistakes", HOLD, overlap(0.05, 0.2, 0.3, 0.8), _all(MISTAKES, HOLD)),
    Scenario("mistakes", FAIL, overlap(0.4, 0.2, 0.3, 0.2), _all(MISTAKES, FAIL)),
    Scenario("mistakes", "a tie", overlap(0.2, 0.2, 0.2, 0.5), {"p_t_share_mistakes": "not favoured"}),
    Scenario(
        "feature_similarity",
        NULL,
        similarity((0.6, 0.6, 0.3, 0.6), (0.6, 0.6, 0.3, 0.6)),
        _all(FEATURES, NULL),
    ),
    Scenario(
        "feature_similarity",
        HOLD,
        similarity((0.95, 0.4, 0.4, 0.3), (0.75, 0.4, 0.4, 0.3)),
        _all(FEATURES, HOLD),
    ),
    Scenario(
        "feature_similarity",
        FAIL,
        similarity((0.4, 0.9, 0.5, 0.3), (0.6, 0.9, 0.5, 0.3)),
        _all(FEATURES, FAIL),
    ),
    Scenario(
        "feature_similarity",
        "a tie",
        similarity((0.6, 0.6, 0.6, 0.6), (0.6, 0.6, 0.6, 0.6)),
        {FEATURES[0]: "not favoured", FEATURES[2]: "not favoured"},
    ),
    Scenario("parameter_distance", NULL, distances(1, 0), _all(DISTANCE, NULL)),
    Scenario("parameter_distance", HOLD, distances(0.3, 4), _all(DISTANCE, HOLD)),
    Scenario("parameter_distance", FAIL, distances(3, -4), _all(DISTANCE, FAIL)),
    Scenario("barriers", NULL, barriers((0.02, 0.02, 0.02, 0.02), 0, -0.02), _all(BARRIERS, NULL)),
    Scenario("barriers", HOLD, barriers((0.005, 0.3, 0.4, 0.1), 0.05, 0.01), _all(BARRIERS, HOLD)),
    Scenario("barriers", FAIL, barriers((0.2, 0.005, 0.005, 0.005), -0.05, -0.1), _all(BARRIERS, FAIL)),
    Scenario("criticality", NULL, modules(0.02, 0.02, 0, 0.5), _all(CRITICALITY, NULL)),
    Scenario("criticality", HOLD, modules(0.0, 0.3, 3, 0.8), _all(CRITICALITY, HOLD)),
    Scenario("criticality", FAIL, modules(0.3, 0.0, -3, 0.1), _all(CRITICALITY, FAIL)),
    Scenario("checkpoints", NULL, sweep(0.8, 0.78, 0.7, 0.8), _all(CHECKPOINTS, NULL)),
    Scenario("checkpoints", HOLD, sweep(0.5, 0.8, 0.8, 0.8), _all(CHECKPOINTS, HOLD)),
    Scenario("checkpoints", FAIL, sweep(0.8, 0.5, 0.5, 0.7), _all(CHECKPOINTS, FAIL)),
    Scenario("spectra", NULL, singular_values(0), {"ri_t_spectra_are_smaller": NULL}),
    Scenario("spectra", HOLD, singular_values(0.1), {"ri_t_spectra_are_smaller": HOLD}),
    Scenario("spectra", FAIL, singular_values(-0.1), {"ri_t_spectra_are_smaller": FAIL}),
    Scenario("low_level_statistics", NULL, controls(0.3, 0.15, 0), _all(STATISTICS, NULL)),
    Scenario("low_level_statistics", HOLD, controls(0.3, 0, 0.15, 0.1), _all(STATISTICS, HOLD)),
    Scenario("low_level_statistics", FAIL, controls(0.3, 0.35, -0.15, -0.1), _all(STATISTICS, FAIL)),
    Scenario(
        "low_level_statistics",
        "no gain",
        controls(-0.3, -0.3, 0),
        {"features_give_more_than_statistics": "no claim"},
    ),
)
