"""Distances and cosines of updates against NumPy literals."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from transferscope.core.errors import BadInput
from transferscope.metrics.landscape.distance import l2_distance, mean_distance, update_cosine

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


def test_modules_lie_below_a_wrapper():
    a, b = network(0), network(1)
    plain = l2_distance(a, b, by_module=True)
    for prefix in ("module.", "module._orig_mod."):
        states = [{prefix + name: tensor for name, tensor in net.state_dict().items()} for net in (a, b)]
        table = l2_distance(*states, by_module=True, exclude=[f"{prefix}3", f"{prefix}1"])
        assert table["module"].to_list() == [f"{prefix}0"]
        table = l2_distance(*states, by_module=True)
        assert table["module"].to_list() == [prefix + name for name in plain["module"]]
        assert table["distance"].equals(plain["distance"])


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


def states(seed, k, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    shapes = (("u.w", (3, 4)), ("u.b", (4,)), ("head.w", (5,)))
    return [
        {name: scale * torch.randn(shape, generator=generator) for name, shape in shapes} for _ in range(k)
    ]


@few
@given(seed=st.integers(0, 2**31), scale=st.sampled_from([1e-15, 1.0, 1e15]))
def test_cosine_of_updates(seed, scale):
    four = states(seed, 4, scale)
    for modules, exclude, expected in (
        (None, (), {"u": ["u.w", "u.b"], "head": ["head.w"]}),
        ({"all": ["u", "head"]}, (), {"all": ["u.w", "u.b", "head.w"]}),
        (None, ("head",), {"u": ["u.w", "u.b"]}),
    ):
        table = update_cosine(*four, modules=modules, exclude=exclude)
        assert table["module"].to_list() == list(expected)
        for row, names in zip(table.iter_rows(named=True), expected.values(), strict=True):
            a, a_init, b, b_init = (
                np.concatenate([state[n].double().numpy().ravel() for n in names]) for state in four
            )
            cosine = np.dot(a - a_init, b - b_init) / np.linalg.norm(a - a_init) / np.linalg.norm(b - b_init)
            assert row["cosine"] == pytest.approx(cosine, abs=TOLERANCE)
            assert row["update_a"] == pytest.approx(literal(four[0], four[1], names), rel=TOLERANCE)
            assert row["update_b"] == pytest.approx(literal(four[2], four[3], names), rel=TOLERANCE)
            assert row["num_parameters"] == len(a)


def test_the_same_and_the_opposite_update():
    init, a = states(0, 2)
    b = {name: init[name] - 2 * (a[name] - init[name]) for name in a}
    double = [{name: tensor.double() for name, tensor in state.items()} for state in (a, init, b)]
    assert update_cosine(a, init, a, init)["cosine"].to_list() == pytest.approx([1, 1], abs=TOLERANCE)
    found = update_cosine(double[0], double[1], double[2], double[1])["cosine"]
    assert found.to_list() == pytest.approx([-1, -1], abs=1e-6)


def test_an_update_of_nothing_has_no_direction():
    init, a = states(0, 2)
    frozen = {**a, "head.w": init["head.w"]}
    table = update_cosine(a, init, frozen, init)
    assert table["cosine"].is_nan().to_list() == [False, True]
    assert table["update_b"][1] == 0
    a["u.w"][0, 0] = math.nan
    assert math.isnan(update_cosine(a, init, frozen, init)["cosine"][0])


def test_small_updates_of_large_weights_keep_their_digits():
    init = {"w": torch.full((2,), 1000.0)}
    a = {"w": torch.tensor([1000.0 + 2**-10, 1000.0])}
    b = {"w": torch.tensor([1000.0 + 2**-10, 1000.0 + 2**-10])}
    table = update_cosine(a, init, b, init)
    assert table["cosine"][0] == pytest.approx(math.sqrt(0.5), abs=TOLERANCE)
    assert table["update_a"][0] == 2**-10


def test_updates_need_four_states_of_one_architecture():
    init, a = states(0, 2)
    with pytest.raises(BadInput, match="b_init"):
        update_cosine(a, init, a, {"u.w": init["u.w"]})
    with pytest.raises(BadInput, match="No weights"):
        update_cosine(a, init, a, init, exclude=["u", "head"])


def test_tied_weights_count_once_in_updates():
    a, b = Tied(), Tied()
    inits = [{name: tensor.clone() + 1 for name, tensor in net.state_dict().items()} for net in (a, b)]
    assert update_cosine(a, inits[0], b, inits[1], modules={"all": ["first", "second"]})[
        "num_parameters"
    ].to_list() == [9]


def test_mean_distance():
    three = states(0, 3)
    names = list(three[0])
    expected = [literal(three[i], three[j], names) for i, j in ((0, 1), (0, 2), (1, 2))]
    assert mean_distance(three) == pytest.approx(sum(expected) / 3, rel=TOLERANCE)
    with pytest.raises(BadInput, match="at least two"):
        mean_distance(three[:1])


def test_a_checkpoint_around_the_state_dict():
    assert l2_distance({"state_dict": {"w": torch.zeros(1)}}, {"w": torch.ones(1)}) == 1
    with pytest.raises(BadInput, match="state_dict"):
        l2_distance({"epoch": 3}, {"w": torch.zeros(1)})
