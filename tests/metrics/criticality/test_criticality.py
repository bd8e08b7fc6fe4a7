"""Criticality against a closed form and against a copy of the network per cell."""

from __future__ import annotations

import copy
import math

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn
from torch.nn import functional

from transferscope.core.errors import BadInput
from transferscope.metrics.criticality.criticality import module_criticality
from transferscope.metrics.criticality.rewinding import rewind

TOLERANCE = 1e-12


class Quadratic(nn.Module):
    """A network whose cross entropy with label 0 is 0.1 + |u|^2 / 2 + 2 |v|^2."""

    def __init__(self, u, v):
        super().__init__()
        self.low = nn.ParameterList([torch.tensor(u, dtype=torch.float64)])
        self.high = nn.ParameterList([torch.tensor(v, dtype=torch.float64)])

    def forward(self, x):
        loss = 0.1 + self.low[0].square().sum() / 2 + 2 * self.high[0].square().sum()
        # Cross entropy of logits (0, z) with label 0 is log(1 + e^z).
        return torch.stack([0 * x[:, 0], torch.log(torch.expm1(loss)).expand(len(x))], 1)


ONE = (torch.zeros(1, 1, dtype=torch.float64), torch.tensor([0]))
ALPHAS = [0.0, 0.25, 0.5, 0.75, 1.0]
SIGMAS = [0.0, 0.01, 0.1, 1.0]


def quadratic(**options):
    init, final = Quadratic([3.0, 4.0], [1.0, 0.0, 0.0]), Quadratic([0.0, 0.0], [0.0, 0.0, 0.0])
    options = {"alphas": ALPHAS, "sigmas": SIGMAS, "draws": 200} | options
    return module_criticality(Quadratic([9.0, 9.0], [9.0, 9.0, 9.0]), init, final, ONE, **options)


def test_cells_of_a_quadratic():
    """The mean loss is 0.1 + c ((1 - alpha)^2 |d|^2 + sigma^2 p): c, |d|^2, p = 1/2, 25, 2 and 2, 1, 3."""
    found = quadratic(draws=50)
    assert found.cells.columns == [
        *("module", "split", "scale", "alpha", "sigma", "sigma_absolute"),
        *("loss", "loss_se", "metric", "metric_se", "draws"),
    ]
    assert len(found.cells) == 2 * len(ALPHAS) * len(SIGMAS)
    for row in found.cells.iter_rows(named=True):
        curvature, square, size = {"low": (0.5, 25, 2), "high": (2, 1, 3)}[row["module"]]
        expected = 0.1 + curvature * ((1 - row["alpha"]) ** 2 * square + row["sigma"] ** 2 * size)
        if row["sigma"] == 0:
            assert row["loss"] == pytest.approx(expected, rel=TOLERANCE)
            assert (row["draws"], row["loss_se"], row["metric_se"]) == (1, 0, 0)
        else:
            assert row["draws"] == 50
            assert abs(row["loss"] - expected) < 4 * row["loss_se"]
    assert found.cells["split"].unique().to_list() == ["train"]
    assert found.cells["scale"].unique().to_list() == ["absolute"]
    assert found.final["train"].loss == pytest.approx(0.1, rel=TOLERANCE)
    assert found.final["train"].metric == 1


def test_mu_of_a_quadratic():
    """epsilon = 0.95 admits, of the module high, alpha >= 0.5 at sigma 0.1, and no cell at sigma 1."""
    found = quadratic(epsilon=0.95)
    assert found.modules.columns == [
        *("module", "mu", "mu_at_final", "distance", "num_parameters", "alpha", "sigma_absolute", "status")
    ]
    low, high = found.modules.iter_rows(named=True)
    assert (high["distance"], high["num_parameters"]) == (1.0, 3)
    assert (high["alpha"], high["sigma_absolute"]) == (0.5, 0.1)
    assert high["mu"] == pytest.approx(0.5**2 / 0.1**2, rel=TOLERANCE)
    # low: 12.5 (1 - alpha)^2 <= 0.85 needs alpha >= 0.75; its mean loss at alpha 1 and sigma 1 is 1.1, with a
    # standard error of 0.07
    assert (low["alpha"], low["sigma_absolute"], low["distance"]) == (0.75, 0.1, 5.0)
    assert low["mu"] == pytest.approx(0.75**2 * 25 / 0.1**2, rel=TOLERANCE)
    assert found.network == pytest.approx(low["mu"] + high["mu"], rel=TOLERANCE)
    assert found.modules["status"].to_list() == ["ok", "ok"]
    assert found.status == "ok"
    # at alpha = 1 the largest admissible noise is 0.1 too
    assert high["mu_at_final"] == pytest.approx(1 / 0.1**2, rel=TOLERANCE)
    assert low["mu_at_final"] == pytest.approx(25 / 0.1**2, rel=TOLERANCE)
    assert quadratic(epsilon=0.95, alphas=[0, 0.75]).modules["mu_at_final"].is_nan().all()


