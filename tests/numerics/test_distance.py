"""L2 distance against NumPy literals."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from transferscope.errors import BadInput
from transferscope.metrics.distance import l2_distance

TOLERANCE = 1e-12
few = settings(deadline=None, max_examples=20)


def network(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 3))


def literal(a, b, names):
    squares = [((a[n].double().numpy() - b[n].double().numpy()) ** 2).ravel() for n in names]
    return math.sqrt(math.fsum(np.concatenate(squares)))


@few
@given(seed=st.integers(0, 2**31), scale=st.sampled_from([1e-20, 1.0, 1e20]))
def test_state_dicts(seed, scale):
    generator = torch.Generator().manual_seed(seed)
    a, b = (
        {
            name: scale * torch.randn(shape, generator=generator)
            for name, shape in (("u", (3, 4)), ("v.w", (5,)))
        }
        for _ in range(2)
    )
    assert l2_distance(a, b) == pytest.approx(literal(a, b, ["u", "v.w"]), rel=TOLERANCE)
    assert l2_distance(a, b) == l2_distance(b, a)
    assert l2_distance(a, a) == 0


def test_sum_is_in_float64():
    a = {"w": torch.full((10_000,), 1.0)}
    b = {"w": torch.full((10_000,), 1.0 + 1e-3)}
    gap = float(b["w"][0].double() - 1)
    assert l2_distance(a, b) == pytest.approx(100 * gap, rel=TOLERANCE)
    half = {"w": torch.full((100,), 60_000.0, dtype=torch.float16)}
    assert l2_distance(half, {"w": -half["w"]}) == pytest.approx(1.2e6, rel=1e-3)


def test_buffers_of_batch_norm_are_no_weights():
    a, b = network(0), network(1)
    names = [name for name, _ in a.named_parameters()]
    b[1].running_var.fill_(100.0)
    b[1].num_batches_tracked.fill_(1000)
    a_state, b_state = a.state_dict(), b.state_dict()
    expected = literal(a_state, b_state, names)
    assert l2_distance(a, b) == pytest.approx(expected, rel=TOLERANCE)
    assert l2_distance(a_state, b) == pytest.approx(expected, rel=TOLERANCE)
    with_statistics = literal(a_state, b_state, [*names, "1.running_mean", "1.running_var"])
    assert l2_distance(a, b, running_statistics=True) == pytest.approx(with_statistics, rel=TOLERANCE)


def test_table_by_module():
    a, b = network(0), network(1)
    table = l2_distance(a, b, by_module=True)
    assert table.columns == ["module", "distance", "relative", "num_parameters"]
    assert table["module"].to_list() == ["0", "1", "3"]
    assert table["num_parameters"].to_list() == [76, 8, 51]
    norm = literal(
        a.state_dict(), {n: torch.zeros_like(t) for n, t in a.state_dict().items()}, ["0.weight", "0.bias"]
    )
    assert table["relative"][0] == pytest.approx(table["distance"][0] / norm, rel=TOLERANCE)
    assert math.sqrt((table["distance"] ** 2).sum()) == pytest.approx(l2_distance(a, b), rel=TOLERANCE)
    grouped = l2_distance(a, b, by_module=True, modules={"body": ["0", "1"], "head": ["3"]})
    assert grouped["module"].to_list() == ["body", "head"]
    assert grouped["distance"][0] == pytest.approx(l2_distance(a, b, exclude=["3"]), rel=TOLERANCE)


def test_module_of_zero_norm_has_no_relative_distance():
    table = l2_distance({"w": torch.zeros(2)}, {"w": torch.ones(2)}, by_module=True)
    assert math.isnan(table["relative"][0])


def test_prefixes_end_at_dots():
    a = {"layer1.w": torch.zeros(1), "layer10.w": torch.zeros(1)}
    b = {"layer1.w": torch.ones(1), "layer10.w": 3 * torch.ones(1)}
    table = l2_distance(a, b, by_module=True, modules={"one": ["layer1"], "ten": ["layer10."]})
    assert table["distance"].to_list() == [1.0, 3.0]


def test_excluded_head_may_differ_in_shape():
    a = {"body": torch.zeros(2), "head.w": torch.zeros(3)}
    b = {"body": torch.ones(2), "head.w": torch.zeros(5)}
    assert l2_distance(a, b, exclude=["head"]) == pytest.approx(math.sqrt(2))
    modules = {"body": ["body"], "head": ["head"]}
    assert l2_distance(a, b, by_module=True, modules=modules, exclude=["head"])["module"].to_list() == [
        "body"
    ]
    with pytest.raises(BadInput, match=r"head\.w"):
        l2_distance(a, b)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 3, bias=False)
        self.second = nn.Linear(3, 3, bias=False)
        self.second.weight = self.first.weight


def test_tied_weights_count_once():
    a, b = Tied(), Tied()
    expected = literal(a.state_dict(), b.state_dict(), ["first.weight"])
    assert l2_distance(a, b) == pytest.approx(expected, rel=TOLERANCE)
    loaded = {name: tensor.clone() for name, tensor in b.state_dict().items()}
    assert l2_distance(a, loaded) == pytest.approx(expected, rel=TOLERANCE)
    assert l2_distance(loaded, a) == pytest.approx(expected, rel=TOLERANCE)
    loaded["second.weight"] += 1  # no longer the same numbers: both count
    both = literal(a.state_dict(), loaded, ["first.weight", "second.weight"])
    assert l2_distance(a, loaded) == pytest.approx(both, rel=TOLERANCE)


def test_a_permuted_copy_is_the_same_function_far_away():
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)).double()
    permuted = copy.deepcopy(net)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    with torch.no_grad():
        permuted[0].weight.copy_(net[0].weight[order])
        permuted[0].bias.copy_(net[0].bias[order])
        permuted[2].weight.copy_(net[2].weight[:, order])
    x = torch.randn(5, 4, dtype=torch.float64)
    torch.testing.assert_close(net(x), permuted(x), rtol=0, atol=1e-12)
    assert l2_distance(net, permuted) > 0.5


def test_complex_weights_and_nan():
    assert l2_distance({"w": torch.tensor([3 + 4j])}, {"w": torch.tensor([0j])}) == pytest.approx(5)
    assert math.isnan(l2_distance({"w": torch.tensor([math.nan])}, {"w": torch.zeros(1)}))


def test_all_mismatches_are_named():
    a = {"x": torch.zeros(2), "only_a": torch.zeros(1), "s": torch.zeros(2, 3)}
    b = {"x": torch.zeros(2), "only_b": torch.zeros(1), "s": torch.zeros(3, 2)}
    with pytest.raises(BadInput) as caught:
        l2_distance(a, b)
    assert len(caught.value.problems) == 3
    assert all(word in str(caught.value) for word in ("only_a", "only_b", "(2, 3)", "(3, 2)"))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"by_module": True, "modules": {"lost": ["nowhere"]}}, "lost"),
        ({"by_module": True, "modules": {"p": ["u"], "q": ["u"]}}, "'p' and 'q'"),
        ({"modules": {"p": ["u"]}}, "by_module"),
        ({"exclude": ["u", "v"]}, "No weights"),
    ],
)
def test_bad_options(options, says):
    state = {"u": torch.zeros(1), "v": torch.zeros(1)}
    with pytest.raises(BadInput, match=says):
        l2_distance(state, state, **options)


def test_a_checkpoint_around_the_state_dict():
    with pytest.raises(BadInput, match="state_dict"):
        l2_distance({"state_dict": {"w": torch.zeros(1)}}, {"w": torch.zeros(1)})
