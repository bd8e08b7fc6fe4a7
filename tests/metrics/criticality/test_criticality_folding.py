"""Maps of criticality with BatchNorm folded against those of the network as it is."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from transferscope.metrics.criticality.criticality import Criticality, module_criticality
from transferscope.metrics.evaluation import folding, repeated_passes
from transferscope.metrics.evaluation.folding import Folding
from transferscope.metrics.evaluation.repeated_passes import first_level

TOLERANCE = 1e-12  # relative, in float64
BATCH, N = 16, 40  # three batches, the last one smaller


class Block(nn.Module):
    """A residual block: a plain convolution, one by channel (depthwise), and one on the way around."""

    def __init__(self, c_in: int, c_out: int, affine: bool = True) -> None:
        super().__init__()
        self.conv1, self.bn1 = (
            nn.Conv2d(c_in, c_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(c_out, affine=affine),
        )
        self.conv2, self.bn2 = nn.Conv2d(c_out, c_out, 3, padding=1, groups=c_out), nn.BatchNorm2d(c_out)
        self.down = nn.Sequential(nn.Conv2d(c_in, c_out, 1), nn.BatchNorm2d(c_out))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))) + self.down(x))


class Head(nn.Module):
    def __init__(self, c_in: int) -> None:
        super().__init__()
        self.linear = nn.Linear(c_in, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.mean((2, 3)))


class Residual(nn.Sequential):
    """All can be folded; the affine part of one is frozen, another has none."""

    pairs = 7

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.stem[1].requires_grad_(False)
        self.one, self.two = Block(4, 6, affine=False), Block(6, 4)
        self.head = Head(4)


class Across(nn.Sequential):
    """A convolution and its BatchNorm in different children: passes can begin between them."""

    pairs = 0

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1, self.act = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()
        self.conv2, self.bn2 = nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)
        self.head = Head(4)


class Twice(nn.Module):
    """In the middle a convolution that is called twice; the stem can be folded."""

    pairs = 1

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.middle = nn.ModuleDict({"conv": nn.Conv2d(4, 4, 3, padding=1), "bn": nn.BatchNorm2d(4)})
        self.head = Head(4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        for _ in range(2):
            x = torch.relu(self.middle["bn"](self.middle["conv"](x)))
        return self.head(x)


class Borrowing(nn.Module):
    """The first child computes with a convolution and a BatchNorm that are registered in the last one."""

    pairs = 2

    class First(nn.Module):
        def __init__(self, others: nn.Sequential) -> None:
            super().__init__()
            self.conv, self.bn = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
            self.others = [others]  # a list: not among its own

        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(self.others[0](torch.relu(self.bn(self.conv(x)))))

    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lent = nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4))
            self.head = Head(4)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(x)

    def __init__(self) -> None:
        super().__init__()
        last = self.Last()
        self.first, self.last = self.First(last.lent), last

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x))


class NoNorm(nn.Sequential):
    pairs = 0

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.act, self.head = nn.Conv2d(3, 4, 3), nn.ReLU(), Head(4)


NETWORKS = [Residual, Across, Twice, Borrowing, NoNorm]


def made(network: type[nn.Module], seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = network().double()
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.3, 3)
                if module.affine:
                    module.weight.data.normal_()
                    module.bias.data.normal_()
    return net


def examples(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(N, 3, 7, 7, generator=generator, dtype=torch.float64)
    return x, torch.randint(5, (N,), generator=generator)


def maps(model: nn.Module, init: nn.Module, final: nn.Module, **options: object) -> Criticality:
    grids = {"alphas": [0, 0.4, 1], "sigmas": [0, 0.3], "relative_sigmas": [0.5], "draws": 1}
    return module_criticality(
        model, init, final, examples(), test=examples(1), batch_size=BATCH, **grids | options
    )


def worst(found: Criticality, expected: Criticality) -> float:
    """The largest relative difference; everything but losses is equal, and what is NaN in one is in both."""
    losses = ["loss", "loss_se"]
    assert found.cells.drop(losses).equals(expected.cells.drop(losses))
    ours, others = (each.cells.select(losses).to_numpy() for each in (found, expected))
    assert np.array_equal(np.isnan(ours), np.isnan(others))
    scale = np.maximum(np.abs(others), others[:, :1])
    return float(np.nanmax(np.abs(ours - others) / np.maximum(scale, 1e-300)))


@pytest.mark.parametrize("network", NETWORKS)
def test_folded_maps_are_the_unfolded_ones(network: type[nn.Module], monkeypatch: pytest.MonkeyPatch) -> None:
    """Passes that begin in the middle give the same bits: what is held was computed with the same convolutions."""
    model, init, final = (made(network, seed) for seed in range(3))
    inside = Folding(final.eval(), examples()[0], first_level(final)).num_folded
    assert inside == network.pairs
    plain, found = (maps(model, init, final, fold=fold) for fold in (False, True))
    if network.pairs:
        assert not found.cells.equals(plain.cells), "nothing was folded"
        assert worst(found, plain) < TOLERANCE
        assert found.modules["mu"].to_list() == plain.modules["mu"].to_list()
    else:
        assert found.cells.equals(plain.cells)
        assert found.final["train"].losses.equal(plain.final["train"].losses)
    monkeypatch.setattr(repeated_passes, "HELD_BYTES", 0)
    assert maps(model, init, final, fold=True).cells.equals(found.cells)


def test_only_what_has_changed_is_folded_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    folds, fold = [], folding._folded
    monkeypatch.setattr(folding, "_folded", lambda conv, norm: folds.append(conv) or fold(conv, norm))
    model = made(Residual, 0).eval()
    one = Folding(model, examples()[0])
    with torch.no_grad(), one.folded():
        for _ in range(2):
            model(examples()[0])
        folds.clear()
        model.two.bn1.running_var.mul_(2)
        model.head.linear.weight.mul_(2)
        for _ in range(2):
            model(examples()[0])
    assert folds == [model.two.conv1]


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("one.conv1.weight", math.nan),
        ("one.conv1.weight", math.inf),
        ("one.bn2.weight", math.nan),
        ("one.bn2.weight", 0.0),
        ("stem.1.running_var", math.inf),
        ("stem.1.running_var", -5.0),
        ("stem.1.running_var", 0.0),
        ("two.down.1.bias", math.nan),
    ],
)
def test_numbers_that_are_none_stay_so(entry: str, value: float) -> None:
    """In the init, so that only some cells have them; a variance of -5 gives NaN."""
    init, final = made(Residual, 1), made(Residual, 2)
    init.state_dict()[entry].view(-1)[0] = value
    grid = {"alphas": [0, 1], "relative_sigmas": [], "draws": 1}
    plain, found = (maps(made(Residual, 0), init, final, fold=fold, **grid) for fold in (False, True))
    assert worst(found, plain) < TOLERANCE


def test_a_final_network_of_nan_is_not_folded() -> None:
    final = made(Residual, 2)
    final.state_dict()["two.conv1.weight"].view(-1)[0] = math.nan
    plain, found = (maps(made(Residual, 0), made(Residual, 1), final, fold=fold) for fold in (False, True))
    assert found.cells["loss"].is_nan().all()
    assert found.cells.equals(plain.cells)
    assert found.status == plain.status


class Breaks(Residual):
    """Fails after some passes."""

    left = 10**9

    def forward(self, x: Tensor) -> Tensor:
        Breaks.left -= 1  # of the class: what a pass leaves in the network is undone
        if Breaks.left < 0:
            raise RuntimeError("out of memory")
        return super().forward(x)


@pytest.mark.parametrize("after", [1, 3, 20, 10**9])
def test_the_network_is_put_back(after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = made(Breaks, 0)
    model.one.train(False)
    modes = [module.training for module in model.modules()]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    monkeypatch.setattr(Breaks, "left", after)
    if after < 10**9:
        with pytest.raises(RuntimeError, match="out of memory"):
            maps(model, made(Residual, 1), made(Residual, 2), fold=True)
    else:
        maps(model, made(Residual, 1), made(Residual, 2), fold=True)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any("forward" in module.__dict__ or module._forward_hooks for module in model.modules())
