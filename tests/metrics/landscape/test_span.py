"""Sums of networks against NumPy literals."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim.swa_utils import update_bn

from transferscope.metrics.inputs.guard import lent
from transferscope.metrics.landscape.span import differences_gram, span_of


def network(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).double()
        net[1].running_mean.copy_(torch.randn(4))
        net[1].num_batches_tracked.fill_(seed)
    return net


def placed(states, factors, batch_norm="interpolate", calibration=None, **noise):
    """The state that the span writes."""
    model = network(99)
    with lent(model) as live:
        span = span_of(model, live, states, batch_norm=batch_norm, calibration=calibration, batch_size=10)
        span.place(torch.tensor(factors, dtype=torch.float64), **noise)
        return copy.deepcopy(model.state_dict()), span.num_parameters


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**31), k=st.integers(1, 4))
def test_sums(seed, k):
    states = [network(seed + i).state_dict() for i in range(k)]
    factors = np.random.default_rng(seed).normal(size=k)
    factors[-1] += 1 - factors.sum()
    found, num_parameters = placed(states, factors.tolist())
    assert num_parameters == 16 + 8 + 10
    for name, tensor in found.items():
        if tensor.is_floating_point():
            expected = sum(f * s[name].numpy() for f, s in zip(factors, states, strict=True))
            np.testing.assert_allclose(tensor, expected, rtol=0, atol=1e-12)
        else:
            assert tensor == states[0][name]


def test_a_corner_is_the_state_itself():
    """To the bit, though another state holds a NaN."""
    states = [network(i).float().state_dict() for i in range(3)]
    states[0]["0.weight"][0, 0] = torch.nan
    found, _ = placed(states, [0.0, 0.0, 1.0])
    assert all(torch.equal(found[name].to(t.dtype), t) for name, t in states[2].items())


def test_noise_falls_on_parameters_alone():
    state = network(0).state_dict()
    drawn = torch.Generator().manual_seed(3)
    found, _ = placed([state], [1.0], noise_scale=0.1, generator=torch.Generator().manual_seed(3))
    for name in ("0.weight", "0.bias", "1.weight", "1.bias", "2.weight", "2.bias"):
        noise = torch.randn(state[name].shape, generator=drawn, dtype=torch.float64)
        torch.testing.assert_close(found[name], state[name] + 0.1 * noise, rtol=0, atol=1e-15)
    assert torch.equal(found["1.running_mean"], state["1.running_mean"])


def test_statistics_are_re_estimated_at_the_place():
    states = [network(i).state_dict() for i in range(2)]
    x = torch.randn(40, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found, _ = placed(states, [0.3, 0.7], "re-estimate", x)
    net = network(5)
    net.load_state_dict({n: 0.3 * t + 0.7 * states[1][n] for n, t in states[0].items()})
    update_bn(x.split(10), net)
    torch.testing.assert_close(found["1.running_var"], net[1].running_var, rtol=1e-12, atol=0)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**31))
def test_gram(seed):
    states = [network(seed + i).state_dict() for i in range(3)]
    names = ["0.weight", "2.bias"]
    flat = np.stack([np.concatenate([s[n].numpy().ravel() for n in names]) for s in states])
    flat = flat - flat[0]
    np.testing.assert_allclose(differences_gram(states, names), flat @ flat.T, rtol=0, atol=1e-12)


def test_float32_states_are_widened_before_the_difference():
    near = [{"w": torch.tensor([1.0 + i * 2**-20])} for i in range(2)]
    assert differences_gram(near, ["w"])[1, 1].item() == pytest.approx(2**-40, rel=1e-12)