def test_noise_beyond_the_definition_is_mapped_but_not_counted():
    """mu is over sigma up to 1: with 2 on the grid and everything admissible but alpha = 0, it stays that of 1."""
    found = quadratic(epsilon=60, alphas=[0.5, 1], sigmas=[1.0, 2.0], modules={"high": ["high"]})
    assert found.cells.filter(sigma=2.0)["loss"].max() < 60
    assert found.modules["mu"].to_list() == [0.25]
    assert found.modules["sigma_absolute"].to_list() == [1.0]


@pytest.mark.parametrize("epsilon", [None, math.nan])
def test_a_final_loss_of_nan_makes_mu_nan(epsilon):
    broken = Quadratic([math.nan, 0.0], [0.0, 0.0, 0.0])
    init = Quadratic([3.0, 4.0], [1.0, 0.0, 0.0])
    found = module_criticality(
        broken, init, broken, ONE, alphas=[0, 1], sigmas=[0.1], draws=2, epsilon=epsilon
    )
    assert found.modules["mu"].is_nan().all()
    assert found.modules["status"].unique().to_list() == ["not a number"]
    assert found.status == "not a number: low, high"
    assert math.isnan(found.network)


def test_a_distance_of_nan_makes_mu_nan_where_a_cell_is_admissible():
    final = Quadratic([0.0, 0.0], [0.0, 0.0, 0.0])
    init = Quadratic([math.nan, 0.0], [1.0, 0.0, 0.0])
    found = module_criticality(final, init, final, ONE, alphas=[0, 1], sigmas=[0.1], draws=2, epsilon=50.0)
    assert math.isnan(found.modules["mu"][0])
    assert found.modules["mu"][1] == 0
    assert found.status == "not a number: low"


def test_nothing_admissible_is_infinite():
    found = quadratic(
        epsilon=0.1 + 1e-9, draws=5
    )  # the final loss itself, without noise, is admissible: no cell for mu
    assert found.modules["mu"].to_list() == [math.inf, math.inf]
    assert found.network == math.inf
    assert found.modules["status"].unique().to_list() == ["no admissible cell"]
    assert found.status == "no admissible cell: low, high"
    assert found.modules["alpha"].is_null().all()
    assert found.modules["mu_at_final"].to_list() == [math.inf, math.inf]


def test_alpha_zero_admissible_is_zero():
    found = quadratic(epsilon=100.0, draws=5)
    assert found.modules["mu"].to_list() == [0.0, 0.0]
    assert found.network == 0


def test_epsilon_is_the_final_loss_and_a_margin():
    assert quadratic(tolerance=0.3, draws=1).epsilon == pytest.approx(0.4, rel=TOLERANCE)
    assert quadratic(epsilon=0.7, tolerance=0.3, draws=1).epsilon == 0.7
    assert quadratic(tolerance=0.3, relative_tolerance=2, draws=1).epsilon == pytest.approx(
        0.3, rel=TOLERANCE
    )
    assert quadratic(draws=1).cells.filter(pl.col("sigma") > 0)["loss_se"].is_nan().all()


def test_relative_sigma():
    found = quadratic(sigmas=[], relative_sigmas=[0.0, 0.1, 0.2], epsilon=1.1, draws=20)
    units = {"low": 5 / math.sqrt(2), "high": 1 / math.sqrt(3)}
    assert found.cells["scale"].unique().to_list() == ["relative"]
    for row in found.cells.iter_rows(named=True):
        assert row["sigma_absolute"] == pytest.approx(row["sigma"] * units[row["module"]], rel=TOLERANCE)
    for row in found.modules.iter_rows(named=True):
        # |d|^2 cancels: alpha^2 p / sigma^2
        sigma = row["sigma_absolute"] / units[row["module"]]
        expected = row["alpha"] ** 2 * row["num_parameters"] / sigma**2
        assert row["mu"] == pytest.approx(expected, rel=TOLERANCE)


