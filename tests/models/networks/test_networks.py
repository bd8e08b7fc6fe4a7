"""Networks of timm, torchvision and the user: built from their options, and clear errors where they can't be."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import networks
import pytest
import torch
from torch import nn

from transferscope.core.errors import BadInput
from transferscope.core.options import NetworkOptions
from transferscope.models.build import build, network_from_text, network_options
from transferscope.models.init import random_init
from transferscope.models.networks.module import Module
from transferscope.models.weights.trial import try_network


def options(name: str, **fields: Any) -> NetworkOptions:
    return network_options(name).model_validate({"name": name, **fields})


@networks.needs_timm
@pytest.mark.parametrize(
    "text", ["timm:test_resnet", "timm:test_vit", "timm:test_convnext", "timm:test_efficientnet"]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_networks_of_timm_fit_the_images(text: str, channels: int) -> None:
    model = build(network_from_text(text), 5, channels, 32).eval()
    assert model(torch.rand(2, channels, 32, 32)).shape == (2, 5)


@networks.needs_timm
@pytest.mark.parametrize(
    "text", ["torchvision:mobilenet_v3_small", "torchvision:vit_b_16", "torchvision:googlenet"]
)
def test_networks_of_torchvision_fit_the_images(text: str) -> None:
    model = build(network_from_text(text), 5, 3, 64).train()
    assert model(torch.rand(2, 3, 64, 64)).shape == (2, 5)


@networks.needs_timm
def test_further_arguments_reach_the_network() -> None:
    timm = build(options("timm", model="test_resnet", arguments={"drop_rate": 0.25}), 5)
    assert timm.drop_rate == 0.25
    dropout = build(options("torchvision", model="mobilenet_v2", arguments={"dropout": 0.5}), 5)
    assert dropout.get_submodule("classifier.0").p == 0.5


@networks.needs_timm
def test_a_network_of_timm_depends_on_its_seed_alone() -> None:
    one, again, other = (
        random_init(network_from_text("timm:test_vit"), 5, 3, seed, 32).state_dict() for seed in (3, 3, 4)
    )
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


@networks.needs_timm
@pytest.mark.parametrize(
    ("text", "channels", "problem"),
    [
        ("timm:resnet19", 3, "timm has no model 'resnet19'. Did you mean 'resnet"),
        ("torchvision:resnet19", 3, "torchvision has no image classifier 'resnet19'. Did you mean 'resnet18'?"),
        ("torchvision:resnet18", 1, "take images of 3 channels, these have 1. Take the network"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_named(text: str, channels: int, problem: str) -> None:
    with pytest.raises(BadInput) as caught:
        build(network_from_text(text), 5, channels)
    assert problem in str(caught.value)


@networks.needs_timm
@pytest.mark.parametrize("name", ["timm", "torchvision"])
def test_arguments_that_a_network_refuses_are_shown(name: str) -> None:
    with pytest.raises(BadInput, match=f"{name} can't make 'resnet18' with .*colour"):
        build(options(name, model="resnet18", arguments={"colour": "red"}), 5)


@pytest.mark.parametrize("name", ["timm", "torchvision"])
def test_a_missing_package_is_named_with_its_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda module, *_: None if module == "torchvision" else find(module)
    )
    with pytest.raises(BadInput, match=r"pip install 'transferscope\[timm\]'"):
        build(options(name, model="resnet18"), 5)


@networks.needs_timm
def test_torchvision_is_imported_whatever_torch_it_was_built_for() -> None:
    code = (
        "from transferscope.models.networks.torchvision import import_torchvision\n"
        "import_torchvision('x')\n"
        "import timm, torchvision.transforms.v2\n"
        "assert import_torchvision('x').__version__"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_users_own_network() -> None:
    model = build(options("module", factory="networks:Plain", arguments={"width": 6}), 5, 1, 32)
    assert isinstance(model, networks.Plain)
    assert model.conv1.weight.shape == (6, 1, 3, 3)
    assert isinstance(
        build(network_from_text("networks:text_transformer"), 5, 1, 32), networks.TextTransformer
    )


def test_modules_in_the_current_directory_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_networks_here.py").write_text(
        "from torch import nn\n"
        "def make(num_classes, image_size_px):\n"
        "    return nn.Linear(image_size_px, num_classes)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    model = build(network_from_text("my_networks_here:make"), 5, 3, 8)
    assert isinstance(model, nn.Linear)
    assert (model.in_features, model.out_features) == (8, 5)


@pytest.mark.parametrize(
    ("factory", "arguments", "problem"),
    [
        (
            "no_such_module:make",
            {},
            "the module 'no_such_module' of the network's factory .* can't be imported",
        ),
        (
            "networks:Plan",
            {},
            "'networks' has no 'Plan', which the network's factory names. Did you mean 'Plain'",
        ),
        ("networks:NOT_CALLABLE", {}, "must be a function or a class, it is a int"),
        ("networks:Plain", {"depth": 3}, "was called with .*'depth': 3.* and raised TypeError"),
        ("networks:a_number", {}, "must give a torch.nn.Module, it gave int"),
    ],
)
def test_a_factory_that_does_not_work_is_refused(
    factory: str, arguments: dict[str, Any], problem: str
) -> None:
    with pytest.raises(BadInput, match=problem):
        build(options("module", factory=factory, arguments=arguments), 5)


def test_a_network_is_tried_before_it_is_trained() -> None:
    try_network(options("module", factory="networks:Plain"), 5, 1, 16)
    with pytest.raises(
        BadInput, match=r"into logits \(2, 5\); it gave a tuple. Wrap it in a module of your own"
    ):
        try_network(options("module", factory="networks:TwoOutputs"), 5, 3, 16)
    with pytest.raises(BadInput, match="it raised"):
        try_network(options("module", factory="networks:text_transformer"), 5, 3, 16)


def test_a_changed_file_is_another_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    file = tmp_path / "my_changing_networks.py"
    network = Module(factory="my_changing_networks:make")
    assert network.fingerprint() == ""
    file.write_text("a = 1\n")
    importlib.invalidate_caches()
    before = network.fingerprint()
    file.write_text("a = 2\n")
    assert len(before) == 64
    assert network.fingerprint() != before


@pytest.mark.parametrize(
    ("text", "name", "fields"),
    [
        ("timm:vit_tiny_patch16_224.augreg_in21k", "timm", {"model": "vit_tiny_patch16_224.augreg_in21k"}),
        ("torchvision:resnet18", "torchvision", {"model": "resnet18"}),
        ("package.module:factory", "module", {"factory": "package.module:factory"}),
        ("fixup_resnet50", "fixup_resnet50", {}),
    ],
)
def test_short_spellings(text: str, name: str, fields: dict[str, Any]) -> None:
    assert network_from_text(text) == options(name, **fields)


@pytest.mark.parametrize("text", ["timm:", "timm", "package.module:", "a b:c", "resnet50", ""])
def test_a_short_spelling_that_is_none(text: str) -> None:
    with pytest.raises(BadInput):
        network_from_text(text)


def test_options_with_mappings_have_a_hash_and_refuse_what_is_no_plain_data() -> None:
    one, same = (options("timm", model="x", arguments={"a": [1, 2], "b": {"c": None}}) for _ in range(2))
    assert hash(one) == hash(same)
    assert one == same
    assert one.model_dump(mode="json")["arguments"] == {"a": [1, 2], "b": {"c": None}}
    with pytest.raises(ValueError, match=r"value.a must be text, a number"):
        options("timm", model="x", arguments={"a": {1, 2}})
