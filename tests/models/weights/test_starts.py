"""Random starts must be random, and weights that a network's own code loads are not those of a new network."""

from __future__ import annotations

from collections.abc import Callable

import networks
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from transferscope.core.errors import BadInput
from transferscope.models.modules.find import find_modules
from transferscope.models.weights.untrained import FRESH_DRAWS, check_random, fixed_tensors, untrained_modules

NUM_CLASSES = 4


def draws(make: Callable[[], nn.Module], count: int = 2) -> list[nn.Module]:
    models = []
    with torch.random.fork_rng(devices=[]):
        for seed in range(count):
            torch.manual_seed(seed)
            models.append(make())
    return models


def check(make: Callable[[], nn.Module]) -> None:
    models = draws(make)
    check_random(models, find_modules(models[0], num_classes=NUM_CLASSES))


def trained(steps: int = 5) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(9)
        model = networks.Plain(NUM_CLASSES).train()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        for _ in range(steps):
            loss = F.cross_entropy(model(torch.randn(16, 3, 16, 16)), torch.arange(16) % NUM_CLASSES)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


PRETRAINED = trained().state_dict()


def loads(part: str, **frozen: bool) -> Callable[[], nn.Module]:
    """A factory that loads the tensors whose names begin with `part`, but never the head's."""

    def make() -> nn.Module:
        model = networks.Plain(NUM_CLASSES)
        own = {k: v for k, v in PRETRAINED.items() if k.startswith(part) and not k.startswith("classifier")}
        model.load_state_dict(own, strict=False)
        if frozen:
            for name, parameter in model.named_parameters():
                parameter.requires_grad = name.startswith("classifier")
        return model

    return make


def seeded() -> nn.Module:
    torch.manual_seed(0)
    return networks.Plain(NUM_CLASSES)


class Sines(networks.Plain):
    """Position embeddings of sines that are trained, and layers that begin as zeros, an identity and a constant."""

    def __init__(self) -> None:
        super().__init__(NUM_CLASSES)
        self.positions = nn.Parameter(torch.arange(64.0).sin().reshape(1, 1, 8, 8))
        self.mixer = nn.Conv2d(4, 4, 1)
        nn.init.dirac_(self.mixer.weight)
        self.gate = nn.Linear(4, 4)
        nn.init.zeros_(self.gate.weight)
        nn.init.ones_(self.gate.bias)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


class Gabor(networks.Plain):
    """A first layer of fixed filters that is not trained."""

    def __init__(self) -> None:
        super().__init__(NUM_CLASSES)
        self.conv1.weight.data = torch.arange(self.conv1.weight.numel()).float().cos().reshape(4, 3, 3, 3)
        self.conv1.requires_grad_(False)


class Drawn(nn.Module):
    """A body of layers whose weights are parameters of the network itself."""

    def __init__(self, fixed: bool) -> None:
        super().__init__()
        weight = torch.arange(3 * 16.0).cos().reshape(16, 3) if fixed else torch.randn(16, 3)
        self.weight = nn.Parameter(weight)
        self.out = nn.Linear(16, NUM_CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.relu(x.mean((2, 3)) @ self.weight.T))


@pytest.mark.parametrize(
    "make", [lambda: networks.Plain(NUM_CLASSES), Sines, Gabor, lambda: Drawn(fixed=False)]
)
def test_a_start_with_random_weights_is_taken(make: Callable[[], nn.Module]) -> None:
    check(make)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (loads(""), r"conv1.weight.*Let the network's code load no weights .*source.weights"),
        (loads("conv1"), "conv1.weight"),  # few weights of many
        (loads("", frozen=True), "conv1.weight"),
        (seeded, "The head is the same, too: let the network's code set no seed"),
        (lambda: Drawn(fixed=True), "stand in weight"),
    ],
)
def test_a_start_that_is_the_same_with_every_seed_is_refused(
    make: Callable[[], nn.Module], problem: str
) -> None:
    with pytest.raises(BadInput, match=problem):
        check(make)


def untrained(make: Callable[[], nn.Module], state: dict[str, Tensor]) -> list[str]:
    models = draws(make, FRESH_DRAWS)
    return untrained_modules(state, find_modules(models[0], num_classes=NUM_CLASSES), models)


@pytest.mark.parametrize("make", [loads(""), loads("", frozen=True)])
def test_a_frozen_body_that_the_factory_loads_is_not_untrained(make: Callable[[], nn.Module]) -> None:
    state = {**make().state_dict(), "classifier.weight": torch.ones(NUM_CLASSES, 8)}
    assert untrained(make, state) == []
    assert "conv1.weight" in fixed_tensors(draws(make))


def test_what_the_factory_does_not_load_is_still_untrained() -> None:
    make = loads("conv1")
    assert untrained(make, make().state_dict()) == ["conv2"]
