"""Averages and ensembles against copies of the network, plain probabilities and resamples one at a time."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, update_bn

from transferscope.core.errors import BadInput
from transferscope.metrics.landscape.averaging import averaged_logits, compared_with_mean, ensemble_logits
from transferscope.metrics.statistics.intervals import resampling_weights

TOLERANCE = 1e-12


def network(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3)).double()
        net[1].running_mean.copy_(torch.randn(6))
    return net


def examples(seed, n=40, *, multi_label=False):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (n,), generator=generator)
    if multi_label:
        labels = (torch.rand(n, 3, generator=generator) < 0.4).float()
    logits = [3 * torch.randn(n, 3, generator=generator, dtype=torch.float64) for _ in range(5)]
    return logits, labels


@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 2**31), k=st.integers(1, 4))
def test_average_is_pytorchs(seed, k):
    nets = [network(seed + i) for i in range(k)]
    x = torch.randn(30, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    twin = AveragedModel(nets[0], use_buffers=True)
    for net in nets:
        twin.update_parameters(net)
    model = network(9)
    before = copy.deepcopy(model.state_dict())
    found = averaged_logits(model, nets, x, batch_size=7)
    with torch.no_grad():
        torch.testing.assert_close(found, twin.eval()(x), rtol=0, atol=TOLERANCE)
        update_bn(x.split(10), twin.module)
        again = averaged_logits(model, nets, x, batch_norm="re-estimate", calibration=x, batch_size=10)
        torch.testing.assert_close(again, twin.module.eval()(x), rtol=0, atol=TOLERANCE)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**31))
def test_ensemble_is_the_mean_of_probabilities(seed):
    logits, labels = examples(seed)
    mean = torch.stack([one.softmax(1) for one in logits]).mean(0)
    found = ensemble_logits(logits, multi_label=False)
    torch.testing.assert_close(found.softmax(1), mean, rtol=0, atol=TOLERANCE)
    loss = functional.cross_entropy(found, labels).item()
    assert loss == pytest.approx(-mean[torch.arange(40), labels].log().mean().item(), rel=1e-10)
    mean = torch.stack([one.sigmoid() for one in logits]).mean(0)
    found = ensemble_logits(logits, multi_label=True)
    torch.testing.assert_close(found.sigmoid(), mean, rtol=0, atol=TOLERANCE)


def test_ensemble_of_certain_networks_keeps_its_digits():
    certain = [torch.tensor([[200.0]]), torch.tensor([[200.0]]), torch.tensor([[-200.0]])]
    assert ensemble_logits(certain, multi_label=True).item() == pytest.approx(math.log(2), abs=TOLERANCE)
    assert ensemble_logits(certain[:2], multi_label=True).item() == pytest.approx(200, rel=TOLERANCE)


@pytest.mark.parametrize("multi_label", [False, True])
def test_comparison_is_literal_and_paired(multi_label):
    logits, labels = examples(3, multi_label=multi_label)
    candidates, singles = logits[:2], logits[2:]
    found = compared_with_mean(
        candidates, singles, labels, draws=20, generator=torch.Generator().manual_seed(5)
    )
    weights = torch.cat(list(resampling_weights(40, 20, torch.Generator().manual_seed(5))))

    def values(one, index):
        z, y = one[index], labels[index]
        if multi_label:
            loss = functional.binary_cross_entropy_with_logits(z, y.double()).item()
            return loss, roc_auc_score(y.numpy(), z.numpy(), average="macro")
        return functional.cross_entropy(z, y).item(), (z.argmax(1) == y).double().mean().item()

    resamples = [torch.repeat_interleave(torch.arange(40), (row * 40).round().long()) for row in weights]
    for place, index in enumerate([torch.arange(40), *resamples]):
        means = np.mean([values(one, index) for one in singles], axis=0)
        rows = np.array([values(one, index) for one in candidates]) - means
        if not place:
            gains = rows
            replicates = []
        else:
            replicates.append(rows)
    ends = np.quantile(np.array(replicates), [0.025, 0.975], axis=0)
    for index, one in enumerate(found):
        loss, metric = values(candidates[index], torch.arange(40))
        assert (one.loss, one.metric) == pytest.approx((loss, metric), abs=1e-10)
        assert one.loss_gain.estimate == pytest.approx(-gains[index, 0], abs=1e-10)
        assert one.metric_gain.estimate == pytest.approx(gains[index, 1], abs=1e-10)
        low, high = -ends[1, index, 0], -ends[0, index, 0]
        assert (one.loss_gain.low, one.loss_gain.high) == pytest.approx((low, high), abs=1e-10)
        low, high = ends[:, index, 1]
        assert (one.metric_gain.low, one.metric_gain.high) == pytest.approx((low, high), abs=1e-10)
        assert one.metric_gain.n == 40


@pytest.mark.parametrize("multi_label", [False, True])
def test_nan_stays_nan(multi_label):
    logits, labels = examples(0, multi_label=multi_label)
    logits[0][3, 1] = math.nan
    lost, fine = compared_with_mean(logits[:2], logits[2:], labels, draws=10)
    for interval in (lost.loss_gain, lost.metric_gain):
        assert math.isnan(interval.estimate)
        assert math.isnan(interval.low)
    assert math.isfinite(fine.metric_gain.low)


def test_inputs_are_refused():
    logits, labels = examples(0)
    with pytest.raises(BadInput, match="single network"):
        compared_with_mean(logits, [], labels)
    with pytest.raises(BadInput, match="at least one"):
        ensemble_logits([], multi_label=True)
    with pytest.raises(BadInput) as caught:
        averaged_logits(network(0), [], torch.zeros(1, 4), batch_norm="re-estimate")
    assert len(caught.value.problems) == 2