def test_both_scales_are_maps_under_the_same_noise():
    """A relative scale that comes to an absolute one gives its numbers; mu is the least of both."""
    unit = 1 / math.sqrt(3)
    options = {"epsilon": 1.1, "draws": 20, "modules": {"high": ["high"]}}
    both = quadratic(sigmas=[0.0, 0.1], relative_sigmas=[0.0, 0.1 / unit, 0.5], **options)
    keys = ["alpha", "loss", "loss_se", "metric", "draws"]
    for sigma, relative in ((0.0, 0.0), (0.1, 0.1 / unit)):
        absolute = both.cells.filter(scale="absolute", sigma=sigma).select(keys)
        same = both.cells.filter(scale="relative", sigma=relative).select(keys)
        assert np.allclose(absolute.to_numpy(), same.to_numpy(), rtol=1e-9)
    assert len(both.cells) == len(ALPHAS) * 5
    alone = [
        quadratic(**options, **grid).modules["mu"][0]
        for grid in ({"sigmas": [0.1]}, {"sigmas": [], "relative_sigmas": [0.1 / unit, 0.5]})
    ]
    assert both.modules["mu"][0] == pytest.approx(min(alone), rel=TOLERANCE)
    assert alone[1] < alone[0]


def test_test_examples_get_the_map_of_the_same_noise():
    """Their map is that of a run in which they were the training examples; mu stays that of training."""
    init, final, options = network(0), network(1), {"alphas": [0, 0.5, 1], "sigmas": [0, 0.3], "draws": 3}
    both = module_criticality(network(2), init, final, examples(), test=examples(5), **options)
    for split, data in (("train", examples()), ("test", examples(5))):
        alone = module_criticality(network(2), init, final, data, **options)
        cells = both.cells.filter(split=split)
        assert cells.drop("split").equals(alone.cells.drop("split"))
        assert both.final[split].loss == alone.final["train"].loss
        assert both.modules.equals(alone.modules) == (split == "train")


@pytest.mark.parametrize("grid", [{"sigmas": [0.1]}, {"sigmas": [], "relative_sigmas": [0.1]}])
def test_a_module_that_did_not_move(grid):
    same = Quadratic([0.0, 0.0], [0.0, 0.0, 0.0])
    found = module_criticality(same, same, same, ONE, alphas=[0.5, 1], epsilon=1, **grid)
    assert found.modules["mu"].to_list() == [0.0, 0.0]
    assert found.modules["status"].to_list() == ["unmoved", "unmoved"]


def test_the_same_draws_over_the_grid():
    """With one draw the loss is a parabola in sigma with the coefficients of that draw, at every alpha."""
    found = quadratic(draws=1, sigmas=[0.1, 0.2], alphas=[1.0, 0.5], modules={"high": ["high"]}).cells
    at = {(row["alpha"], row["sigma"]): row["loss"] - 0.1 for row in found.iter_rows(named=True)}
    assert at[1.0, 0.2] == pytest.approx(4 * at[1.0, 0.1], rel=1e-9)
    cross = [at[0.5, s] - at[1.0, s] - 0.5 for s in (0.1, 0.2)]  # 4 s (1 - alpha) <d, noise>
    assert cross[1] == pytest.approx(2 * cross[0], rel=1e-9)


def test_the_draws_differ():
    assert quadratic(draws=5).cells.filter(pl.col("sigma") > 0)["loss_se"].min() > 0


def test_same_generator_same_map():
    first, second = (quadratic(draws=2, generator=torch.Generator().manual_seed(4)).cells for _ in range(2))
    assert first.equals(second)
    assert not first.equals(quadratic(draws=2, generator=torch.Generator().manual_seed(5)).cells)


