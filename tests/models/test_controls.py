"""The controls: P's weight statistics without its features, under the head and the buffers of RI."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from transferscope.core.errors import TaskFailed
from transferscope.core.runs import CONTROLS as KINDS_OF_CONTROL
from transferscope.models import init
from transferscope.models.build import FixupResNetOptions
from transferscope.models.init import CONTROLS, control_init, pretrained_init, random_init

OPTIONS = FixupResNetOptions(depths=(1, 1), widths=(16, 32))
NETWORK = (OPTIONS, 5, 3)


@pytest.fixture(scope="module")
def pretrained() -> dict[str, Tensor]:
    """A state of another head, with no tensor at its initialization."""
    generator = torch.Generator().manual_seed(9)
    state = random_init(OPTIONS, 7, 3, seed=11).state_dict()
    return {
        name: tensor + 0.3 + 0.1 * torch.randn(tensor.shape, generator=generator).exp()
        for name, tensor in state.items()
    }


def state_of(control: str, seed: int, pretrained: dict[str, Tensor]) -> dict[str, Tensor]:
    return control_init(control, *NETWORK, seed, pretrained).state_dict()


def body(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in state.items() if not name.startswith("head.")}


def test_the_kinds_of_runs_are_the_controls_that_there_are() -> None:
    assert set(KINDS_OF_CONTROL) == set(CONTROLS)


def test_layer_statistics_keep_mean_and_variance_and_nothing_else(pretrained: dict[str, Tensor]) -> None:
    for name, drawn in body(state_of("layer_statistics", 0, pretrained)).items():
        numbers = pretrained[name].numpy().astype(np.float64).ravel()
        n = len(numbers)
        if n == 1:
            assert drawn.item() == pretrained[name].item(), name
            continue
        mean, std = math.fsum(numbers) / n, math.sqrt(math.fsum((numbers - numbers.mean()) ** 2) / n)
        ours = drawn.double()
        # standard errors of a mean and of a standard deviation of n Gaussian numbers; five of them
        assert abs(ours.mean().item() - mean) < 5 * std / math.sqrt(n), name
        assert abs(ours.std().item() - std) < 5 * std / math.sqrt(2 * n), name
        correlation = np.corrcoef(ours.numpy().ravel(), numbers)[0, 1]
        assert abs(correlation) < 5 / math.sqrt(n), name


def test_layer_statistics_are_exactly_the_drawn_numbers_scaled(pretrained: dict[str, Tensor]) -> None:
    """One affine map of standard Gaussian numbers, in the order of the parameters."""
    ours = state_of("layer_statistics", 3, pretrained)
    generator = torch.Generator().manual_seed(init._seed_of("layer_statistics", 3))
    for name, _ in random_init(*NETWORK, seed=3).named_parameters():
        if name.startswith("head."):
            continue
        numbers = pretrained[name].numpy().astype(np.float64)
        drawn = torch.randn(numbers.shape, generator=generator, dtype=torch.float64).numpy()
        expected = numbers.mean() + np.sqrt(((numbers - numbers.mean()) ** 2).mean()) * drawn
        np.testing.assert_allclose(ours[name].numpy(), expected, rtol=1e-6, atol=1e-7)


def test_permuted_weights_are_the_same_numbers_in_other_places(pretrained: dict[str, Tensor]) -> None:
    for name, ours in body(state_of("permuted_weights", 0, pretrained)).items():
        theirs = pretrained[name]
        assert torch.equal(ours.flatten().sort().values, theirs.flatten().sort().values), name
        if theirs.numel() > 100:
            share_moved = (ours != theirs).double().mean().item()
            assert share_moved > 0.9, name


@pytest.mark.parametrize("control", CONTROLS)
def test_the_head_is_that_of_ri_and_of_p_t(control: str, pretrained: dict[str, Tensor]) -> None:
    ours = state_of(control, 4, pretrained)
    for other in (random_init(*NETWORK, seed=4), pretrained_init(*NETWORK, 4, pretrained)):
        theirs = other.state_dict()
        heads = [name for name in theirs if name.startswith("head.")]
        assert heads
        assert all(torch.equal(ours[name], theirs[name]) for name in heads)


@pytest.mark.parametrize("control", CONTROLS)
def test_a_seed_says_all_and_the_global_generator_is_left_alone(
    control: str, pretrained: dict[str, Tensor]
) -> None:
    before = torch.get_rng_state()
    one, same, other = (body(state_of(control, seed, pretrained)) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not any(torch.equal(one[name], other[name]) for name in one if one[name].numel() > 1)


def test_what_a_control_draws_is_not_what_ri_drew(pretrained: dict[str, Tensor]) -> None:
    """The same numbers, scaled, would make two kinds of one seed alike."""
    ours, ri = state_of("layer_statistics", 0, pretrained), random_init(*NETWORK, seed=0).state_dict()
    for name in ("stem.conv.weight", "stage1.0.convs.0.weight", "stage2.0.convs.0.weight"):
        correlation = torch.corrcoef(torch.stack([ours[name].flatten(), ri[name].flatten()]))[0, 1]
        assert abs(correlation) < 5 / math.sqrt(ours[name].numel())


class WithBatchNorm(nn.Module):
    """A norm with buffers, and two convolutions that are one tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
        self.first = nn.Conv2d(8, 8, 3)
        self.again = nn.Conv2d(8, 8, 3)
        self.again.weight = self.first.weight
        self.head = nn.Linear(8, 5)


@pytest.mark.parametrize("control", CONTROLS)
def test_buffers_are_those_of_ri_and_tied_weights_stay_tied(
    control: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(init, "build", lambda *_: WithBatchNorm())
    p = random_init(*NETWORK, seed=5)
    with torch.no_grad():
        p.get_buffer("stem.1.running_var").fill_(-7.0)
        p.get_buffer("stem.1.num_batches_tracked").fill_(99)
    model = control_init(control, *NETWORK, 0, p.state_dict())
    assert torch.equal(model.get_buffer("stem.1.running_var"), torch.ones(8))
    assert model.get_buffer("stem.1.num_batches_tracked") == 0
    assert model.get_parameter("first.weight") is model.again.weight  # pyright: ignore[reportAttributeAccessIssue]
    assert not torch.equal(model.get_parameter("first.weight"), p.get_parameter("first.weight"))


@pytest.mark.parametrize("control", CONTROLS)
def test_weights_that_do_not_fit_are_said(control: str, pretrained: dict[str, Tensor]) -> None:
    lacking = {name: tensor for name, tensor in pretrained.items() if name != "stem.conv.weight"}
    with pytest.raises(TaskFailed, match=r"missing: stem\.conv\.weight"):
        control_init(control, *NETWORK, 0, lacking)
    with pytest.raises(TaskFailed, match=r"shape \(16,\), expected \(16, 3, 3, 3\)"):
        control_init(control, *NETWORK, 0, {**pretrained, "stem.conv.weight": torch.zeros(16)})
