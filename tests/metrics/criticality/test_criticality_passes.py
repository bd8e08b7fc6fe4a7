"""Passes that begin at the touched module give what whole passes do, to the bit, on networks of many shapes."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from transferscope.metrics.criticality.criticality import module_criticality
from transferscope.metrics.criticality.freezing import freezable
from transferscope.metrics.criticality.rewinding import rewind_to
from transferscope.metrics.evaluation import repeated_passes
from transferscope.metrics.evaluation.repeated_passes import RepeatedPasses
from transferscope.metrics.inputs.guard import lent

BATCH, N = 16, 40  # three batches, the last one smaller


class Body(nn.Module):
    """Three convolutions and a head; networks below differ in how they are put together."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.middle = nn.Conv2d(4, 4, 3, padding=1)
        self.top = nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(4 * 36, 5)

    def join(self, x):
        return self.head(x.flatten(1))


class Halve(nn.Module):
    def forward(self, x):
        return x.mul_(0.5)  # overwrites what it is given


class Chain(nn.Sequential):
    """Children one after the other, nothing between them."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.middle = nn.Sequential(Halve(), nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4))
        self.flat = nn.Flatten()
        self.head = nn.Linear(4 * 36, 5)


class StepsBetween(Body):
    """Functional steps between the children."""

    def forward(self, x):
        x = functional.relu(self.stem(2 * x))
        x = self.middle(x) * 3
        return self.join(functional.relu(self.top(x)))


class Positive(Body):
    """A functional step that does nothing where its input is positive, as it is before anything is changed."""

    def forward(self, x):
        x = functional.relu(self.stem(x) + 100)
        return self.join(self.top(functional.relu(self.middle(x))))


class Skip(Body):
    """A skip connection: no chain."""

    def forward(self, x):
        low = self.stem(x)
        return self.join(self.top(functional.relu(self.middle(low))) + low)


class Twice(Body):
    """A child called twice."""

    def forward(self, x):
        return self.join(self.top(self.middle(functional.relu(self.middle(self.stem(x))))))


class Elsewhere(Body):
    """The head's weights used before the head is called."""

    def forward(self, x):
        x = self.stem(x) + self.head.weight.mean()
        return self.join(self.top(functional.relu(self.middle(x))))


