"""The interval of a CKA and its null, against literal resampling."""

from __future__ import annotations

import itertools
import math

import numpy as np
import polars as pl
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


class Layers(nn.Module):
    """Layers that each give some columns of the input."""

    def __init__(self, *groups):
        super().__init__()
        self.layers = nn.ModuleList(Columns(*group) for group in groups)

    def forward(self, x):
        return tuple(layer(x) for layer in self.layers)


def independent_pairs(x_columns, y_columns, width, n, **options):
    """200 pairs of layers, each of columns of its own: 20 of each of ten calls, which cost little more than one."""
    starts = range(0, 20 * width, width)
    models = {
        name: Layers(*([start + column for column in columns] for start in starts))
        for name, columns in (("x", x_columns), ("y", y_columns))
    }
    generator = options["generator"]
    tables = [cka(models, torch.randn(n, 20 * width, generator=generator), **options) for _ in range(10)]
    pairs = pl.concat(tables).filter(pl.col("layer_x") == pl.col("layer_y"))
    assert pairs.height == 200
    return pairs


def test_coverage_of_the_interval():
    """Columns 0..3 and 2..5 of white noise have CKA 1/2; of 200 intervals at 0.95 about 190 hold it."""
    generator = torch.Generator().manual_seed(0)
    options = {"batch_size": 80, "permutations": 0, "generator": generator}
    pairs = independent_pairs([0, 1, 2, 3], [2, 3, 4, 5], 6, 160, **options)
    hits = pairs.filter((pl.col("low") <= 0.5) & (pl.col("high") >= 0.5)).height
    assert 180 <= hits <= 199
    assert (pairs["high"] - pairs["low"]).mean() < 0.4


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
    generator = torch.Generator().manual_seed(1)
    pairs = independent_pairs([0, 1, 2], [3, 4, 5], 6, 40, batch_size=20, generator=generator)
    assert 2 <= pairs.filter(pl.col("linear_cka") > pl.col("null")).height <= 22


def test_null_of_the_maximum_is_that_of_permuted_samples():
    """In each round all layers of a network move together."""
    x = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    models = {"x": Layers([0, 1], [2]), "y": Layers([3, 4], [5, 6, 7])}
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
    models = {"x": Layers([0, 1], [2]), "y": Layers([3, 4], [5, 6, 7])}
    generator = torch.Generator().manual_seed(1)
    above_max = above = 0
    for _ in range(100):
        table = cka(models, torch.randn(40, 8, generator=generator), generator=generator)
        largest = table.sort("linear_cka").row(-1, named=True)
        above_max += largest["linear_cka"] > largest["null_max"]
        above += largest["linear_cka"] > largest["null"]
    assert 1 <= above_max <= 14  # more than 14 of 100 is one time in ten thousand
    assert above > above_max
