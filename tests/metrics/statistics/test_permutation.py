"""The permutation test of an order against SciPy, and how often it is wrong."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
from scipy import stats

from transferscope.core.errors import BadInput
from transferscope.metrics.statistics.permutation import order_test


@pytest.mark.parametrize("k", [3, 4, 5])
@pytest.mark.parametrize("with_ties", [False, True])
def test_against_all_orders_one_by_one(k: int, with_ties: bool) -> None:
    rng = np.random.default_rng(k)
    for _ in range(5):
        profiles = rng.normal(size=(3, k))
        if with_ties:
            profiles[:, 0] = profiles[:, 1]
        weights = rng.dirichlet(np.ones(3))

        def mean(order: tuple[int, ...], rows: np.ndarray = profiles, w: np.ndarray = weights) -> float:
            return abs(sum(w[i] * stats.spearmanr(order, row).statistic for i, row in enumerate(rows)))

        observed = mean(tuple(range(k)))
        literal = np.mean([mean(order) >= observed - 1e-9 for order in permutations(range(k))])
        assert order_test(profiles.tolist(), weights.tolist()) == pytest.approx(literal, abs=1e-12)


def test_with_many_places_it_is_spearmans_test() -> None:
    rng = np.random.default_rng(0)
    profile = np.arange(30) + 25 * rng.normal(size=30)
    expected = stats.spearmanr(np.arange(30), profile).pvalue
    assert 0.01 < expected < 0.6
    assert order_test([profile.tolist()], [1.0]) == pytest.approx(expected, rel=0.1)


def test_it_is_right_as_often_as_it_says() -> None:
    """Profiles that share all but a little, in an order without meaning: p is at most .05 in 5 % or less."""
    rng = np.random.default_rng(1)
    below = 0
    for _ in range(400):
        profiles = rng.normal(size=5) + 0.01 * rng.normal(size=(3, 5))
        below += order_test(profiles.tolist(), [1 / 3] * 3) <= 0.05
    assert below <= 33  # 5 % of 400, give or take three standard deviations


@pytest.mark.parametrize("profile", [[1.0, 2.0], [1.0, 1.0, 1.0], [1.0, math.nan, 2.0], [1.0, math.inf, 2.0]])
def test_what_has_no_order_has_no_p(profile: list[float]) -> None:
    assert math.isnan(order_test([profile], [1.0]))


def test_bad_input() -> None:
    with pytest.raises(BadInput, match="equal length"):
        order_test([[1.0, 2.0, 3.0], [1.0, 2.0]], [0.5, 0.5])
    with pytest.raises(BadInput, match="2 weights"):
        order_test([[1.0, 2.0, 3.0]], [0.5, 0.5])
