"""The interval of a CKA and its null, against literal resampling."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from literal_cka import in_feature_space
from torch import nn

from transferscope.metrics.similarity.cka import cka, linear_cka

TOLERANCE = 1e-10


class Columns(nn.Module):
    """Features that are some columns of the input."""

    def __init__(self, *columns):
        super().__init__()
        self.columns = list(columns)
        self.out = nn.Identity()

    def forward(self, x):
        return self.out(x[:, self.columns])


def test_coverage_of_the_interval():
    """Columns 0..3 and 2..5 of white noise have CKA 1/2; of 200 intervals at 0.95 about 190 hold it."""
    models = {"x": Columns(0, 1, 2, 3), "y": Columns(2, 3, 4, 5)}
    generator = torch.Generator().manual_seed(0)
    hits, widths = 0, []
    for _ in range(200):
        x = torch.randn(160, 6, generator=generator)
        row = cka(models, x, batch_size=80, permutations=0, generator=generator).row(0, named=True)
        hits += row["low"] <= 0.5 <= row["high"]
        widths.append(row["high"] - row["low"])
    assert 180 <= hits <= 199
    assert np.mean(widths) < 0.4


def test_jackknife_is_the_literal_one():
    """Delete each group's samples from the features, and compute CKA anew."""
    models = {"x": Columns(0, 1, 2), "y": Columns(1, 2, 3)}
    x = torch.randn(48, 6, generator=torch.Generator().manual_seed(0))
    row = cka(models, [x], permutations=0, generator=torch.Generator().manual_seed(3)).row(0, named=True)
    groups = torch.randperm(48, generator=torch.Generator().manual_seed(3)) % 20
    left_out = [in_feature_space(x[groups != g][:, :3], x[groups != g][:, 1:4]) for g in range(20)]
    error = math.sqrt(19 / 20 * np.sum((np.array(left_out) - np.mean(left_out)) ** 2))
    assert row["high"] - row["linear_cka"] == pytest.approx(2.093024054408263 * error, abs=TOLERANCE)
    assert row["linear_cka"] - row["low"] == pytest.approx(2.093024054408263 * error, abs=TOLERANCE)


@pytest.mark.parametrize("debiased", [True, False])
def test_null_is_that_of_permuted_samples(debiased):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(60, 8, generator=generator) * torch.tensor([3.0, 1, 1, 1, 1, 1, 1, 1])
    models = {"x": Columns(0, 1, 2, 3, 4), "y": Columns(0, 5, 6, 7)}
    row = cka(models, x, batch_size=60, permutations=1000, debiased=debiased).row(0, named=True)
    rng = np.random.default_rng(0)
    permuted = [
        linear_cka(x[:, :5], x[rng.permutation(60)][:, [0, 5, 6, 7]], debiased=debiased) for _ in range(1000)
    ]
    spread = np.std(permuted)
    assert row["null"] == pytest.approx(np.quantile(permuted, 0.95), abs=0.3 * spread)
    assert row["linear_cka"] > row["null"]


def test_unrelated_features_exceed_the_null_one_time_in_twenty():
    models = {"x": Columns(0, 1, 2), "y": Columns(3, 4, 5)}
    generator = torch.Generator().manual_seed(1)
    above = 0
    for _ in range(200):
        row = cka(models, torch.randn(40, 6, generator=generator), batch_size=20, generator=generator).row(0)
        above += row[4] > row[7]
    assert 2 <= above <= 22


class Maximum(nn.Module):
    """Two layers that each give some columns of the input."""

    def __init__(self, first, second):
        super().__init__()
        self.first, self.second = Columns(*first), Columns(*second)

    def forward(self, x):
        return self.first(x), self.second(x)


def test_null_of_the_maximum_is_that_of_permuted_samples():
    """In each round all layers of a network move together."""
    x = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    models = {"x": Maximum([0, 1], [2]), "y": Maximum([3, 4], [5, 6, 7])}
    table = cka(models, x, batch_size=50, permutations=2000)
    assert table["null_max"].n_unique() == 1
    rng = np.random.default_rng(0)
    largest = []
    for _ in range(1000):
        moved = x[rng.permutation(50)]
        largest.append(
            max(
                linear_cka(x[:, own], moved[:, other])
                for own, other in itertools.product(([0, 1], [2]), ([3, 4], [5, 6, 7]))
            )
        )
    found = table["null_max"][0]
    assert found == pytest.approx(np.quantile(largest, 0.95), abs=0.3 * np.std(largest))
    assert found > table["null"].max()


def test_maximum_over_unrelated_layers_exceeds_its_null_one_time_in_twenty():
    """The largest of four exceeds the null of a single one far more often."""
    models = {"x": Maximum([0, 1], [2]), "y": Maximum([3, 4], [5, 6, 7])}
    generator = torch.Generator().manual_seed(1)
    above_max = above = 0
    for _ in range(200):
        table = cka(models, torch.randn(40, 8, generator=generator), generator=generator)
        largest = table.sort("linear_cka").row(-1, named=True)
        above_max += largest["linear_cka"] > largest["null_max"]
        above += largest["linear_cka"] > largest["null"]
    assert 2 <= above_max <= 22
    assert above > above_max
