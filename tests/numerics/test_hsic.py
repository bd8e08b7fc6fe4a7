"""Influence and permuted HSIC against recomputation one sample, or one permutation, at a time."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from transferscope.metrics import hsic
from transferscope.metrics.cka import linear_cka
from transferscope.metrics.hsic import centred, gram, leave_one_out_influence, permuted_hsic

few = settings(deadline=None, max_examples=15)
both = pytest.mark.parametrize("debiased", [True, False])


def layers(seed, n, widths=(3, 40, 5)):
    """Features that share a part, of very different scales, far from zero."""
    generator = torch.Generator().manual_seed(seed)
    shared = torch.randn(n, 2, generator=generator, dtype=torch.float64)
    found = []
    for place, width in enumerate(widths):
        own = torch.randn(n, width, generator=generator, dtype=torch.float64)
        own[:, :2] += shared
        found.append(10.0 ** (3 * place - 3) * own + 100 * place)
    return found


def without(features, place):
    return features[torch.arange(len(features)) != place]


def centres_of(features, debiased):
    return centred(torch.stack([gram(own) for own in features]), debiased)


@both
@few
@given(seed=st.integers(0, 2**31), n=st.integers(6, 30), block=st.sampled_from([1, 2**22]))
def test_influence_is_that_of_leaving_out_each_sample(debiased, seed, n, block):
    features = layers(seed, n)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hsic, "NUMBERS_AT_ONCE", block)
        change, place = leave_one_out_influence(centres_of(features, debiased), debiased)
    for x, y in itertools.combinations(range(3), 2):
        whole = linear_cka(features[x], features[y], debiased=debiased)
        left = [
            linear_cka(without(features[x], i), without(features[y], i), debiased=debiased) - whole
            for i in range(n)
        ]
        most = int(np.abs(left).argmax())
        assert change[x, y].item() == pytest.approx(left[most], abs=1e-9)
        assert left[place[x, y]] == pytest.approx(left[most], abs=1e-9)
        assert change[y, x] == change[x, y]


@both
def test_an_outlier_is_found(debiased):
    """Unrelated features and one image far out in both: biased CKA near 1 hangs on that image alone."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 60, 5, generator=generator, dtype=torch.float64)
    alone = linear_cka(without(x, 17), without(y, 17), debiased=debiased)
    x[17] += 40
    y[17] += 40
    whole = linear_cka(x, y, debiased=debiased)
    assert whole > (0.3 if debiased else 0.95)
    change, place = leave_one_out_influence(centres_of([x, y], debiased), debiased)
    assert place[0, 1] == 17
    assert change[0, 1].item() == pytest.approx(alone - whole, abs=1e-9)


@pytest.mark.parametrize(("debiased", "samples"), [(False, [4]), (True, [4, 5])])
def test_a_layer_that_a_sample_makes_has_no_cka_without_it(debiased, samples):
    """Constant but for so few samples that without one of them nothing varies."""
    x = torch.zeros(12, 3, dtype=torch.float64)
    x[samples] = 1
    y = torch.randn(12, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert math.isfinite(linear_cka(x, y, debiased=debiased))
    assert math.isnan(linear_cka(without(x, 4), without(y, 4), debiased=debiased))
    change, place = leave_one_out_influence(centres_of([x, y], debiased), debiased)
    assert math.isnan(change[0, 1])
    assert place[0, 1] == 4


@both
@few
@given(seed=st.integers(0, 2**31), n=st.integers(8, 100), entries=st.sampled_from([7, 4096]))
def test_permuted_hsic_is_that_of_permuted_samples(debiased, seed, n, entries):
    centres = centres_of(layers(seed, n), debiased)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hsic, "ENTRIES_AT_ONCE", entries)
        found = permuted_hsic(centres, 3, debiased, torch.Generator().manual_seed(seed))
    again = torch.Generator().manual_seed(seed)
    for permuted in found:
        order = torch.randperm(n, generator=again)
        for x, y in itertools.product(range(3), repeat=2):
            products = (centres[x] * centres[y][order][:, order]).sum().item()
            expected = n * products / (n * (n - 3) if debiased else (n - 1) ** 2)
            size = n * (centres[x].norm() * centres[y].norm()).item() / n**2
            assert permuted[x, y].item() == pytest.approx(expected, abs=1e-5 * size)
