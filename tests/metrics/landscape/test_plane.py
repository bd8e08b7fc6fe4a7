"""The plane through three networks against NumPy's QR and a copy of the network per place."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from transferscope.core.errors import BadInput
from transferscope.metrics.landscape.plane import plane

TOLERANCE = 1e-12


def network(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).double()


def examples(seed=0, n=30):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 4, generator=generator, dtype=torch.float64)
    return x, torch.randint(3, (n,), generator=generator)


def vector(net):
    return np.concatenate([p.detach().numpy().ravel() for p in net.parameters()])


def at(weights):
    """A network with these weights, the slow way."""
    net = network(0)
    nn.utils.vector_to_parameters(torch.from_numpy(weights), net.parameters())
    return net


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**31), size=st.integers(2, 4))
def test_against_gram_schmidt_of_the_vectors(seed, size):
    nets, other = [network(seed + i) for i in range(3)], network(seed + 3)
    x, y = examples(seed)
    found = plane(network(0), nets, (x, y), others=[other], size=size)
    w = [vector(net) for net in nets]
    q, r = np.linalg.qr(np.stack([w[1] - w[0], w[2] - w[0]], 1))
    axes = (q * np.sign(np.diag(r))).T
    for point, weights in zip(found.anchors, w, strict=True):
        np.testing.assert_allclose([point.x, point.y], axes @ (weights - w[0]), rtol=0, atol=TOLERANCE)
    marked = axes @ (vector(other) - w[0])
    np.testing.assert_allclose([found.others[0].x, found.others[0].y], marked, rtol=0, atol=TOLERANCE)
    off = np.linalg.norm(vector(other) - w[0] - axes.T @ marked)
    assert found.others[0].off_plane == pytest.approx(off, rel=1e-10)
    assert math.isnan(found.others[0].loss)
    assert len(found.grid) == size**2
    for point in (*found.grid, *found.anchors):
        with torch.no_grad():
            logits = at(w[0] + point.x * axes[0] + point.y * axes[1])(x)
        assert point.loss == pytest.approx(functional.cross_entropy(logits, y).item(), rel=1e-10)
        assert point.metric == pytest.approx((logits.argmax(1) == y).double().mean().item(), abs=0.04)


def test_anchors_are_the_networks_themselves():
    """Exactly, in float32."""
    nets = [network(i).float() for i in range(3)]
    x, y = examples()
    found = plane(network(5).float(), nets, (x.float(), y), size=2)
    for net, evaluation, point in zip(nets, found.anchor_evaluations, found.anchors, strict=True):
        with torch.no_grad():
            direct = functional.cross_entropy(net(x.float()).double(), y, reduction="none")
        assert torch.equal(evaluation.losses, direct)
        assert point.loss == direct.mean().item()


@pytest.mark.parametrize("margin", [0.0, 0.25])
def test_the_square_holds_all_that_is_marked(margin):
    nets, others = [network(i) for i in range(3)], [network(3), network(4)]
    found = plane(network(0), nets, examples(), others=others, size=3, margin=margin)
    marked = np.array([(p.x, p.y) for p in (*found.anchors, *found.others)])
    grid = np.array([(p.x, p.y) for p in found.grid])
    side = grid.max(0) - grid.min(0)
    extent = (marked.max(0) - marked.min(0)).max()
    np.testing.assert_allclose(side, extent * (1 + 2 * margin), atol=TOLERANCE)
    assert (marked.min(0) >= grid.min(0) - TOLERANCE).all()
    assert (marked.max(0) <= grid.max(0) + TOLERANCE).all()
    np.testing.assert_allclose(grid[1] - grid[0], [side[0] / 2, 0], atol=TOLERANCE)  # x fastest
    assert found.n == 30


def test_the_model_is_restored():
    model = network(7)
    model.train()
    before = copy.deepcopy(model.state_dict())
    plane(model, [network(i) for i in range(3)], examples(), size=2)
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_inputs_are_refused():
    a, b = network(0), network(1)
    between = copy.deepcopy(a.state_dict())
    for name, tensor in b.state_dict().items():
        between[name] = (between[name] + tensor) / 2
    for anchors in ([a, b, between], [a, a, b], [a, b, b]):
        with pytest.raises(BadInput, match="one line"):
            plane(network(2), anchors, examples())
    with pytest.raises(BadInput) as caught:
        plane(network(2), [a, b], examples(), size=1, margin=-1, batch_norm="re-estimate")
    assert len(caught.value.problems) == 4
    with pytest.raises(BadInput, match="other 0"):
        plane(network(2), [a, b, network(3)], examples(), others=[{"w": torch.zeros(1)}])
