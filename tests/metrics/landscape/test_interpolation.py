"""Paths and barriers against a copy of the network per place, literal definitions and a literal bootstrap."""

from __future__ import annotations

import copy
import math

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.nn import functional
from torch.optim.swa_utils import update_bn

from transferscope.core.errors import BadInput
from transferscope.metrics.landscape.interpolation import (
    barrier,
    barrier_interval,
    barrier_intervals,
    interpolate,
    path_losses,
    path_table,
)
from transferscope.metrics.statistics.intervals import resampling_weights

LITERAL_TOLERANCE = 1e-12
ALPHAS = [-0.5, 0.0, 0.25, 0.5, 0.8, 1.0, 1.5]


def network(seed, batch_norm=False, outputs=3, dtype=torch.float64):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        norm = [nn.BatchNorm1d(8)] if batch_norm else []
        net = nn.Sequential(nn.Linear(4, 8), *norm, nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, outputs))
    return net.to(dtype)


def single_label(seed=0, n=50, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 4, generator=generator, dtype=dtype)
    return x, torch.randint(3, (n,), generator=generator)


def multi_label(seed=0, n=50):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 4, generator=generator, dtype=torch.float64)
    return x, (torch.rand(n, 3, generator=generator) < 0.5).float()


def literal(model, a, b, data, alpha):
    """A copy of the network with the mixed weights, the slow way."""
    a, b = a.state_dict(), b.state_dict()
    mixed = {n: (1 - alpha) * a[n] + alpha * b[n] if a[n].is_floating_point() else a[n] for n in a}
    net = copy.deepcopy(model)
    net.load_state_dict(mixed)
    return net.eval()(data[0])


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**31), batch_norm=st.booleans(), batch_size=st.sampled_from([7, 50, 64]))
def test_single_label_path(seed, batch_norm, batch_size):
    model, a, b = (network(seed + i, batch_norm) for i in range(3))
    x, y = single_label(seed)
    curve = interpolate(
        model, a, b, (x, y), alphas=ALPHAS[1:-1], batch_norm="interpolate", batch_size=batch_size
    )
    assert curve.columns == ["alpha", "loss", "metric", "n", "batch_norm", "stored_loss", "stored_metric"]
    for row in curve.iter_rows(named=True):
        logits = literal(model, a, b, (x, y), row["alpha"])
        assert row["loss"] == pytest.approx(functional.cross_entropy(logits, y).item(), rel=LITERAL_TOLERANCE)
        assert row["metric"] == pytest.approx((logits.argmax(1) == y).double().mean().item(), abs=1e-12)
        assert row["n"] == 50


def test_multi_label_path():
    model, a, b = (network(i) for i in range(3))
    x, y = multi_label()
    for row in interpolate(model, a, b, (x, y), alphas=ALPHAS).iter_rows(named=True):
        logits = literal(model, a, b, (x, y), row["alpha"])
        expected = functional.binary_cross_entropy_with_logits(logits, y.double()).item()
        assert row["loss"] == pytest.approx(expected, rel=LITERAL_TOLERANCE)
        auc = roc_auc_score(y.numpy(), logits.detach().numpy(), average="macro")
        assert row["metric"] == pytest.approx(auc, abs=LITERAL_TOLERANCE)


@pytest.mark.parametrize("batch_norm", ["keep", "interpolate"])
def test_endpoints_are_the_networks_themselves(batch_norm):
    """Exactly, in float32, where b + 0 * (a - b) would already be another number."""
    model, a, b = (network(i, batch_norm=True, dtype=torch.float32) for i in range(3))
    data = single_label(dtype=torch.float32)
    b[1].running_mean.fill_(0.3)
    path = path_losses(model, a, b, data, alphas=[0, 1], batch_norm=batch_norm)
    for losses, end in zip(path.losses, (a, b), strict=True):
        with torch.no_grad():
            direct = functional.cross_entropy(end.eval()(data[0]).double(), data[1], reduction="none")
        assert torch.equal(losses, direct)


