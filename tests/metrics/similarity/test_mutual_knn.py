"""Mutual nearest neighbours against sorted lists of distances, and all ways to break ties."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from transferscope.metrics.similarity.mutual_knn import mutual_knn

few = settings(deadline=None, max_examples=20)


def grams_of(*features):
    return torch.stack([own @ own.T for own in features])


@few
@given(seed=st.integers(0, 2**31), n=st.integers(5, 60), k=st.integers(1, 4))
def test_against_scikit_learn(seed, n, k):
    generator = torch.Generator().manual_seed(seed)
    features = [torch.randn(n, width, generator=generator, dtype=torch.float64) for width in (2, 5, 200)]
    features.append(features[0] + 0.3 * torch.randn(n, 2, generator=generator, dtype=torch.float64))
    neighbours = [
        NearestNeighbors(n_neighbors=k).fit(own.numpy()).kneighbors(return_distance=False) for own in features
    ]
    found = mutual_knn(grams_of(*features), k)
    for x, y in itertools.product(range(4), repeat=2):
        shared = [len(set(a) & set(b)) / k for a, b in zip(neighbours[x], neighbours[y], strict=True)]
        assert found[x, y].item() == pytest.approx(np.mean(shared), abs=1e-6)


def ways_to_choose(distances, k):
    """All sets of k nearest others of one sample."""
    furthest = sorted(distances.values())[k - 1]
    nearer = [other for other, distance in distances.items() if distance < furthest]
    tied = [other for other, distance in distances.items() if distance == furthest]
    return [{*nearer, *chosen} for chosen in itertools.combinations(tied, k - len(nearer))]


@few
@given(seed=st.integers(0, 2**31), k=st.integers(1, 3))
def test_ties_count_by_chance(seed, k):
    """Whole numbers on a line, many equally far away: the mean over all ways to break the ties."""
    x, y = torch.randint(4, (2, 7, 1), generator=torch.Generator().manual_seed(seed)).double()
    expected = []
    for i in range(7):
        sets = [
            ways_to_choose({j: abs(float(own[i] - own[j])) for j in range(7) if j != i}, k) for own in (x, y)
        ]
        expected.append(np.mean([len(a & b) / k for a, b in itertools.product(*sets)]))
    assert mutual_knn(grams_of(x, y), k)[0, 1].item() == pytest.approx(np.mean(expected), abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rounding_breaks_no_tie(dtype):
    """Points of a grid, rotated and scaled: many equal distances, which rounding makes unequal."""
    generator = torch.Generator().manual_seed(0)
    grids = torch.randint(3, (2, 30, 4), generator=generator).double()
    rotation = torch.linalg.qr(torch.randn(4, 4, generator=generator, dtype=torch.float64)).Q
    turned = [(own @ rotation / 3 - 0.1).to(dtype) for own in grids]
    expected, found = mutual_knn(grams_of(*grids), 5), mutual_knn(grams_of(*turned), 5)
    assert torch.allclose(found, expected, rtol=0, atol=1e-6)


def test_rotation_scale_and_offset_change_nothing():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(50, 6, generator=generator, dtype=torch.float64)
    rotation = torch.linalg.qr(torch.randn(6, 6, generator=generator, dtype=torch.float64)).Q
    # an offset far beyond the scale would leave distances too few digits to be ranked
    found = mutual_knn(grams_of(x, 1e-5 * (x @ rotation - 3)), 10)
    assert torch.allclose(found, torch.ones(2, 2, dtype=torch.float64))


def test_unrelated_features_share_what_chance_gives():
    generator = torch.Generator().manual_seed(0)
    found = [
        mutual_knn(grams_of(*torch.randn(2, 101, 20, generator=generator)), 10)[0, 1].item()
        for _ in range(50)
    ]
    assert np.mean(found) == pytest.approx(0.1, abs=4 * np.std(found) / math.sqrt(50))


def test_too_few_samples_and_no_numbers_are_nan():
    x = torch.randn(10, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert mutual_knn(grams_of(x, x), 10).isnan().all()
    assert mutual_knn(grams_of(x, x), 9)[0, 1] == 1
    broken = grams_of(x, x, x)
    broken[1] = math.nan
    found = mutual_knn(broken, 3)
    assert found[1].isnan().all()
    assert found[0, 2] == 1
