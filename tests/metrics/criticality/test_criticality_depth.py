"""Networks whose depth depends on their inputs, which the first examples don't show: passes are right all the same."""

from __future__ import annotations

import copy
import logging

import pytest
import torch
from torch import nn
from torch.nn import functional

from transferscope.metrics.criticality.criticality import module_criticality
from transferscope.metrics.criticality.rewinding import rewind_to
from transferscope.metrics.evaluation.repeated_passes import RepeatedPasses
from transferscope.metrics.inputs.guard import lent

N, BATCH, WIDTH, CLASSES = 64, 8, 6, 3
ROUNDING = 1e-12
"""The loss is a float64 mean of 64 numbers; only the order of their summation differs."""


class Body(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(WIDTH, 8)
        self.block = nn.Linear(8, 8)
        self.head = nn.Linear(8, CLASSES)


class Steps(Body):
    """Hard batches go through the block several times, as in adaptive computation time."""

    def forward(self, x):
        h = functional.relu(self.stem(x))
        for _ in range(1 if x.abs().max() < 8 else 3):
            h = functional.relu(self.block(h))
        return self.head(h)


class Halting(Body):
    """The activations themselves say when to stop."""

    def forward(self, x):
        h = functional.relu(self.stem(x))
        for _ in range(4):
            h = functional.relu(self.block(h))
            if h.square().mean() < 2:
                break
        return self.head(h)


class Gate(Body):
    """An `if` on what the stem gave, after the block was called."""

    def forward(self, x):
        h = functional.relu(self.stem(x))
        z = functional.relu(self.block(h))
        return self.head(z / 10 if h.max() > 8 else z)


class JointGate(Body):
    """The gate compares what is in front of the touched module with what is behind it."""

    def forward(self, x):
        h = functional.relu(self.stem(x))
        z = self.head(functional.relu(self.block(h)))
        return z / 10 if h.max() > 20 * z.max() else z


class TensorGate(Body):
    """No `if`: a comparison with NaN is false, and leaves no trace."""

    def forward(self, x):
        h = functional.relu(self.stem(x))
        z = functional.relu(self.block(h))
        return self.head(torch.where(h.amax(1, keepdim=True) > 8, z / 10, z))


class Masked(Body):
    """Only hard examples go through the block."""

    def forward(self, x):
        h = functional.relu(self.stem(x))
        hard = x.abs().amax(1) > 8
        if hard.any():
            h = h.masked_scatter(hard[:, None], self.block(h[hard]))
        return self.head(h)


class Exit(Body):
    """Easy batches leave by a head of their own."""

    def __init__(self):
        super().__init__()
        self.exit = nn.Linear(8, CLASSES)

    def forward(self, x):
        h = functional.relu(self.stem(x))
        early = self.exit(h)
        return early if x.abs().max() < 8 else self.head(functional.relu(self.block(h)))


class OtherOrder(Body):
    """Hard batches go through the children in another order."""

    def __init__(self):
        super().__init__()
        self.other = nn.Linear(8, 8)

    def forward(self, x):
        first, second = (self.block, self.other) if x.abs().max() < 8 else (self.other, self.block)
        return self.head(functional.relu(second(functional.relu(first(functional.relu(self.stem(x)))))))


class Elsewhere(Body):
    """Hard batches use the weights of the head before it is called."""

    def forward(self, x):
        h = functional.relu(self.stem(x))
        if x.abs().max() > 8:
            h = h + self.head.weight.mean(0)
        return self.head(functional.relu(self.block(h)))


class Remembers(Body):
    """A hook keeps what the stem's inside gave; hard batches add it in the end."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Linear(WIDTH, 8), nn.ReLU())
        self.stem[0].register_forward_hook(lambda module, _, output: setattr(module, "kept", output))

    def forward(self, x):
        z = functional.relu(self.block(self.stem(x)))
        return self.head(z + self.stem[0].kept if x.abs().max() > 8 else z)


NETWORKS = [
    Steps,
    Halting,
    Gate,
    JointGate,
    TensorGate,
    Masked,
    Exit,
    OtherOrder,
    Elsewhere,
    Remembers,
]


def made(network, seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return network()


def examples(seed):
    """Easy examples come first, as in data sorted by class or by difficulty."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(N, WIDTH, generator=generator)
    x[N // 2 :] *= 6
    return x, torch.randint(CLASSES, (N,), generator=generator)


def literal_loss(model, x, y):
    with torch.no_grad():
        logits = torch.cat([model(batch) for batch in x.split(BATCH)])
    return functional.cross_entropy(logits.double(), y).item()


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("network", NETWORKS, ids=lambda n: n.__name__)
def test_each_cell_is_that_of_a_copy_of_the_network(network, seed):
    init, final, (x, y) = made(network, 2 * seed), made(network, 2 * seed + 1), examples(seed)
    options = {"alphas": [0, 0.5], "sigmas": [0, 0.3], "draws": 2, "batch_size": BATCH}
    model = copy.deepcopy(final)
    found = module_criticality(model, init, final, (x, y), **options)
    for module, alpha, loss in found.cells.filter(sigma=0).select("module", "alpha", "loss").iter_rows():
        copied = copy.deepcopy(final)
        ends = init.get_submodule(module).state_dict(), final.get_submodule(module).state_dict()
        mixed = {name: torch.lerp(ends[0][name], ends[1][name], alpha) for name in ends[0]}
        copied.get_submodule(module).load_state_dict(mixed)
        assert loss == pytest.approx(literal_loss(copied, x, y), rel=ROUNDING)
    whole = module_criticality(copy.deepcopy(final), init, final, (x, y), shortened=False, **options)
    assert found.cells.equals(whole.cells)
    assert not any("forward" in module.__dict__ for module in model.modules())


@pytest.mark.parametrize("network", NETWORKS, ids=lambda n: n.__name__)
def test_several_states_and_sets_of_modules(network):
    final, data = made(network, 0), examples(0)
    states = {str(seed): made(network, seed) for seed in (1, 2, 3)}
    for cumulative in (False, True):
        short, whole = (
            rewind_to(
                RepeatedPasses(final, data, BATCH, shortened=is_short), states, final, cumulative=cumulative
            )
            for is_short in (True, False)
        )
        assert short.equals(whole)


@pytest.mark.parametrize("network", [Steps, Exit])
def test_the_logger_says_where_passes_are_whole(network, caplog):
    model = made(network, 0)
    passes = RepeatedPasses(model, examples(0), BATCH)
    with caplog.at_level(logging.WARNING), lent(model) as live:
        passes.stand_before([live["head.weight"], live["head.bias"]])
        passes.evaluate()
        assert passes.num_skipped == 0
        passes.stand_before([live["block.weight"], live["block.bias"]])
        passes.evaluate()
        assert passes.num_skipped == (0 if network is Exit else 1)
    assert f"passes of {network.__name__} can't start at 'head'" in caplog.text


def test_a_network_of_one_depth_is_shortened_without_a_word(caplog):
    model = nn.Sequential(nn.Linear(WIDTH, 8), nn.ReLU(), nn.Linear(8, CLASSES))
    passes = RepeatedPasses(model, examples(0), BATCH)
    with caplog.at_level(logging.WARNING), lent(model) as live:
        passes.stand_before([live["2.weight"]])
        passes.evaluate()
        assert passes.num_skipped == 2
    assert not caplog.text
