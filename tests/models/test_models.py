"""Fixup networks at their initialization, and what is transferred."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from transferscope.core.errors import BadInput, TaskFailed
from transferscope.core.options import NetworkOptions
from transferscope.models.build import FixupResNetOptions, FixupResNetPreset, build, network_options
from transferscope.models.init import pretrained_init, random_init
from transferscope.models.networks._fixup_resnet import Residual

SMALL = FixupResNetOptions(depths=(1, 2), widths=(4, 6))


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_a_residual_block_adds_nothing_at_first(block: str) -> None:
    options = FixupResNetOptions.model_validate({"block": block, "depths": (2, 2), "widths": (4, 6)})
    model = random_init(options, 5, 3, seed=0)
    blocks = [module for module in model.modules() if isinstance(module, Residual)]
    assert len(blocks) == 4
    with torch.inference_mode():
        for residual in blocks:
            c_in = residual.convs[0].weight.shape[1]
            x = torch.rand(2, c_in, 8, 8)
            shown = x if residual.shortcut is None else F.relu(residual.shortcut(x))
            assert torch.equal(residual(x), shown)
    assert [residual.shortcut is None for residual in blocks] == (
        [True, True, False, True] if block == "basic" else [False, True, False, True]
    )


@pytest.mark.parametrize(("block", "convs"), [("basic", 2), ("bottleneck", 3)])
def test_branches_are_drawn_with_the_standard_deviation_of_fixup(block: str, convs: int) -> None:
    options = FixupResNetOptions.model_validate({"block": block, "depths": (2, 3), "widths": (32, 64)})
    num_blocks = 5
    factor = num_blocks ** (-1 / (2 * convs - 2))
    for residual in random_init(options, 10, 3, seed=1).modules():
        if not isinstance(residual, Residual):
            continue
        *drawn, last = residual.convs
        assert not last.weight.any()
        for conv in drawn:
            _check_std(conv, factor)
        if residual.shortcut is not None:
            _check_std(residual.shortcut, 1.0)


def _check_std(conv: nn.Module, factor: float) -> None:
    weight = conv.weight
    assert isinstance(weight, Tensor)
    expected = factor * math.sqrt(2 / (weight.shape[0] * weight.shape[2] * weight.shape[3]))
    # the standard error of a standard deviation is s / sqrt(2 n); five of them
    assert weight.std().item() == pytest.approx(expected, rel=5 / math.sqrt(2 * weight.numel()))
    assert abs(weight.mean().item()) < 5 * expected / math.sqrt(weight.numel())


def test_biases_begin_at_0_and_scales_at_1() -> None:
    for name, parameter in random_init(SMALL, 5, 3, seed=0).named_parameters():
        if parameter.numel() == 1:
            assert parameter.item() == (1.0 if name.endswith("scale") else 0.0), name


def test_the_modules_of_a_network_run_from_the_stem_to_the_head() -> None:
    model = random_init(SMALL, 5, 1, seed=0)
    assert [name for name, _ in model.named_children()] == ["stem", "stage1", "stage2", "head"]
    assert model(torch.rand(3, 1, 16, 16)).shape == (3, 5)


def test_each_stage_but_the_first_halves_the_side() -> None:
    model = random_init(FixupResNetOptions(), 5, 3, seed=0)
    x, sides = torch.rand(1, 3, 32, 32), []
    for _, module in list(model.named_children())[:-1]:
        x = module(x)
        sides.append(x.shape[-1])
    assert sides == [16, 16, 8, 4, 2]


def test_a_head_of_zeros_is_a_choice() -> None:
    zero = random_init(FixupResNetOptions(depths=(1,), widths=(4,), zero_head=True), 5, 3, seed=0)
    drawn = random_init(FixupResNetOptions(depths=(1,), widths=(4,)), 5, 3, seed=0)
    assert not zero.get_submodule("head").linear.weight.any()
    assert drawn.get_submodule("head").linear.weight.any()


@pytest.fixture(scope="module")
def resnet50() -> nn.Module:
    return random_init(FixupResNetPreset(name="fixup_resnet50"), 1000, 3, seed=0).eval()


def test_fixup_resnet50_is_of_the_usual_size(resnet50: nn.Module) -> None:
    # ResNet-50 without its 53,120 numbers of BatchNorm has 25,503,912; Fixup adds single numbers
    count = sum(parameter.numel() for parameter in resnet50.parameters())
    scalars = sum(parameter.numel() == 1 for parameter in resnet50.parameters())
    assert count - scalars == 25_503_912
    assert scalars == 2 + 16 * 7
    body = count - sum(parameter.numel() for parameter in resnet50.get_submodule("head").parameters())
    assert body == pytest.approx(23.5e6, rel=0.01)


def test_fixup_resnet50_runs(resnet50: nn.Module) -> None:
    with torch.inference_mode():
        logits = resnet50(torch.rand(2, 3, 64, 64))
    assert logits.shape == (2, 1000)
    assert logits.isfinite().all()


@pytest.mark.parametrize(
    ("name", "block", "depths"),
    [
        ("fixup_resnet18", "basic", (2, 2, 2, 2)),
        ("fixup_resnet34", "basic", (3, 4, 6, 3)),
        ("fixup_resnet50", "bottleneck", (3, 4, 6, 3)),
        ("fixup_resnet101", "bottleneck", (3, 4, 23, 3)),
    ],
)
def test_the_presets_are_those_of_he_et_al(name: str, block: str, depths: tuple[int, ...]) -> None:
    options = network_options(name).model_validate({"name": name, "zero_head": True})
    assert isinstance(options, FixupResNetPreset)
    expanded = options.expanded()
    assert (expanded.block, expanded.depths, expanded.widths) == (block, depths, (64, 128, 256, 512))
    assert expanded.stem == "imagenet"
    assert expanded.zero_head


def test_ri_depends_on_its_seed_and_on_nothing_else() -> None:
    one = state(random_init(SMALL, 5, 3, seed=3))
    torch.rand(7)
    assert same(one, state(random_init(SMALL, 5, 3, seed=3)))
    assert not same(one, state(random_init(SMALL, 5, 3, seed=4)))


def test_ri_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    random_init(SMALL, 5, 3, seed=3)
    assert torch.equal(torch.get_rng_state(), before)


def test_p_has_the_body_of_the_source_under_a_head_drawn_at_random() -> None:
    source = random_init(SMALL, 37, 3, seed=0)
    with torch.no_grad():
        for parameter in source.parameters():
            parameter.add_(0.25)
    source_state, ri = state(source), state(random_init(SMALL, 5, 3, seed=8))
    p = state(pretrained_init(SMALL, 5, 3, 8, source_state))
    assert p.keys() == ri.keys()
    for name, tensor in p.items():
        expected = ri if name.startswith("head.") else source_state
        assert torch.equal(tensor, expected[name]), name
    assert not same(p, state(pretrained_init(SMALL, 5, 3, 9, source_state))), "another seed, another head"


def test_weights_that_do_not_fit_are_named() -> None:
    source = state(random_init(SMALL, 5, 3, seed=0))
    del source["stem.bias.bias"]
    source["stage9.weight"] = torch.zeros(1)
    source["stem.conv.weight"] = torch.zeros(4, 1, 3, 3)
    with pytest.raises(TaskFailed) as caught:
        pretrained_init(SMALL, 5, 3, 0, source)
    assert str(caught.value) == (
        "the pre-trained weights don't fit the network: missing: stem.bias.bias; unexpected: stage9.weight; "
        "stem.conv.weight: shape (4, 1, 3, 3), expected (4, 3, 3, 3)"
    )


def test_options_that_do_not_fit_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="depths has 1 stages and widths 2"):
        FixupResNetOptions(depths=(1,), widths=(4, 6))
    with pytest.raises(ValueError, match="must all be at least 1"):
        FixupResNetOptions(depths=(1, 0), widths=(4, 6))


def test_an_unknown_network_is_named_with_the_nearest_one() -> None:
    with pytest.raises(BadInput, match=r"unknown network 'fixup_resnet51'. Did you mean 'fixup_resnet50'\?"):
        network_options("fixup_resnet51")
    with pytest.raises(BadInput, match="no network is known"):
        build(NetworkOptions(name="other"), 3)
