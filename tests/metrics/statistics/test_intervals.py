"""Intervals against SciPy, a literal bootstrap, and their own coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from transferscope.core.errors import BadInput
from transferscope.metrics.statistics.intervals import bootstrap_interval, resampling_weights, t_interval

TOLERANCE = 1e-12
few = settings(deadline=None, max_examples=20)


@few
@given(
    values=st.lists(st.floats(-100, 100), min_size=2, max_size=12), level=st.sampled_from([0.5, 0.9, 0.95])
)
def test_student_t(values, level):
    found = t_interval(values, level)
    error = stats.sem(values)
    low, high = math.nan, math.nan
    if error > 1e-12 * np.abs(values).max():
        low, high = stats.t.interval(level, len(values) - 1, loc=np.mean(values), scale=error)
    assert found.estimate == pytest.approx(np.mean(values), abs=1e-10)
    assert (found.low, found.high) == pytest.approx((low, high), rel=TOLERANCE, abs=1e-10, nan_ok=True)
    assert found.n == len(values)


def test_few_values_have_no_interval():
    assert t_interval([2.0]).estimate == 2.0
    assert math.isnan(t_interval([2.0]).low)
    assert math.isnan(t_interval([2.0]).high)
    empty = t_interval([])
    assert math.isnan(empty.estimate)
    assert empty.n == 0
    assert math.isnan(t_interval([1.0, math.nan, 2.0]).low)


def bootstrap_literal(numbers, draws, level, generator):
    """The same resamples, one at a time."""
    means = []
    for _ in range(draws):
        index = torch.randint(len(numbers), (len(numbers),), generator=generator)
        means.append(numbers[index].mean().item())
    return np.quantile(means, [(1 - level) / 2, (1 + level) / 2])


@few
@given(seed=st.integers(0, 2**31), n=st.integers(2, 60))
def test_bootstrap_is_the_literal_one(seed, n):
    generator = torch.Generator().manual_seed(seed)
    values, baseline = torch.randn(2, n, generator=generator, dtype=torch.float64)
    found = bootstrap_interval(values, baseline, draws=50, generator=torch.Generator().manual_seed(seed))
    low, high = bootstrap_literal(values - baseline, 50, 0.95, torch.Generator().manual_seed(seed))
    assert (found.low, found.high) == pytest.approx((low, high), abs=TOLERANCE)
    assert found.estimate == pytest.approx(float((values - baseline).mean()), abs=TOLERANCE)


def test_bootstrap_agrees_with_scipy():
    values = np.random.default_rng(0).exponential(size=400)
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    found = bootstrap_interval(torch.from_numpy(values), draws=4000)
    width = expected.high - expected.low
    assert found.low == pytest.approx(expected.low, abs=0.05 * width)
    assert found.high == pytest.approx(expected.high, abs=0.05 * width)


def test_pairing_narrows_the_interval():
    generator = torch.Generator().manual_seed(0)
    difficulty = torch.randn(500, generator=generator)
    a = difficulty + 0.1 * torch.randn(500, generator=generator)
    paired = bootstrap_interval(a, difficulty)
    alone = bootstrap_interval(a)
    assert paired.high - paired.low < 0.2 * (alone.high - alone.low)


def test_coverage():
    """Of 300 intervals at 0.95 some 285 hold the true mean: between 270 and 297 with probability .999."""
    generator = torch.Generator().manual_seed(0)
    hits = 0
    for _ in range(300):
        right = (torch.rand(100, generator=generator) < 0.7).double()
        interval = bootstrap_interval(right, draws=200, generator=generator)
        hits += interval.low <= 0.7 <= interval.high
    assert 265 <= hits <= 297


def test_weights_are_resamples():
    weights = torch.cat(list(resampling_weights(7, 100, torch.Generator().manual_seed(0))))
    assert weights.shape == (100, 7)
    torch.testing.assert_close(weights.sum(1), torch.ones(100, dtype=torch.float64))
    torch.testing.assert_close(weights * 7, (weights * 7).round(), rtol=0, atol=1e-12)


def test_weights_come_in_blocks(monkeypatch):
    monkeypatch.setattr("transferscope.metrics.statistics.intervals.WEIGHTS_AT_ONCE", 30)
    blocks = list(resampling_weights(10, 8, torch.Generator().manual_seed(0)))
    assert [len(block) for block in blocks] == [3, 3, 2]


def test_same_seed_same_interval():
    values = torch.arange(20.0)
    assert bootstrap_interval(values) == bootstrap_interval(values)
    other = bootstrap_interval(values, generator=torch.Generator().manual_seed(5))
    assert other != bootstrap_interval(values)


def test_nan_stays_nan():
    interval = bootstrap_interval(torch.tensor([1.0, math.nan]))
    assert math.isnan(interval.estimate)
    assert math.isnan(interval.low)
    assert math.isnan(bootstrap_interval(torch.zeros(0)).estimate)


@pytest.mark.parametrize(
    "call",
    [
        lambda: t_interval([[1.0, 2.0]]),
        lambda: t_interval([1.0, 2.0], level=95),
        lambda: bootstrap_interval(torch.zeros(3), torch.zeros(4)),
        lambda: bootstrap_interval(torch.zeros(3, 2)),
        lambda: bootstrap_interval(torch.zeros(3), draws=0),
        lambda: bootstrap_interval(torch.zeros(3), level=1.0),
    ],
)
def test_bad_input(call):
    with pytest.raises(BadInput):
        call()