def test_policies_of_batch_norm_differ():
    model, a, b = (network(i, batch_norm=True) for i in range(3))
    data, (calibration, _) = single_label(0), single_label(1, n=200)
    for net, shift in ((a, -4.0), (b, 4.0)):  # channels that a path of the weights sends through zero
        net[1].running_mean.fill_(shift)
        net[1].running_var.fill_(4.0)
    options = {"keep": {}, "interpolate": {}, "re-estimate": {"calibration": calibration}}
    curves = {
        policy: interpolate(model, a, b, data, alphas=[0, 0.3, 0.6, 1], batch_norm=policy, **more)
        for policy, more in options.items()
    }
    middle = {policy: curve["loss"][1] for policy, curve in curves.items()}
    assert len({round(loss, 3) for loss in middle.values()}) == 3
    assert (
        curves["keep"]["loss"][3]
        == curves["interpolate"]["loss"][3]
        == curves["re-estimate"]["stored_loss"][3]
    )
    assert curves["re-estimate"]["loss"][3] != curves["re-estimate"]["stored_loss"][3]
    assert curves["re-estimate"]["stored_loss"].is_null().to_list() == [False, True, True, False]
    assert curves["keep"]["batch_norm"].unique().to_list() == ["keep"]
    # keep: the nearer end's statistics under mixed weights.
    for index, (alpha, nearer) in enumerate([(0.3, a), (0.6, b)], start=1):
        net = copy.deepcopy(model)
        mixed = {n: torch.lerp(p, b.state_dict()[n], alpha) for n, p in a.named_parameters()}
        net.load_state_dict(nearer.state_dict() | mixed)
        with torch.no_grad():
            expected = functional.cross_entropy(net.eval()(data[0]), data[1]).item()
        assert curves["keep"]["loss"][index] == pytest.approx(expected, rel=LITERAL_TOLERANCE)


def test_re_estimation_is_pytorchs():
    model, a, b = (network(i, batch_norm=True) for i in range(3))
    data, (calibration, _) = single_label(0), single_label(1, n=200)
    a[1].num_batches_tracked.fill_(100)  # old statistics must not weigh in
    curve = interpolate(
        model, a, b, data, alphas=[0.4], batch_norm="re-estimate", calibration=calibration, batch_size=50
    )
    net = copy.deepcopy(model)
    net.load_state_dict(
        {n: 0.6 * t + 0.4 * b.state_dict()[n] for n, t in a.state_dict().items()}, strict=True
    )
    net[3].p = 0.0  # update_bn runs all of the network in training mode
    update_bn(calibration.split(50), net)
    with torch.no_grad():
        expected = functional.cross_entropy(net.eval()(data[0]), data[1]).item()
    assert curve["loss"][0] == pytest.approx(expected, rel=LITERAL_TOLERANCE)


def test_a_negative_variance_is_nan():
    model, a, b = (network(i, batch_norm=True) for i in range(3))
    b[1].running_var.fill_(0.1)
    curve = interpolate(model, a, b, single_label(), alphas=[0, 3], batch_norm="interpolate")
    assert not curve["loss"].is_nan()[0]
    assert curve["loss"].is_nan()[1]
    assert curve["metric"].is_nan()[1]


class Breaks(nn.Module):
    """A network that gives out after some batches."""

    def __init__(self, after):
        super().__init__()
        self.net = network(0, batch_norm=True)
        self.left = after

    def forward(self, x):
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("out of memory")
        return self.net(x)


@pytest.mark.parametrize("after", [0, 1, 3, 100])
def test_the_model_is_restored(after):
    model, a, b = Breaks(after), Breaks(0), Breaks(0)
    model.train()
    model.net[0].eval()
    modes = [module.training for module in model.modules()]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    options = {"alphas": [0, 0.5], "batch_norm": "re-estimate", "calibration": single_label()[0]}
    if after < 100:
        with pytest.raises(RuntimeError, match="out of memory"):
            path_losses(model, a, b, single_label(), **options)
    else:
        path_losses(model, a, b, single_label(), **options)
    assert [module.training for module in model.modules()] == modes
    assert model.net[1].momentum == 0.1
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_the_model_may_be_an_end_of_its_own_path():
    a, b = network(0), network(1)
    apart = interpolate(network(2), a, b, single_label(), alphas=ALPHAS)
    assert apart.equals(interpolate(a, a, b, single_label(), alphas=ALPHAS), null_equal=True)
    assert apart.equals(interpolate(b, a.state_dict(), b, single_label(), alphas=ALPHAS), null_equal=True)


