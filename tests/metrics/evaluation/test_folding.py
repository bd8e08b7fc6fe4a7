"""Folded BatchNorm against the network itself; many paths at once against one by one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from transferscope.core.errors import BadInput
from transferscope.metrics.evaluation.folding import Folding
from transferscope.metrics.landscape.path import path_losses, paths


class Net(nn.Module):
    """Convolutions with BatchNorm behind (with and without bias and affine part), in front, and shared."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8)
            self.conv2, self.bn2 = nn.Conv2d(8, 8, 3, groups=2), nn.BatchNorm2d(8, affine=False)
            self.before, self.conv3 = nn.BatchNorm2d(8), nn.Conv2d(8, 4, 1)
            self.bn3 = nn.BatchNorm2d(4, track_running_stats=False)
            self.head = nn.Linear(4, 3)
            for norm in (self.bn1, self.bn2, self.before):
                norm.running_mean.normal_()
                norm.running_var.uniform_(0.3, 3)
                if norm.affine:
                    norm.weight.data.normal_()
                    norm.bias.data.normal_()

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return self.head(self.conv3(self.before(torch.relu(x))).mean((2, 3)))


def some(n: int = 6, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(n, 3, 9, 9, generator=torch.Generator().manual_seed(0), dtype=dtype)


@torch.no_grad()
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_folded_gives_the_same(memory_format: torch.memory_format) -> None:
    net = Net(0).double().eval().to(memory_format=memory_format)
    folding = Folding(net, some())
    assert folding.num_folded == 2  # conv1 and conv2; `before` has no convolution in front
    whole = net(some(20))
    with folding.folded():
        assert torch.allclose(net(some(20)), whole, rtol=1e-11, atol=1e-11)
        net.bn1.running_var.mul_(2)
        net.conv1.weight.add_(0.1)
        changed = net(some(20))
    assert torch.allclose(changed, net(some(20)), rtol=1e-11, atol=1e-11)
    assert not torch.allclose(changed, whole)
    assert not any("forward" in module.__dict__ for module in net.modules())


class TwoReaders(Net):
    """What the first convolution gives is read by somebody else as well."""

    def forward(self, x: Tensor) -> Tensor:
        raw = self.conv1(x)
        return self.head((self.bn1(raw) + raw)[:, :4].mean((2, 3)))


class CalledTwice(Net):
    def forward(self, x: Tensor) -> Tensor:
        y = self.bn1(self.conv1(x))
        return self.head((y + self.bn1(self.conv1(-x)))[:, :4].mean((2, 3)))


class Gated(Net):
    """What the first convolution gives is read by somebody else too, through a gate that is closed as yet."""

    gate = 0.0

    def forward(self, x: Tensor) -> Tensor:
        raw = self.conv1(x)
        return self.head((self.bn1(raw) + self.gate * raw)[:, :4].mean((2, 3)))


class WritesBetween(Net):
    """A step in place between the two, that changes nothing as yet."""

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.bn1(self.conv1(x).clamp_(min=-1e9))[:, :4].mean((2, 3)))


class Activated(nn.BatchNorm2d):
    """A BatchNorm that does more, if nothing as yet."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input).clamp(min=-1e9)


class OwnKind(Net):
    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.bn1 = Activated(8)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.bn1(self.conv1(x))[:, :4].mean((2, 3)))


class SharedMemory(Net):
    """Another tensor in the memory of a weight: written to through that one, its version stays."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.other = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.other.data = self.bn1.weight.data
        return self.head(self.bn1(self.conv1(x))[:, :4].mean((2, 3)))


UNFOLDED = [TwoReaders, CalledTwice, Gated, WritesBetween, OwnKind, SharedMemory]


@torch.no_grad()
@pytest.mark.parametrize("kind", UNFOLDED)
def test_what_would_change_the_result_is_not_folded(kind: type[Net]) -> None:
    net = kind(0).double().eval()
    folding = Folding(net, some())
    assert folding.num_folded == 0
    whole = net(some(20))
    with folding.folded():
        assert torch.equal(net(some(20)), whole)


@torch.no_grad()
def test_a_hook_keeps_a_batch_norm_from_being_folded() -> None:
    net = Net(0).double().eval()
    net.bn1.register_forward_hook(lambda *_: None)
    assert Folding(net, some()).num_folded == 1


@pytest.mark.parametrize("policy", ["keep", "interpolate", "re-estimate"])
def test_many_paths_are_those_one_by_one(policy: str) -> None:
    states = {name: Net(seed).double() for seed, name in enumerate("abc")}
    data = (some(20), torch.arange(20) % 3)
    options = {
        "alphas": [-0.5, 0, 0.3, 0.5, 1],
        "batch_norm": policy,
        "calibration": some(16),
        "batch_size": 8,
    }
    found = paths(Net(9).double(), states, data, **options)
    assert list(found) == [("a", "b"), ("a", "c"), ("b", "c")]
    for (a, b), path in found.items():
        alone = path_losses(Net(9).double(), states[a], states[b], data, **options)
        # beyond the ends an interpolated variance may be negative: NaN, in both
        for value, expected in ((path.losses, alone.losses), (path.correct, alone.correct)):
            assert value is not None
            assert expected is not None
            assert torch.equal(value.nan_to_num(-1), expected.nan_to_num(-1))
        for alpha, stored in alone.stored.items():
            assert torch.equal(path.stored[alpha].losses, stored.losses)
        folded = path_losses(Net(9).double(), states[a], states[b], data, fold=True, **options)
        assert torch.allclose(folded.losses, path.losses, rtol=1e-10, atol=1e-10, equal_nan=True)


def test_an_unknown_name_is_refused() -> None:
    data = (some(4), torch.zeros(4, dtype=torch.int64))
    with pytest.raises(BadInput, match="no network 'd'"):
        paths(
            Net(0).double(),
            {"a": Net(1).double(), "b": Net(2).double()},
            data,
            pairs=[("a", "d")],
            alphas=[0],
        )
    with pytest.raises(BadInput, match="no pair"):
        paths(Net(0).double(), {"a": Net(1).double()}, data, alphas=[0])
