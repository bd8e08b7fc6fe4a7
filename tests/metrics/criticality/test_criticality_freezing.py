"""Sets of modules that can be put back together, against copies of the network and all sets there are."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from transferscope.core.errors import BadInput
from transferscope.metrics.criticality.freezing import freezable
from transferscope.metrics.evaluation.repeated_passes import RepeatedPasses

MODULES = ("stem", "one", "two", "head")


def network(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = nn.Sequential()
        for name, width in (("stem", 5), ("one", 7), ("two", 6), ("head", 4)):
            last = 3 if name == "head" else {"stem": 7, "one": 6, "two": 4}[name]
            net.add_module(name, nn.Linear(width, last))
        return net.double()


def examples(seed=0, n=50):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 5, generator=generator, dtype=torch.float64)
    return x, torch.randint(3, (n,), generator=generator)


def close(seed, scale):
    """An init and a final network that differ by little, so that several modules can be put back."""
    init, final = network(seed), copy.deepcopy(network(seed))
    with torch.no_grad():
        for i, tensor in enumerate(final.parameters()):
            noise = torch.Generator().manual_seed(100 * seed + i)
            tensor += scale * torch.randn(tensor.shape, generator=noise, dtype=tensor.dtype)
    return init, final


def found(init, final, train, test, **options):
    model = network(99)
    passes = [RepeatedPasses(model, data, batch_size=20) for data in (train, test)]
    return freezable(*passes, init, final, **{"draws": 0, **options})


def accuracy(init, final, members, data):
    """Of a copy with the modules put back, and its loss."""
    net = copy.deepcopy(final)
    for name in members:
        getattr(net, name).load_state_dict(getattr(init, name).state_dict())
    with torch.no_grad():
        logits = net(data[0])
    right = (logits.argmax(1) == data[1]).double().mean().item()
    return right, nn.functional.cross_entropy(logits, data[1]).item()


@pytest.mark.parametrize("order", ["bottom up", "greedy"])
@pytest.mark.parametrize("seed", range(6))
def test_against_copies(order, seed):
    init, final = close(seed, 0.15)
    train, test, limit = examples(seed), examples(seed + 50), 0.05
    body = MODULES[:-1]
    whole = accuracy(init, final, (), train)[0]
    expected, members = [()], ()
    while len(members) < len(body) and whole - accuracy(init, final, members, train)[0] <= limit + 1e-9:
        choices = [name for name in body if name not in members]
        if order == "greedy":

            def cost(name, members=members):
                right, loss = accuracy(init, final, (*members, name), train)
                return -right, loss

            choices = sorted(choices, key=cost)
        members = (*members, choices[0])
        expected.append(members)
    table = found(init, final, train, test, acceptable_drop=limit, candidates=body)
    rows = table.filter(order=order).to_dicts()
    assert [row["modules"] for row in rows] == [", ".join(m) or "none" for m in expected]
    sizes = {name: sum(p.numel() for p in getattr(final, name).parameters()) for name in MODULES}
    for row, members in zip(rows, expected, strict=True):
        assert row["num_modules"] == len(members)
        assert row["num_parameters"] == sum(sizes[name] for name in members)
        assert row["share"] == pytest.approx(row["num_parameters"] / sum(sizes.values()))
        train_drop = whole - accuracy(init, final, members, train)[0]
        test_drop = accuracy(init, final, (), test)[0] - accuracy(init, final, members, test)[0]
        assert row["train_drop"] == pytest.approx(train_drop, abs=1e-12)
        assert row["test_drop"] == pytest.approx(test_drop, abs=1e-12)
        assert row["acceptable"] == (train_drop <= limit + 1e-9)
    chosen = [row["chosen"] for row in rows]
    assert sum(chosen) == 1
    assert chosen.index(True) == max(i for i, row in enumerate(rows) if row["acceptable"])


def test_the_test_examples_decide_nothing():
    init, final = close(1, 0.3)
    tables = [found(init, final, examples(), examples(seed), draws=20) for seed in (7, 8)]
    own = ["order", "modules", "train_drop", "acceptable", "chosen", "share"]
    assert tables[0].select(own).equals(tables[1].select(own))
    assert not tables[0].select("test_drop").equals(tables[1].select("test_drop"))


def test_where_nothing_moved_everything_can_be_put_back():
    net = network(0)
    table = found(net, net, examples(), examples(1), draws=50)
    for chosen in table.filter(chosen=True).iter_rows(named=True):
        assert chosen["modules"] == "stem, one, two, head"
        assert chosen["share"] == 1
        assert (chosen["test_drop"], chosen["test_drop_low"], chosen["test_drop_high"]) == (0, 0, 0)


def test_the_limit_itself_is_acceptable():
    """One of 100 examples lost is a drop of 0.01, though 1 - 0.99 is more in floating point."""
    net = nn.Sequential(nn.Linear(1, 2))
    x = torch.linspace(-1, 1, 100)[:, None]
    final = {"0.weight": torch.tensor([[0.0], [1.0]]), "0.bias": torch.tensor([0.0, 0.0])}
    labels = (x[:, 0] > 0).long()
    init = {**final, "0.bias": torch.tensor([0.0, -0.02])}  # moves the boundary past one example
    passes = RepeatedPasses(net, (x, labels))
    table = freezable(passes, passes, init, final, acceptable_drop=0.01, draws=0)
    assert 1 - 0.99 > 0.01
    assert table.filter(order="greedy", num_modules=1).row(0, named=True)["chosen"]


def test_what_cannot_be_computed_is_not_acceptable():
    init, final = close(0, 0.1)
    with torch.no_grad():
        init.stem.weight[0, 0] = math.nan
    table = found(init, final, examples(), examples(1), acceptable_drop=1.0)
    low = table.filter(order="bottom up")
    assert low["modules"].to_list() == ["none", "stem"]
    assert low["chosen"].to_list() == [True, False]
    assert math.isnan(low["train_drop"][1])
    greedy = table.filter(order="greedy")
    assert greedy["modules"][-1].endswith("stem")
    assert greedy.filter(chosen=True)["num_modules"].to_list() == [3]
    with torch.no_grad():
        final.stem.weight[0, 0] = math.nan
    assert not found(init, final, examples(), examples(1))["acceptable"].any()


def test_no_candidates():
    init, final = close(0, 0.1)
    table = found(init, final, examples(), examples(1), candidates=[])
    assert table["modules"].to_list() == ["none", "none"]


def test_wrong_calls():
    init, final = close(0, 0.1)
    with pytest.raises(BadInput, match="tail"):
        found(init, final, examples(), examples(1), candidates=["tail"])
    passes = [RepeatedPasses(network(seed), examples()) for seed in (0, 1)]
    with pytest.raises(BadInput, match="two networks"):
        freezable(*passes, init, final)
