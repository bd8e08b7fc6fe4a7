"""CKA of features against its definition over 4-tuples and feature-space formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from literal_cka import (
    biased_hsic,
    features,
    in_feature_space,
    literal_over_tuples,
)

from transferscope.core.errors import BadInput
from transferscope.metrics.similarity import feature_space
from transferscope.metrics.similarity.cka import linear_cka
from transferscope.metrics.similarity.hsic import centred, gram

TOLERANCE = 1e-10
few = settings(deadline=None, max_examples=15)
seeds = st.integers(0, 2**31)


@few
@given(seed=seeds, n=st.integers(4, 6), p=st.integers(2, 9))
def test_debiased_is_the_mean_over_tuples(seed, n, p):
    x, y = features(seed, n, p, 3)
    expected = literal_over_tuples(x.numpy(), y.numpy())
    # of few samples a debiased HSIC can be nearly zero: CKA is then large, and so is its rounding
    assert linear_cka(x, y) == pytest.approx(expected, rel=1e-7, abs=TOLERANCE)


@few
@given(seed=seeds, n=st.integers(4, 80), p=st.integers(2, 200))
def test_against_feature_space(seed, n, p):
    x, y = features(seed, n, p, 5)
    assert linear_cka(x, y) == pytest.approx(in_feature_space(x, y), rel=1e-7, abs=TOLERANCE)
    assert linear_cka(x, y, debiased=False) == pytest.approx(
        in_feature_space(x, y, biased_hsic), abs=TOLERANCE
    )


@few
@given(seed=seeds, scale=st.sampled_from([1e-5, 1.0, 1e5]), offset=st.sampled_from([0.0, 100.0, -1e4]))
def test_offset_and_scale_do_not_hurt(seed, scale, offset):
    """float32 features far from zero: as the oracle in float64 on those very numbers, shifted back."""
    x, y = features(seed, 40, 30, 20, torch.float32)
    x = scale * (x + offset * torch.linspace(0.5, 1, 30))
    expected = in_feature_space((x.double() - x[:1].double()) / scale, y)
    assert linear_cka(x, y) == pytest.approx(expected, abs=TOLERANCE)


def test_centred_grams_are_those_of_centred_features(monkeypatch):
    """In blocks of features, and with a first sample, their origin, far off."""
    monkeypatch.setattr("transferscope.metrics.similarity.hsic.WIDENED_AT_ONCE", {"cpu": 50})
    x, _ = features(0, 20, 33, 3)
    x[0] += 1e3
    centre = (x - x.mean(0)).numpy()
    found = centred(gram(x.reshape(20, 3, 11))[None], debiased=False)[0]
    np.testing.assert_allclose(found, centre @ centre.T, rtol=1e-9, atol=1e-6)


def test_bounds_and_invariance():
    x, y = features(0, 30, 6, 6)
    rotation = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64)).Q
    assert linear_cka(x, 3 * x @ rotation - 5) == pytest.approx(1, abs=TOLERANCE)
    # a matrix times its transpose need not be symmetric to the last bit
    assert linear_cka(x, y) == pytest.approx(linear_cka(y, x), rel=1e-12)
    assert linear_cka(x.reshape(30, 2, 3), y) == linear_cka(x, y)


def test_negative_values_are_kept_and_average_out():
    generator = torch.Generator().manual_seed(0)
    values = []
    for _ in range(200):
        x, y = torch.randn(2, 20, 50, generator=generator)
        values.append(linear_cka(x, y))
    assert min(values) < -0.02
    assert np.mean(values) == pytest.approx(0, abs=4 * np.std(values) / math.sqrt(200))
    assert linear_cka(x, y, debiased=False) > 0.5


@pytest.mark.parametrize("debiased", [True, False])
def test_what_has_no_cka_is_nan(debiased):
    x, y = features(0, 10, 4, 4, torch.float32)
    constant = torch.full((10, 4), 0.1) * torch.tensor([1.0, 3.0, 1e6, 0.7])
    assert math.isnan(linear_cka(constant, y, debiased=debiased))
    x[3, 2] = math.inf
    assert math.isnan(linear_cka(x, y, debiased=debiased))
    # All pairs equally far apart: with the diagonal left out nothing varies.
    assert math.isnan(linear_cka(torch.eye(10), y)) == debiased or not debiased


def test_too_few_samples():
    with pytest.raises(BadInput, match=">= 4"):
        linear_cka(torch.randn(3, 2), torch.randn(3, 2))
    with pytest.raises(BadInput, match="same samples"):
        linear_cka(torch.randn(5, 2), torch.randn(6, 2))
    assert math.isfinite(linear_cka(torch.randn(3, 2), torch.randn(3, 2), debiased=False))


def one_sample_alone(n):
    x = torch.zeros(n, 3)
    x[7] = torch.tensor([1.0, -2.0, 3.0])
    return x


@pytest.mark.parametrize("debiased", [False, True])
@pytest.mark.parametrize(
    "kind", ["random", "offset", "few differ", "constant", "one sample", "nan", "inf", "complex"]
)
def test_many_samples_are_those_of_the_grams(debiased, kind, monkeypatch):
    """In feature space and by Grams: the same number to 1e-10, and NaN for the same reasons."""
    n = 60
    x, y = (own.float() for own in features(3, n, 6, 4))
    kinds = {
        "offset": x + 1e4,
        "few differ": one_sample_alone(n) + 1e-2 * x[:, :3],
        "constant": torch.full((n, 3), 0.1),
        "one sample": one_sample_alone(n),
        "nan": x.index_fill(0, torch.tensor([5]), math.nan),
        "inf": x.index_fill(0, torch.tensor([5]), math.inf),
        "complex": torch.complex(x[:, :3].contiguous(), x[:, 3:].contiguous()),
    }
    x = kinds.get(kind, x)
    by_grams = linear_cka(x, y, debiased=debiased)
    monkeypatch.setattr(feature_space, "FEWEST_SAMPLES", 0)
    assert linear_cka(x, y, debiased=debiased) == pytest.approx(by_grams, abs=TOLERANCE, nan_ok=True)
    assert linear_cka(y, x, debiased=debiased) == pytest.approx(by_grams, abs=TOLERANCE, nan_ok=True)
    is_nothing = kind in ("constant", "nan", "inf") or (kind == "one sample" and debiased)
    assert math.isnan(by_grams) == is_nothing


def test_a_hundred_thousand_samples_need_no_grams():
    x = torch.randn(100_000, 16, generator=torch.Generator().manual_seed(0))
    assert linear_cka(x, -2 * x + 1) == pytest.approx(1, abs=1e-6)  # 80 GB as Grams


def test_complex_features_count_as_their_parts():
    x, y = features(0, 30, 6, 4)
    z = torch.complex(x[:, :3].contiguous(), x[:, 3:].contiguous())
    assert linear_cka(z, y) == pytest.approx(linear_cka(x, y), abs=TOLERANCE)
