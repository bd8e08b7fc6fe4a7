"""Influence and permuted HSIC against recomputation one sample, or one permutation, at a time."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from transferscope.metrics.similarity import hsic
from transferscope.metrics.similarity.cka import linear_cka
from transferscope.metrics.similarity.hsic import (
    centred,
    gram,
    largest_influence,
    leave_group_out_hsic,
    leave_one_out_terms,
    permuted_hsic,
)

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


def influence(features, debiased, batches=1):
    """Of all samples at once, or in so many batches, as `cka` adds them up."""
    total, terms = 0, []
    for part in torch.arange(len(features[0])).tensor_split(batches):
        centres = centres_of([own[part] for own in features], debiased)
        groups = torch.arange(len(part)) % 2
        total = total + leave_group_out_hsic(centres, groups, 2, debiased)[0]
        found = leave_one_out_terms(centres, debiased)
        terms.append((found.flatten(1), found.diagonal(dim1=1, dim2=2)))
    every = torch.arange(len(features)).expand(len(features), -1)
    change, place = largest_influence(total, terms, (every.T.flatten(), every.flatten()))
    return change.reshape(total.shape), place.reshape(total.shape)


def literal_hsic(x, y, debiased):
    """m times the HSIC of one batch, from its definition."""
    m = len(x)
    k, el = (own @ own.T for own in (x - x.mean(0), y - y.mean(0)))
    if not debiased:
        h = torch.eye(m, dtype=torch.float64) - 1 / m
        return m * (k @ h @ el @ h).trace().item() / (m - 1) ** 2
    k, el = (own - own.diagonal().diag() for own in (k, el))
    ones = torch.ones(m, dtype=torch.float64)
    found = (k @ el).trace() + (ones @ k @ ones) * (ones @ el @ ones) / ((m - 1) * (m - 2))
    return m * (found - 2 / (m - 2) * (ones @ k @ el @ ones)).item() / (m * (m - 3))


@both
@few
@given(seed=st.integers(0, 2**31), n=st.integers(18, 40), batches=st.integers(1, 3))
def test_influence_in_batches_is_that_on_their_sum(debiased, seed, n, batches):
    x, y, _ = layers(seed, n)
    parts = torch.arange(n).tensor_split(batches)

    def summed(left_out):
        kept = [part[part != left_out] for part in parts]
        xy, xx, yy = (
            sum(literal_hsic(a[part], b[part], debiased) for part in kept)
            for a, b in ((x, y), (x, x), (y, y))
        )
        return xy / math.sqrt(xx * yy)

    left = np.array([summed(i) for i in range(n)]) - summed(-1)
    change, place = influence([x, y], debiased, batches)
    most = int(np.abs(left).argmax())
    # where little is left of a layer's own HSIC the change is large, and so is its rounding
    assert change[0, 1].item() == pytest.approx(left[most], rel=1e-7, abs=1e-9)
    assert left[place[0, 1]] == pytest.approx(left[most], rel=1e-7, abs=1e-9)


@both
@few
@given(seed=st.integers(0, 2**31), n=st.integers(6, 30))
def test_influence_is_that_of_leaving_out_each_sample(debiased, seed, n):
    features = layers(seed, n)
    change, place = influence(features, debiased)
    for x, y in itertools.combinations(range(3), 2):
        whole = linear_cka(features[x], features[y], debiased=debiased)
        left = [
            linear_cka(without(features[x], i), without(features[y], i), debiased=debiased) - whole
            for i in range(n)
        ]
        most = int(np.abs(left).argmax())
        assert change[x, y].item() == pytest.approx(left[most], rel=1e-7, abs=1e-9)
        assert left[place[x, y]] == pytest.approx(left[most], rel=1e-7, abs=1e-9)
        # a matrix times its transpose need not be symmetric to the last bit
        assert change[y, x].item() == pytest.approx(change[x, y].item(), rel=1e-9)


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
    change, place = influence([x, y], debiased)
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
    change, place = influence([x, y], debiased)
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
