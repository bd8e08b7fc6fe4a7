"""Calls whose numbers would look right: they are refused, or a warning says what they mean."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

import transferscope as ts
from transferscope.core.errors import BadInput

X = torch.randn(24, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float32)
Y = torch.arange(24) % 3


@pytest.fixture(autouse=True)
def _the_same_networks_in_every_order_of_the_tests() -> None:
    torch.manual_seed(0)


def network(*between: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(6, 8), *between, nn.ReLU(), nn.Linear(8, 3))


def path_of(net: nn.Module, x: torch.Tensor, y: torch.Tensor) -> list[float]:
    return ts.interpolate(net, net, net, (x, y), alphas=[0])["loss"].to_list()


def test_one_hot_labels_are_named(caplog: pytest.LogCaptureFixture) -> None:
    net = network()
    one_hot = functional.one_hot(Y, 3).float()
    path_of(net, X, Y)
    path_of(net, X, torch.cat([one_hot[:-1], torch.ones(1, 3)]))
    assert not caplog.text
    path_of(net, X, one_hot)
    assert "labels.argmax(1)" in caplog.text


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_images_of_whole_numbers_are_refused(dtype: torch.dtype) -> None:
    with pytest.raises(BadInput, match=r"Give inputs\.to\(torch\.float32\), scaled and normalized"):
        path_of(network(), (X * 100).to(dtype), Y)


def test_prefixes_that_exclude_nothing_are_refused() -> None:
    with pytest.raises(BadInput, match="exclude: no tensor lies under '22'"):
        ts.l2_distance(network(), network(), exclude=["22", "0"])


def test_sparse_weights_are_refused() -> None:
    state = {name: tensor.to_sparse() for name, tensor in network().state_dict().items()}
    with pytest.raises(BadInput, match="to_dense"):
        ts.interpolate(network(), state, network(), (X, Y), alphas=[0])


def test_whether_a_prediction_is_right_is_no_prediction() -> None:
    right = {name: torch.arange(24) % step > 0 for name, step in (("a", 2), ("b", 5))}
    with pytest.raises(BadInput, match="not whether they are right"):
        ts.mistakes(right, Y, bootstrap=0)
    ts.mistakes(right, Y > 0, bootstrap=0)