def network(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = nn.Sequential()
        net.add_module("stem", nn.Linear(4, 8))
        net.add_module("norm", nn.BatchNorm1d(8))
        net.add_module("act", nn.ReLU())
        net.add_module("head", nn.Linear(8, 3))
        net.norm.running_mean.normal_()
        return net.double()


def examples(seed=0, n=40):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 4, generator=generator, dtype=torch.float64)
    return x, torch.randint(3, (n,), generator=generator)


def test_map_is_that_of_copies():
    init, final, data = network(0), network(1), examples()
    found = module_criticality(
        network(2),
        init,
        final,
        data,
        alphas=[0, 0.3, 1],
        sigmas=[0, 0.2],
        draws=3,
        generator=torch.Generator(),
    )
    assert found.modules["module"].to_list() == ["stem", "norm", "head"]
    generator = torch.Generator()
    for module in ("stem", "norm", "head"):
        names = [n for n, _ in final.named_parameters() if n.startswith(module)]
        noises = [
            {
                n: torch.randn(final.state_dict()[n].shape, generator=generator, dtype=torch.float64)
                for n in names
            }
            for _ in range(3)
        ]
        for alpha, sigma in ((0.0, 0.0), (0.3, 0.2), (1.0, 0.2)):
            results = []
            for noise in noises:
                net = copy.deepcopy(final).eval()
                for n, tensor in net.state_dict().items():
                    if n.startswith(module) and tensor.is_floating_point():
                        mixed = (1 - alpha) * init.state_dict()[n] + alpha * final.state_dict()[n]
                        tensor.copy_(mixed + (sigma * noise[n] if n in noise else 0))
                with torch.no_grad():
                    logits = net(data[0])
                metric = (logits.argmax(1) == data[1]).double().mean().item()
                results.append((functional.cross_entropy(logits, data[1]).item(), metric))
            row = found.cells.filter(module=module, alpha=alpha, sigma=sigma).row(0, named=True)
            assert (row["loss"], row["metric"]) == pytest.approx(tuple(np.mean(results, 0)), rel=TOLERANCE)
            if sigma:
                errors = np.std(results, 0, ddof=1) / math.sqrt(3)
                assert (row["loss_se"], row["metric_se"]) == pytest.approx(tuple(errors), rel=1e-9, abs=1e-12)


class Breaks(nn.Module):
    def __init__(self, after):
        super().__init__()
        self.net = network(0)
        self.left = after

    def forward(self, x):
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("out of memory")
        return self.net(x)


@pytest.mark.parametrize("after", [0, 1, 2, 1000])
def test_the_model_is_restored(after):
    model, end = Breaks(after), Breaks(0)
    model.train()
    model.net.head.eval()
    modes = [module.training for module in model.modules()]
    before = {n: t.clone() for n, t in model.state_dict().items()}
    calls = [
        lambda: module_criticality(model, model, end, examples(), alphas=[0, 1], sigmas=[0.1], draws=2),
        lambda: rewind(model, end, model, examples(), modules={"stem": ["net.stem"], "head": ["net.head"]}),
    ]
    for call in calls:
        model.left = after
        if after < 1000:
            with pytest.raises(RuntimeError, match="out of memory"):
                call()
        else:
            call()
        assert [module.training for module in model.modules()] == modes
        assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items())


def test_a_loss_of_nan_is_not_admissible():
    init = network(0)
    with torch.no_grad():
        init.stem.weight[0, 0] = math.nan
    found = module_criticality(
        network(2), init, network(1), examples(), alphas=[0, 0.5], sigmas=[0.1], epsilon=1e9, draws=2
    )
    stem = found.modules.row(0, named=True)
    assert stem["status"] == "no admissible cell"
    assert stem["mu"] == math.inf
    assert found.cells.filter(module="stem")["loss"].is_nan().all()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"alphas": [0, 1.2]}, r"\[0, 1\]"),
        ({"alphas": []}, r"\[0, 1\]"),
        ({"sigmas": [0.0]}, "one of them above"),
        ({"sigmas": [], "relative_sigmas": [0.0]}, "one of them above"),
        ({"relative_sigmas": [-0.5]}, "at least 0"),
        ({"sigmas": [-1.0, 1.0]}, "at least 0"),
        ({"draws": 0}, "draw"),
    ],
)
def test_bad_grids(options, says):
    with pytest.raises(BadInput, match=says):
        quadratic(**options)