def test_inputs_are_refused_with_all_reasons():
    model, other = network(0), network(1, outputs=5)
    with pytest.raises(BadInput, match=r"3\.weight"):
        interpolate(model, other, model, single_label(), alphas=[0])
    with pytest.raises(BadInput) as caught:
        interpolate(model, model, model, single_label(), alphas=[math.nan], batch_norm="estimate")  # type: ignore
    assert len(caught.value.problems) == 2
    with pytest.raises(BadInput, match="calibration"):
        interpolate(model, model, model, single_label(), alphas=[0], batch_norm="re-estimate")
    with pytest.raises(BadInput, match="as many inputs"):
        interpolate(model, model, model, (torch.zeros(3, 4), torch.zeros(2).long()), alphas=[0])


def test_a_permuted_copy_has_a_barrier():
    """The same function at both ends, and none in between: a barrier is no distance of functions."""
    a = network(0)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in a.parameters():
            parameter.copy_(2 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    b = copy.deepcopy(a)
    order = torch.tensor([5, 2, 7, 1, 0, 3, 4, 6])
    with torch.no_grad():
        b[0].weight.copy_(a[0].weight[order])
        b[0].bias.copy_(a[0].bias[order])
        b[3].weight.copy_(a[3].weight[:, order])
    x, _ = single_label(n=200)
    with torch.no_grad():
        y = a.eval()(x).argmax(1)
    curve = interpolate(network(1), a, b, (x, y), alphas=np.linspace(0, 1, 11))
    assert curve["loss"][0] == pytest.approx(curve["loss"][10], rel=1e-9)
    height = barrier(curve)
    assert height.loss > 0.2
    assert height.metric > 0.1


curves = st.integers(0, 2**31).map(
    lambda seed: pl.DataFrame(
        {
            "alpha": ALPHAS,
            "loss": np.random.default_rng(seed).exponential(size=7),
            "metric": np.random.default_rng(seed + 1).random(size=7),
        }
    )
)


@settings(deadline=None, max_examples=25)
@given(curve=curves)
def test_definitions(curve):
    inside = [row for row in curve.iter_rows(named=True) if 0 <= row["alpha"] <= 1]
    start, end = inside[0], inside[-1]
    over_line = {
        row["alpha"]: (
            row["loss"] - ((1 - row["alpha"]) * start["loss"] + row["alpha"] * end["loss"]),
            (1 - row["alpha"]) * start["metric"] + row["alpha"] * end["metric"] - row["metric"],
        )
        for row in inside
    }
    found = barrier(curve)
    assert found.loss == pytest.approx(max(loss for loss, _ in over_line.values()), abs=LITERAL_TOLERANCE)
    assert found.metric == pytest.approx(max(drop for _, drop in over_line.values()), abs=LITERAL_TOLERANCE)
    assert over_line[found.alpha_at_loss][0] == pytest.approx(found.loss, abs=LITERAL_TOLERANCE)
    assert over_line[found.alpha_at_metric][1] == pytest.approx(found.metric, abs=LITERAL_TOLERANCE)
    assert found.loss >= 0
    mean = barrier(curve, definition="mean")
    expected = max(row["loss"] for row in inside) - (start["loss"] + end["loss"]) / 2
    assert mean.loss == pytest.approx(expected, abs=LITERAL_TOLERANCE)
    drop = (start["metric"] + end["metric"]) / 2 - min(row["metric"] for row in inside)
    assert mean.metric == pytest.approx(drop, abs=LITERAL_TOLERANCE)


def test_nan_stays_nan():
    curve = pl.DataFrame({"alpha": [0.0, 0.5, 1.0], "loss": [1.0, math.nan, 1.0], "metric": [1.0, 0.5, 1.0]})
    height = barrier(curve)
    assert math.isnan(height.loss)
    assert math.isnan(height.alpha_at_loss)
    assert height.metric == 0.5
    beyond = pl.DataFrame({"alpha": [0.0, 1.0, 2.0], "loss": [1.0, 1.0, math.nan], "metric": [1.0, 1.0, 0.0]})
    assert barrier(beyond).loss == 0


def test_a_barrier_needs_both_ends_once():
    curve = pl.DataFrame({"alpha": [0.0, 0.5], "loss": [1.0, 1.0], "metric": [1.0, 1.0]})
    with pytest.raises(BadInput, match="alpha 0 and 1"):
        barrier(curve)
    two = pl.DataFrame({"alpha": [0.0, 1.0, 0.0, 1.0], "loss": [1.0] * 4, "metric": [1.0] * 4})
    with pytest.raises(BadInput, match="more than once"):
        barrier(two)
    with pytest.raises(BadInput, match="'line' or the 'mean'"):
        barrier(curve, definition="max")  # type: ignore


@pytest.mark.parametrize("definition", ["line", "mean"])
@pytest.mark.parametrize("kind", ["single", "multi"])
def test_bootstrap_is_paired_and_literal(kind, definition):
    model, a, b = (network(i) for i in range(3))
    data = single_label() if kind == "single" else multi_label()
    path = path_losses(model, a, b, data, alphas=ALPHAS)
    found = barrier_interval(
        path, definition=definition, draws=20, generator=torch.Generator().manual_seed(5)
    )
    weights = torch.cat(list(resampling_weights(50, 20, torch.Generator().manual_seed(5))))
    heights = []
    for draw in weights:
        counts = (draw * 50).round().long()
        index = torch.repeat_interleave(torch.arange(50), counts)
        rows = []
        for place, alpha in enumerate(ALPHAS):
            logits = literal(model, a, b, data, alpha).detach()[index]
            y = data[1][index]
            if kind == "single":
                metric = (logits.argmax(1) == y).double().mean().item()
            else:
                metric = roc_auc_score(y.numpy(), logits.numpy(), average="macro")
            rows.append((alpha, path.losses[place][index].mean().item(), metric))
        curve = pl.DataFrame(rows, schema=["alpha", "loss", "metric"], orient="row")
        height = barrier(curve, definition=definition)
        heights.append((height.loss, height.metric))
    quantiles = np.quantile(np.array(heights), [0.025, 0.975], axis=0)
    assert (found.loss.low, found.loss.high) == pytest.approx(quantiles[:, 0], abs=1e-10)
    assert (found.metric.low, found.metric.high) == pytest.approx(quantiles[:, 1], abs=1e-10)
    estimate = barrier(path_table(path), definition=definition)
    assert (found.loss.estimate, found.metric.estimate) == (estimate.loss, estimate.metric)
    assert found.loss_bias == pytest.approx(np.mean(np.array(heights)[:, 0]) - estimate.loss, abs=1e-10)


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_both_definitions_see_the_same_resamples(kind):
    data = single_label() if kind == "single" else multi_label()
    path = path_losses(network(0), network(1), network(2), data, alphas=ALPHAS)
    both = barrier_intervals(path, draws=30, generator=torch.Generator().manual_seed(5))
    assert list(both) == ["line", "mean"]
    for definition, found in both.items():
        alone = barrier_interval(
            path, definition=definition, draws=30, generator=torch.Generator().manual_seed(5)
        )
        assert found == alone
        place = barrier(path_table(path), definition=definition)
        assert (found.alpha_at_loss, found.alpha_at_metric) == (place.alpha_at_loss, place.alpha_at_metric)


def test_bootstrap_of_nan_is_nan():
    path = path_losses(network(0), network(1), network(2), single_label(), alphas=[0, 0.5, 1])
    path.losses[1, 3] = math.nan
    interval = barrier_interval(path)
    assert math.isnan(interval.loss.estimate)
    assert math.isnan(interval.loss.low)
    assert math.isfinite(interval.metric.low)
