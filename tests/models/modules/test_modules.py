"""The modules of networks of all families, found by themselves and named by hand."""

from __future__ import annotations

from typing import Any

import networks
import pytest
import torch
from torch import nn

from transferscope.core.errors import BadInput
from transferscope.models.build import build, modules_of, network_from_text
from transferscope.models.modules.find import HEAD, Module, find_modules, is_under

CLASSES = 7
TIMM = {
    "test_resnet": ["stem", "layer1.0", "layer2.0", "layer3.0", "layer4.0", "head"],
    "test_vit": ["stem", *(f"blocks.{i}" for i in range(6)), "norm", "head"],
    "test_convnext": [
        "stem",
        *("stages.0.blocks.0", "stages.1.blocks.0", "stages.1.blocks.1"),
        *(f"stages.2.blocks.{i}" for i in range(4)),
        *("stages.3.blocks.0", "stages.3.blocks.1", "norm", "head"),
    ],
    "test_efficientnet": ["stem", *(f"blocks.{i}.0" for i in range(1, 5)), "conv_head", "head"],
}
TORCHVISION = {
    "resnet18": ["stem", *(f"layer{i}.{j}" for i in range(1, 5) for j in range(2)), "head"],
    "mobilenet_v2": ["stem", *(f"features.{i}" for i in range(1, 19)), "head"],
    "vgg11": [
        "stem",
        *(f"features.{i}" for i in (3, 6, 8, 11, 13, 16, 18)),
        *("classifier.0", "classifier.3", "head"),
    ],
    "googlenet": [
        "stem",
        *(f"inception{i}" for i in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")),
        "head",
    ],
}


def check_division(model: nn.Module, modules: dict[str, Module]) -> None:
    """Every tensor in one module, every feature a submodule, the head last."""
    for name in model.state_dict():
        assert sum(is_under(name, module.prefixes) for module in modules.values()) == 1, name
    paths = dict(model.named_modules())
    assert all(module.output in paths for module in modules.values())
    assert list(modules)[-1] == HEAD


@networks.needs_timm
@pytest.mark.parametrize(
    ("text", "expected"),
    [(f"timm:{name}", modules) for name, modules in TIMM.items()]
    + [(f"torchvision:{name}", modules) for name, modules in TORCHVISION.items()],
)
def test_the_modules_of_known_networks(text: str, expected: list[str]) -> None:
    with torch.device("meta"):
        model = build(network_from_text(text), CLASSES, 3, 64)
    modules = find_modules(model, num_classes=CLASSES)
    assert list(modules) == expected
    check_division(model, modules)


@networks.needs_timm
def test_the_head_of_a_network_is_what_depends_on_the_classes() -> None:
    """An independent definition: the tensors whose shapes change with the number of classes."""
    texts = [f"timm:{name}" for name in (*TIMM, "test_nfnet", "test_mambaout", "test_maxvit")]
    texts += [f"torchvision:{name}" for name in TORCHVISION]
    for text in texts:
        with torch.device("meta"):
            one, other = (build(network_from_text(text), count, 3, 64) for count in (CLASSES, CLASSES + 1))
        shapes = {name: tensor.shape for name, tensor in other.state_dict().items()}
        depends = {name for name, tensor in one.state_dict().items() if shapes[name] != tensor.shape}
        head = find_modules(one, num_classes=CLASSES)[HEAD].prefixes
        assert {name for name in shapes if is_under(name, head)} == depends, text


def test_the_modules_of_a_fixup_network_are_its_children() -> None:
    model = build(network_from_text("fixup_resnet"), CLASSES)
    modules = find_modules(model, num_classes=CLASSES)
    assert modules == {name: Module((name,), name) for name, _ in model.named_children()}


def test_a_text_transformer() -> None:
    model = networks.TextTransformer(CLASSES)
    modules = find_modules(model, num_classes=CLASSES)
    assert list(modules) == ["stem", "encoder.layers.0", "encoder.layers.1", "norm", "head"]
    assert modules["stem"] == Module(("tokens", "places"), "tokens")
    check_division(model, modules)


def test_a_network_of_plain_layers() -> None:
    model = networks.Plain(CLASSES)
    modules = find_modules(model, num_classes=CLASSES)
    assert {name: module.prefixes for name, module in modules.items()} == {
        "stem": ("conv1", "norm1"),
        "conv2": ("conv2", "norm2"),
        "hidden": ("hidden",),
        "head": ("classifier",),
    }
    check_division(model, modules)


def test_a_network_inside_a_network() -> None:
    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))
            self.backbone = networks.TextTransformer(12)
            self.classifier = nn.Linear(12, CLASSES)

    modules = find_modules(Wrapped(), num_classes=CLASSES)
    assert list(modules) == [
        "stem",
        *(f"backbone.encoder.layers.{i}" for i in (0, 1)),
        "norm",
        "backbone.out",
        "head",
    ]
    assert modules["stem"].prefixes == ("backbone.tokens", "backbone.places", "scale")


@networks.needs_timm
def test_stages_are_blocks_of_one_list() -> None:
    with torch.device("meta"):
        model = build(network_from_text("timm:resnet18"), CLASSES, 3, 64)
    modules = find_modules(model, num_classes=CLASSES, choice="stages")
    assert list(modules) == ["stem", "layer1", "layer2", "layer3", "layer4", "head"]
    assert modules["layer2"] == Module(("layer2.0", "layer2.1"), "layer2.1")
    check_division(model, modules)


def test_the_users_own_names() -> None:
    model = networks.TextTransformer(CLASSES)
    choice = {"input": ["tokens", "places"], "block {}": "encoder.layers.*", "rest": "norm"}
    modules = find_modules(model, num_classes=CLASSES, choice=choice)
    assert list(modules) == ["input", "block 0", "block 1", "rest", "head"]
    assert modules["block 1"] == Module(("encoder.layers.1",), "encoder.layers.1")
    everything = {"head": ["norm", "out"], "body": ["tokens", "places", "encoder"]}
    assert list(find_modules(model, num_classes=CLASSES, choice=everything)) == ["body", "head"]


@pytest.mark.parametrize(
    ("choice", "problem"),
    [
        (
            {"input": "token"},
            "modules.input: nothing in the network is called 'token'. Did you mean 'tokens'?",
        ),
        (
            {"input": "tokens", "body": "encoder", "norm": "norm"},
            "modules leaves out places.weight. Give them to a module, as in rest: [places.weight].",
        ),
        (
            {"a": ["tokens", "places"], "b": ["places", "encoder", "norm"]},
            "modules gives tensors to several modules: places.weight (a, b).",
        ),
    ],
)
def test_patterns_that_do_not_fit_are_refused(choice: dict[str, Any], problem: str) -> None:
    with pytest.raises(BadInput) as caught:
        find_modules(networks.TextTransformer(CLASSES), num_classes=CLASSES, choice=choice)
    assert caught.value.problems == (problem,)


def test_a_network_without_a_head_is_refused() -> None:
    with pytest.raises(
        BadInput, match="the head of TextTransformer can't be found: no linear layer with 9 outputs"
    ):
        find_modules(networks.TextTransformer(CLASSES), num_classes=9)


def test_options_choose_the_modules() -> None:
    options = network_from_text("networks:Plain").model_copy(
        update={"modules": {"below": ["conv*", "norm*", "hidden"]}}
    )
    model = build(options, CLASSES, 3, 32)
    assert list(modules_of(options, model, CLASSES)) == ["below", "head"]
