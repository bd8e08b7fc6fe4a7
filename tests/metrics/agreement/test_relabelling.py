"""The test by relabelling instances against plain loops, and how often it finds what isn't there."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from transferscope.core.errors import BadInput
from transferscope.metrics.agreement import relabelling
from transferscope.metrics.agreement.relabelling import relabelling_test

KIND = np.array([True] * 3 + [False] * 3)
SEEDS = np.array([0, 1, 2, 0, 1, 2])
OTHER_SEEDS = SEEDS[:, None] != SEEDS[None, :]


def symmetric(rng: np.random.Generator, m: int) -> np.ndarray:
    values = rng.normal(size=(m, m))
    return values + values.T


def literal(values: np.ndarray, kind: set[int], other: str, counted: np.ndarray) -> float:
    """The effect, pair by pair."""
    m = len(values)
    own, others = [], []
    for a, b in itertools.combinations(range(m), 2):
        if not counted[a, b]:
            continue
        inside = (a in kind) + (b in kind)
        if inside == 2:
            own.append(values[a, b])
        if inside == (1 if other == "between" else 0):
            others.append(values[a, b])
    return float(np.mean(own) - np.mean(others)) if own and others else math.nan


@pytest.mark.parametrize("other", ["between", "rest"])
@pytest.mark.parametrize("all_pairs", [True, False])
def test_against_all_relabellings_one_by_one(other, all_pairs: bool) -> None:
    rng = np.random.default_rng(0)
    counted = np.ones((6, 6), bool) if all_pairs else OTHER_SEEDS
    for _ in range(10):
        values = symmetric(rng, 6)
        observed = literal(values, {0, 1, 2}, other, counted)
        effects = [literal(values, set(c), other, counted) for c in itertools.combinations(range(6), 3)]
        found = relabelling_test(values, KIND, other=other, counted=counted)
        assert found.effect == pytest.approx(observed, abs=1e-12)
        assert found.relabellings == 20
        assert found.p_value == np.mean([effect >= observed - 1e-9 for effect in effects])


def test_a_relabelling_that_leaves_nothing_to_compare_counts_against() -> None:
    """Of two seeds, a P-T and an RI-T of the same one are no pair."""
    counted = np.array([[0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0]], bool)
    near = np.full((4, 4), 0.1)
    near[:2, :2] = 0.9
    found = relabelling_test(near, [True, True, False, False], other="between", counted=counted)
    assert (found.p_value, found.relabellings) == (3 / 6, 6)


def test_many_instances_are_relabelled_at_random(monkeypatch: pytest.MonkeyPatch) -> None:
    values = symmetric(np.random.default_rng(3), 8)
    kind = np.arange(8) < 4
    exact = relabelling_test(values, kind, other="between")
    monkeypatch.setattr(relabelling, "MOST_RELABELLINGS", 10)
    drawn = relabelling_test(values, kind, other="between")
    p = exact.p_value
    assert (exact.relabellings, drawn.relabellings) == (70, 10_001)
    assert drawn.p_value == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / 10_000))
    assert drawn == relabelling_test(values, kind, other="between")


def uncommon(rng: np.random.Generator, m: int, n: int = 60) -> np.ndarray:
    """Minus the share of uncommon mistakes of m instances that are alike; images differ in difficulty."""
    wrong = rng.normal(size=n) + rng.normal(size=(m, n)) > 1
    return -np.mean(wrong[:, None] != wrong[None, :], axis=2)


@pytest.mark.parametrize(("m", "other"), [(6, "between"), (6, "rest"), (8, "between")])
def test_it_finds_what_is_not_there_as_rarely_as_it_says(m: int, other) -> None:
    """Of 800 studies of instances that are all alike, at most 5 %, give or take three standard deviations."""
    rng = np.random.default_rng(m)
    hits = 0
    for _ in range(800):
        hits += relabelling_test(uncommon(rng, m), np.arange(m) < m // 2, other=other).p_value <= 0.05
    assert hits <= 0.05 * 800 + 3 * math.sqrt(800 * 0.05 * 0.95)
    assert hits >= 12  # and it isn't deaf


def test_three_of_each_cannot_be_below_a_twentieth() -> None:
    near = np.full((6, 6), -0.3)
    near[:3, :3] = -0.01
    assert relabelling_test(near, KIND, other="rest", counted=OTHER_SEEDS).p_value == 0.05


def test_what_is_missing_has_no_number() -> None:
    values = symmetric(np.random.default_rng(0), 6)
    values[0, 1] = values[1, 0] = math.nan
    for found in (
        relabelling_test(values, KIND, other="rest"),
        relabelling_test(np.zeros((3, 3)), [True, True, True], other="rest"),
    ):
        assert math.isnan(found.effect)
        assert math.isnan(found.p_value)


def test_bad_input() -> None:
    with pytest.raises(BadInput, match=r"\(m, m\)"):
        relabelling_test(np.zeros((3, 2)), KIND, other="rest")
    with pytest.raises(BadInput, match="that of b and a"):
        relabelling_test(np.arange(36.0).reshape(6, 6), KIND, other="rest")
    with pytest.raises(BadInput, match="'between' or 'rest'"):
        relabelling_test(np.zeros((6, 6)), KIND, other="far")  # pyright: ignore[reportArgumentType]