class Direct(Body):
    """A parameter of the network's own between the children."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(4, 1, 1))

    def forward(self, x):
        return self.join(self.top(functional.relu(self.middle(self.stem(x) * self.gain))))


class Tied(Body):
    """Two children with the same weights."""

    def __init__(self):
        super().__init__()
        self.top.weight = self.middle.weight

    def forward(self, x):
        return self.join(self.top(functional.relu(self.middle(self.stem(x)))))


class OtherOrder(Body):
    """Children called in another order than they were made."""

    def forward(self, x):
        return self.join(self.middle(functional.relu(self.top(self.stem(x)))))


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x):
        return self.conv(x), x


class Tuples(Body):
    """A child that gives two tensors."""

    def __init__(self):
        super().__init__()
        self.middle = Pair()

    def forward(self, x):
        a, b = self.middle(self.stem(x))
        return self.join(functional.relu(self.top(a)) + b)


class Wrapped(nn.Module):
    """One child that holds the network."""

    def __init__(self):
        super().__init__()
        self.net = StepsBetween()

    def forward(self, x):
        return self.net(x)


class Shapes(Body):
    """Reads the shape of what a child gave after the next one was called."""

    def forward(self, x):
        low = self.stem(x)
        x = functional.relu(self.middle(low)).reshape(low.shape)
        return self.join(self.top(x))


WRAPPED = {name: [f"net.{name}"] for name in ("stem", "middle", "top", "head")}
# how many children are left out when stem, middle, top, head are touched, where they are left out at all
NETWORKS = [
    (Chain, None, {"stem": 0, "middle": 2, "head": 4}),
    (StepsBetween, None, {"stem": 0, "middle": 1, "top": 2, "head": 3}),
    (Positive, None, {"stem": 0, "middle": 1, "top": 2, "head": 3}),
    (Skip, None, {"stem": 0, "middle": 1, "top": 0, "head": 0}),
    (Twice, None, {"stem": 0, "middle": 1, "top": 1, "head": 1}),
    (Elsewhere, None, {"stem": 0, "middle": 1, "top": 2, "head": 0}),
    (Direct, None, {"stem": 0, "middle": 1, "top": 2, "head": 3}),
    (Direct, {"gain": ["gain"], "middle": ["middle"]}, {"gain": 0, "middle": 1}),
    (Tied, {"stem": ["stem"], "top": ["top"], "head": ["head"]}, {"stem": 0, "top": 1, "head": 3}),
    (OtherOrder, None, {"stem": 0, "middle": 2, "top": 1, "head": 3}),
    (Tuples, None, {"stem": 0, "middle": 1, "top": 1, "head": 1}),
    (Wrapped, WRAPPED, {"stem": 0, "middle": 1, "top": 2, "head": 3}),
    (Shapes, None, {"stem": 0, "middle": 1, "top": 2, "head": 3}),
]
shapes = pytest.mark.parametrize(
    ("network", "modules", "skipped"),
    NETWORKS,
    ids=[f"{n.__name__}{'' if m is None else '*'}" for n, m, _ in NETWORKS],
)


def made(network, seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = network()
        for buffer in net.buffers():
            if buffer.is_floating_point():
                buffer.uniform_(0.5, 1.5)
        return net


def examples(seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(N, 3, 6, 6, generator=generator).contiguous(memory_format=torch.channels_last)
    return x, torch.randint(5, (N,), generator=generator)


def everything(network, modules):
    """All that criticality and rewinding compute, with passes of three batches."""
    model, init, final = made(network, 0), made(network, 1), made(network, 2)
    data, test = examples(), examples(1)
    found = module_criticality(
        model,
        init,
        final,
        data,
        test=test,
        alphas=[0, 0.5, 1],
        sigmas=[0, 0.1],
        relative_sigmas=[1],
        draws=1,
        modules=modules,
        batch_size=BATCH,
    )
    train, tests = RepeatedPasses(model, data, BATCH), RepeatedPasses(model, test, BATCH)
    states = {"init": init, "other": made(network, 3)}
    tables = [found.cells, found.modules]
    for passes in (train, tests):  # and `freezable` on both again: what was tried is remembered
        for cumulative in (False, True):
            tables.append(rewind_to(passes, states, final, modules=modules, cumulative=cumulative))
    tables.append(freezable(train, tests, init, final, acceptable_drop=0.5, modules=modules, draws=2))
    return tables


@shapes
def test_to_the_bit(network, modules, skipped, monkeypatch):
    short = everything(network, modules)
    monkeypatch.setattr(repeated_passes, "HELD_BYTES", 0)
    whole = everything(network, modules)
    for a, b in zip(short, whole, strict=True):
        assert a.equals(b)
    assert short[0]["loss"].is_finite().all()


@shapes
def test_what_is_left_out(network, modules, skipped, monkeypatch):
    model = made(network, 0)
    passes = RepeatedPasses(model, examples(), BATCH)
    prefixes = modules or {name: [name] for name in skipped}
    with lent(model) as live:
        for name, expected in skipped.items():
            tensors = [t for key, t in live.items() if any(key.startswith(p) for p in prefixes[name])]
            before = [tensor.clone() for tensor in tensors]
            passes.stand_before(tensors)
            assert passes.num_skipped == expected, name
            assert all(torch.equal(a, b) for a, b in zip(tensors, before, strict=True))
    assert not any("forward" in module.__dict__ for module in model.modules())


def counted(model):
    """The names of the children that are computed, as they are."""
    calls = []
    for name, child in model.named_children():
        child.forward = lambda x, name=name, own=child.forward: calls.append(name) or own(x)
    return calls


def test_children_before_the_touched_one_are_not_computed():
    model = made(StepsBetween, 0)
    calls = counted(model)
    passes = RepeatedPasses(model, examples(), BATCH)
    with lent(model) as live:
        passes.stand_before([live["top.weight"], live["top.bias"]])
        passes.evaluate()  # the first is compared with a whole pass
        calls.clear()
        passes.evaluate()
    assert calls == ["top", "head"] * 3
    calls.clear()
    model(examples()[0])  # its own forwards are back, those given to instances too
    assert calls == ["stem", "middle", "top", "head"]


def test_a_written_tensor_in_front_is_noticed():
    model = made(StepsBetween, 0)
    passes = RepeatedPasses(model, examples(), BATCH)
    with lent(model) as live:
        passes.stand_before([live["top.weight"]])
        live["top.weight"].mul_(2)
        assert passes.num_skipped == 2
        live["stem.bias"].add_(1)
        assert passes.num_skipped == 0
        changed = passes.evaluate()
        expected = functional.cross_entropy(model(examples()[0]).double(), examples()[1]).item()
        # float32 logits are sums of 144 products, of batches of another size: 144 * 6e-8
        assert changed.loss == pytest.approx(expected, rel=1e-5)
        passes.stand_before([live["head.weight"]])
        assert passes.num_skipped == 3
        assert passes.evaluate().loss == changed.loss


def test_memory_is_bounded(monkeypatch):
    """With room for the activations of two batches of three, the third goes through the whole network."""
    whole = everything(StepsBetween, None)
    monkeypatch.setattr(repeated_passes, "HELD_BYTES", 2 * BATCH * 4 * 36 * 4)
    model = made(StepsBetween, 0)
    calls = counted(model)
    passes = RepeatedPasses(model, examples(), BATCH)
    with lent(model) as live:
        passes.stand_before([live["top.weight"]])
        passes.evaluate()
        calls.clear()
        passes.evaluate()
    assert calls == [*["top", "head"] * 2, "stem", "middle", "top", "head"]
    for a, b in zip(everything(StepsBetween, None), whole, strict=True):
        assert a.equals(b)


class Noisy(Body):
    """Random even in evaluation mode."""

    def forward(self, x):
        return self.join(self.top(functional.dropout(self.middle(self.stem(x)), 0.5, training=True)))


def test_randomness_behind_is_seen():
    passes = RepeatedPasses(made(Noisy, 0), examples(), BATCH)
    with torch.random.fork_rng(), lent(passes.model) as live:
        passes.stand_before([live["middle.weight"]])
        assert passes.num_skipped == 0


class Fails(Body):
    """Breaks on inputs beyond the first batch."""

    def forward(self, x):
        if len(x) < BATCH:
            raise RuntimeError("out of memory")
        return self.join(self.top(self.middle(self.stem(x))))


def test_an_error_leaves_the_network_as_it_was():
    model = made(Fails, 0)
    passes = RepeatedPasses(model, examples(), BATCH)
    with lent(model) as live:
        passes.stand_before([live["top.weight"]])
        with pytest.raises(RuntimeError, match="out of memory"):
            passes.evaluate()
    assert not any("forward" in module.__dict__ for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())


def test_a_network_of_inference_mode():
    with torch.inference_mode():
        model = made(StepsBetween, 0)
        passes = RepeatedPasses(model, examples(), BATCH)
        with lent(model) as live:
            passes.stand_before([live["top.weight"]])
            assert passes.evaluate().loss > 0
