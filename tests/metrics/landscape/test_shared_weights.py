"""Weights that several modules share: counted and moved once, with the first module that has them."""

from __future__ import annotations

import math

import polars as pl
import pytest
import torch
from torch import Tensor, nn

from transferscope.metrics.criticality.criticality import module_criticality
from transferscope.metrics.criticality.rewinding import rewind
from transferscope.metrics.inputs.guard import lent
from transferscope.metrics.landscape.distance import l2_distance
from transferscope.metrics.landscape.span import span_of
from transferscope.models.modules.find import find_modules, prefixes_of

CLASSES = 3


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.b(torch.tanh(self.a(x)))


class Tied(nn.Module):
    """The second block has one of the first one's matrices, the third has all that the first has."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(5, 4)
        self.blocks = nn.Sequential(Block(), Block(), Block(), Block())
        first, second, third = list(self.blocks)[:3]
        second.a.weight = first.a.weight
        third.a, third.b = first.a, first.b
        self.head = nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x)))


def drawn(seed: int) -> Tied:
    torch.manual_seed(seed)
    return Tied().double()


def copied(model: nn.Module) -> dict[str, Tensor]:
    """As it comes from a file: nothing is seen of what is shared."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


OWN = {
    "stem": ["stem"],
    "blocks.0": ["blocks.0"],
    "blocks.1": ["blocks.1.a.bias", "blocks.1.b"],
    "blocks.3": ["blocks.3"],
    "head": ["head"],
}
"""By hand: what is left to each module."""


def parts(model: nn.Module, module: str) -> list[Tensor]:
    wanted = OWN[module]
    return [
        p.detach() for name, p in model.named_parameters() if any(name.startswith(each) for each in wanted)
    ]


def test_a_module_without_weights_of_its_own_is_not_listed_and_is_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    modules = find_modules(drawn(0), num_classes=CLASSES)
    assert list(modules) == ["stem", *(f"blocks.{place}" for place in range(4)), "head"]
    assert modules["blocks.0"].own is None
    assert modules["blocks.2"].own == ()
    with caplog.at_level("INFO"):
        assert list(prefixes_of(modules)) == list(OWN)
    assert "blocks.1 (some), blocks.2 (all)" in caplog.text


def test_a_block_that_stands_in_one_list_twice() -> None:
    block = Block()
    model = nn.Sequential(nn.Linear(5, 4), block, nn.ReLU(), block, nn.Linear(4, CLASSES))
    assert prefixes_of(find_modules(model, num_classes=CLASSES)) == {
        "stem": ("0",),
        "1": ("1",),
        "head": ("4",),
    }


def test_distances_and_counts_are_those_of_the_parameters() -> None:
    a, b = drawn(0), drawn(1)
    prefixes = prefixes_of(find_modules(a, num_classes=CLASSES))
    found = l2_distance(copied(a), copied(b), by_module=True, modules=prefixes)
    assert found["num_parameters"].to_list() == [sum(p.numel() for p in parts(a, name)) for name in OWN]
    assert found["num_parameters"].sum() == sum(p.numel() for p in a.parameters())
    for name, distance in found.select("module", "distance").iter_rows():
        squares = sum(
            float((p - q).square().sum()) for p, q in zip(parts(a, name), parts(b, name), strict=True)
        )
        assert distance == pytest.approx(math.sqrt(squares), rel=1e-12), name


def test_what_is_shared_is_moved_with_the_first_module_alone() -> None:
    init, final = drawn(0), drawn(1)
    prefixes = prefixes_of(find_modules(final, num_classes=CLASSES))
    generator = torch.Generator().manual_seed(2)
    inputs = torch.randn(20, 5, generator=generator, dtype=torch.float64)
    labels = torch.randint(CLASSES, (20,), generator=generator)
    expected = {}
    for name in OWN:
        moved = drawn(1)
        with torch.no_grad():
            for own, before in zip(parts(moved, name), parts(init, name), strict=True):
                own.copy_(before)
            expected[name] = float(nn.functional.cross_entropy(moved(inputs), labels))
    data = inputs, labels
    found = rewind(drawn(3), copied(init), copied(final), data, modules=prefixes, draws=0)
    assert dict(found.select("module", "loss").iter_rows()) == pytest.approx(expected, rel=1e-12)
    maps = module_criticality(
        drawn(3), copied(init), copied(final), data, alphas=[0, 1], sigmas=[0, 0.1], draws=2, modules=prefixes
    )
    at_init = maps.cells.filter((pl.col("alpha") == 0) & (pl.col("sigma") == 0))
    assert dict(at_init.select("module", "loss").iter_rows()) == pytest.approx(expected, rel=1e-12)
    counts = [sum(p.numel() for p in parts(final, name)) for name in OWN]
    assert maps.modules["num_parameters"].to_list() == counts


class TiedButBias(nn.Module):
    """The decoder has the encoder's matrix, and a bias of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.enc, self.dec, self.head = nn.Linear(4, 4, bias=False), nn.Linear(4, 4), nn.Linear(4, CLASSES)
        self.dec.weight = self.enc.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.dec(torch.tanh(self.enc(x))))


def test_what_is_moved_and_counted_are_the_same_tensors() -> None:
    """Without `modules`: the decoder is its bias alone, in its loss, distance and number of parameters."""
    torch.manual_seed(0)
    init, final = TiedButBias().double(), TiedButBias().double()
    x, y = torch.randn(30, 4, dtype=torch.float64), torch.arange(30) % CLASSES
    copy = TiedButBias().double()
    copy.load_state_dict(final.state_dict())
    copy.dec.bias.data.copy_(init.dec.bias.data)
    expected = float(nn.functional.cross_entropy(copy(x), y).detach())
    found = module_criticality(final, init, final, (x, y), alphas=[0, 1], sigmas=[0, 0.1], draws=1)
    moved = found.cells.filter(module="dec", alpha=0.0, sigma=0.0)["loss"].item()
    assert moved == pytest.approx(expected, rel=1e-12)
    assert rewind(final, init, final, (x, y)).filter(module="dec")["loss"].item() == pytest.approx(
        expected, rel=1e-12
    )
    row = found.modules.filter(module="dec").row(0, named=True)
    assert (row["num_parameters"], row["distance"]) == (
        4,
        pytest.approx(float((final.dec.bias - init.dec.bias).detach().norm()), rel=1e-12),
    )


def test_noise_reaches_tied_weights_once() -> None:
    """The standard deviation of the noise of a tied matrix is that of any other parameter."""
    model = TiedButBias().double()
    state = {name: torch.zeros_like(own) for name, own in model.state_dict().items()}
    with lent(model) as live:
        span = span_of(model, live, [state], batch_norm="interpolate", calibration=None, batch_size=8)
        source = torch.Generator().manual_seed(0)
        squares = []
        for _ in range(50):
            span.place(torch.ones(1, dtype=torch.float64), 0.5, source)
            squares.append(model.enc.weight.square().mean())
    # 800 draws: the standard error of the variance is 5 %
    assert float(torch.stack(squares).mean()) == pytest.approx(0.25, rel=0.2)
