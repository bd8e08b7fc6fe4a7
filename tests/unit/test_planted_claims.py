"""Claims on studies whose truth is known: how often each verdict is right, through the analyses' own statistics.

Numbers of instances are a true mean and Gaussian noise of their seed; numbers of pairs share the noise of both of
their seeds. At its threshold a claim must be said to hold, and not to hold, in at most 2.5 % of studies; over 300
studies that is at most 16 in all but one of a thousand test runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from itertools import combinations, permutations
from typing import Any

import numpy as np
import polars as pl
import pytest

from transferscope.analyses import (
    checkpoints,
    feature_reuse,
    feature_similarity,
    low_level_statistics,
    mistakes,
)

STUDIES = 300
AT_MOST = 16
CLEAR_STUDIES = 60
"""Enough where the truth is far from the threshold."""
SEEDS = range(3)
NO_STUDY: Any = None
Tables = Mapping[str, pl.DataFrame]
Simulate = Callable[[np.random.Generator], Tables]


def verdicts(module: Any, claim: str, simulate: Simulate, studies: int = STUDIES) -> Counter[str]:
    rng = np.random.default_rng(11)
    found: Counter[str] = Counter()
    for _ in range(studies):
        findings = module.findings(simulate(rng), NO_STUDY)
        found[next(finding.verdict for finding in findings if finding.claim.id == claim)] += 1
    return found


def check(module: Any, claim: str, simulate: Simulate, truth: str) -> None:
    """truth: holds, does not hold, or at the threshold."""
    if truth == "at the threshold":
        found = verdicts(module, claim, simulate)
        assert found["holds"] <= AT_MOST, found
        assert found["does not hold"] <= AT_MOST, found
    else:
        assert verdicts(module, claim, simulate, CLEAR_STUDIES)[truth] >= 0.9 * CLEAR_STUDIES


def reuse(gain: float, gain_small: float, speed_gain: float) -> Simulate:
    """Two targets, unshuffled and at 1 px; P-T is at 0.8 everywhere, its speed as well."""

    def simulate(rng: np.random.Generator) -> Tables:
        rows = []
        for rank, target in enumerate(("near", "far"), start=1):
            for view, size, mean in (("unshuffled", 32, gain), ("blocks", 1, gain_small)):
                for seed in SEEDS:
                    own = mean + 0.01 * rng.normal()
                    keys = {
                        "target": target,
                        "likeness_rank": rank,
                        "view": view,
                        "block_size_px": size,
                        "seed": seed,
                    }
                    speed = {"p_t_speed": 0.8, "speed_gain": speed_gain + 0.01 * rng.normal()}
                    rows.append({**keys, "n_test": 100, "relative_gain": own / 0.8, **speed})
        return {"feature_reuse": pl.DataFrame(rows)}

    return simulate


@pytest.mark.parametrize(
    ("claim", "numbers", "truth"),
    [
        ("gain_shrinks_with_blocks", (0.2, 0.2, 0.1), "at the threshold"),
        ("gain_shrinks_with_blocks", (0.3, 0.05, 0.1), "holds"),
        ("gain_shrinks_with_blocks", (0.05, 0.3, 0.1), "does not hold"),
        ("gain_shrinks_most_near_source", (0.3, 0.1, 0.1), "at the threshold"),
        ("gain_survives_shuffling", (0.2, 0.0, 0.1), "at the threshold"),
        ("gain_survives_shuffling", (0.2, 0.15, 0.1), "holds"),
        ("gain_survives_shuffling", (0.2, -0.15, 0.1), "does not hold"),
        ("statistics_help_speed_most", (0.2, 0.1, 0.1), "at the threshold"),
        ("statistics_help_speed_most", (0.2, 0.0, 0.2), "holds"),
    ],
)
def test_feature_reuse(claim: str, numbers: tuple[float, float, float], truth: str) -> None:
    check(feature_reuse, claim, reuse(*numbers), truth)


def sweep(metrics: Mapping[int, float]) -> Simulate:
    """One target; the source jumps by 0.2 at the drop of the rate before epoch 4."""
    source = {1: 0.4, 2: 0.5, 3: 0.55, 4: 0.75}

    def simulate(rng: np.random.Generator) -> Tables:
        rows = [
            {
                "target": "t",
                "pretrain_epoch": epoch,
                "seed": seed,
                "n_test": 100,
                "after_rate_drop": epoch == 4,
            }
            | {"source_metric": source[epoch], "target_metric": metric + 0.01 * rng.normal()}
            for epoch, metric in metrics.items()
            for seed in SEEDS
        ]
        return {"checkpoints": pl.DataFrame(rows)}

    return simulate


@pytest.mark.parametrize(
    ("claim", "metrics", "truth"),
    [
        ("later_checkpoints_are_better", (0.7, 0.8, 0.8, 0.7), "at the threshold"),
        ("later_checkpoints_are_better", (0.5, 0.6, 0.7, 0.8), "holds"),
        ("late_checkpoints_differ_little", (0.5, 0.78, 0.8, 0.8), "at the threshold"),
        ("late_checkpoints_differ_little", (0.5, 0.6, 0.8, 0.8), "does not hold"),
        ("late_checkpoints_differ_little", (0.5, 0.9, 0.8, 0.8), "holds"),
        ("source_jumps_do_not_carry_over", (0.5, 0.6, 0.7, 0.8), "at the threshold"),
        ("source_jumps_do_not_carry_over", (0.5, 0.6, 0.9, 0.8), "holds"),
        ("source_jumps_do_not_carry_over", (0.5, 0.6, 0.6, 0.9), "does not hold"),
    ],
)
def test_checkpoints(claim: str, metrics: tuple[float, ...], truth: str) -> None:
    check(checkpoints, claim, sweep(dict(enumerate(metrics, start=1))), truth)


def controls(gain: float, statistics: float, speed: float) -> Simulate:
    """One target with a gain, and what weight statistics give."""

    def simulate(rng: np.random.Generator) -> Tables:
        rows = []
        for seed in SEEDS:
            whole, part = gain + 0.01 * rng.normal(), statistics + 0.01 * rng.normal()
            own = {"gain": whole, "weight statistics": part, "beyond weight statistics": whole - part}
            keys = {"target": "t", "seed": seed}
            rows += [
                {**keys, "quantity": "final metric", "part": name, "value": value}
                for name, value in own.items()
            ]
            value = speed + 0.01 * rng.normal()
            rows.append(
                {**keys, "quantity": "optimization speed", "part": "weight statistics", "value": value}
            )
        networks = pl.DataFrame({"n_test": [100]})
        return {"low_level_statistics": pl.DataFrame(rows), "low_level_statistics_networks": networks}

    return simulate


@pytest.mark.parametrize(
    ("claim", "numbers", "truth"),
    [
        ("weight_statistics_speed_up", (0.3, 0.1, 0.0), "at the threshold"),
        ("weight_statistics_speed_up", (0.3, 0.1, 0.15), "holds"),
        ("features_give_more_than_statistics", (0.3, 0.15, 0.0), "at the threshold"),
        ("features_give_more_than_statistics", (0.3, 0.0, 0.0), "holds"),
        ("features_give_more_than_statistics", (0.3, 0.35, 0.0), "does not hold"),
        ("features_give_more_than_statistics", (-0.3, -0.3, 0.0), "undecided"),
    ],
)
def test_low_level_statistics(claim: str, numbers: tuple[float, float, float], truth: str) -> None:
    check(low_level_statistics, claim, controls(*numbers), truth)


def pair_rows(rng: np.random.Generator, means: Mapping[str, float], noise: float) -> list[dict[str, Any]]:
    """A number a pair: mean of its kind, and noise that all pairs of an instance share."""
    p_t, ri_t = noise * rng.normal(size=(2, len(SEEDS)))
    own = {
        "P-T & P-T": (combinations(SEEDS, 2), p_t, p_t),
        "P-T & RI-T": (permutations(SEEDS, 2), p_t, ri_t),
        "RI-T & RI-T": (combinations(SEEDS, 2), ri_t, ri_t),
    }
    return [
        {"target": "t", "pair": kind, "seed_a": a, "seed_b": b, "value": means[kind] + first[a] + second[b]}
        for kind, (pairs, first, second) in own.items()
        for a, b in pairs
    ]


def similarity(p_t: float, mixed: float, ri_t: float) -> Simulate:
    def simulate(rng: np.random.Generator) -> Tables:
        means = {"P-T & P-T": p_t, "P-T & RI-T": mixed, "RI-T & RI-T": ri_t}
        rows = [
            {
                **row,
                "depth_a": 0,
                "depth_b": 0,
                "layer_a": "stem",
                "n": 100,
                "linear_cka": row["value"],
                "status": "ok",
            }
            for row in pair_rows(rng, means, 0.02)
        ]
        return {"feature_similarity": pl.DataFrame(rows)}

    return simulate


@pytest.mark.parametrize(
    ("numbers", "truth"),
    [((0.6, 0.6, 0.3), "at the threshold"), ((0.95, 0.4, 0.4), "holds"), ((0.4, 0.9, 0.5), "does not hold")],
)
def test_features_of_p_t_are_similar(numbers: tuple[float, float, float], truth: str) -> None:
    check(feature_similarity, "p_t_features_are_similar", similarity(*numbers), truth)


def test_at_a_tie_of_the_others_the_claim_is_not_favoured() -> None:
    found = verdicts(feature_similarity, "p_t_features_are_similar", similarity(0.6, 0.6, 0.6))
    assert found["holds"] <= AT_MOST, found


def uncommon(p_t: float, mixed: float, ri_t: float) -> Simulate:
    def simulate(rng: np.random.Generator) -> Tables:
        means = {"P-T & P-T": p_t, "P-T & RI-T": mixed, "RI-T & RI-T": ri_t}
        rows = [
            {**row, "scope": "all", "n": 100, "uncommon_share": row["value"]}
            for row in pair_rows(rng, means, 0.004)
        ]
        judged = {"pair": ["P-T & RI-T"], "target": ["t"], "seed_a": [0], "seed_b": [1], "wrong": ["only a"]}
        hard = pl.DataFrame({**judged, "n": [0], "difficulty": [0.5]})
        return {"mistakes": pl.DataFrame(rows), "mistakes_difficulty": hard}

    return simulate


@pytest.mark.parametrize(
    ("numbers", "truth"),
    [((0.2, 0.2, 0.3), "at the threshold"), ((0.05, 0.2, 0.3), "holds"), ((0.4, 0.2, 0.3), "does not hold")],
)
def test_p_t_share_mistakes(numbers: tuple[float, float, float], truth: str) -> None:
    check(mistakes, "p_t_share_mistakes", uncommon(*numbers), truth)
