"""Weights that the user gives: read safely, fitted to the network by name, and known when they are untrained."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import networks
import pytest
import tiny
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from transferscope.core.config import Source, Weights
from transferscope.core.errors import BadInput
from transferscope.core.options import NetworkOptions
from transferscope.models.build import FixupResNetOptions, network_from_text
from transferscope.models.init import random_init
from transferscope.models.weights.files import read_state_dict
from transferscope.models.weights.given import given_network, mapped_names
from transferscope.study.file import load_study
from transferscope.study.plan import plan

PLAIN = network_from_text("networks:Plain")
FIXUP = FixupResNetOptions(depths=(1, 1), widths=(4, 6))


def trained(options: NetworkOptions, num_classes: int = 9, seed: int = 5, steps: int = 3) -> nn.Module:
    """A network after a few steps on noise."""
    model = random_init(options, num_classes, 3, seed, 32).train()
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(steps):
        images = torch.randn(16, 3, 32, 32, generator=generator)
        labels = torch.randint(num_classes, (16,), generator=generator)
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
    return model.eval()


def given(path: Path, options: NetworkOptions = PLAIN, **fields: Any) -> dict[str, Tensor]:
    return given_network(options, Weights(file=path, **fields), 4, 3, 32).state


def is_p(state: Mapping[str, Tensor], model: nn.Module, head: str = "classifier") -> bool:
    """Whether a state is the model's outside the head."""
    own = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith(head)}
    return all(torch.equal(state[name], tensor) for name, tensor in own.items())


WRAPPERS: dict[str, Any] = {
    "as it is": lambda state: state,
    "state_dict": lambda state: {"epoch": 3, "state_dict": state},
    "model beside an optimizer": lambda state: {"model": state, "optimizer": {"state": {}, "lr": 0.1}},
    "args of argparse": lambda state: {"args": argparse.Namespace(lr=0.1), "model": state},
    "only an average": lambda state: {"epoch": 3, "state_dict_ema": state},
    "data parallel": lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
    "compiled": lambda state: {f"_orig_mod.{name}": tensor for name, tensor in state.items()},
    "all of it": lambda state: {
        "checkpoint": 1,
        "model": {f"module._orig_mod.model.{name}": tensor for name, tensor in state.items()},
    },
    "a wrapper's own name for it": lambda state: {
        "state_dict": {f"feature_extractor.body.{name}": tensor for name, tensor in state.items()}
    },
    "torch's average": lambda state: {
        "n_averaged": torch.tensor(3),
        **{f"module.{name}": tensor for name, tensor in state.items()},
    },
    "half precision": lambda state: state,
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_state_dicts_are_found_whatever_is_around_them(tmp_path: Path, wrapper: str) -> None:
    model = trained(PLAIN)
    torch.save(WRAPPERS[wrapper](model.state_dict()), tmp_path / "p.pt")
    state = given(tmp_path / "p.pt")
    assert is_p(state, model)
    assert state["classifier.weight"].shape == (4, 8), "a head for other classes is drawn anew"


def test_safetensors_are_read_whatever_they_are_called(tmp_path: Path) -> None:
    model = trained(PLAIN)
    save_file({f"backbone.{name}": tensor for name, tensor in model.state_dict().items()}, tmp_path / "p.bin")
    assert is_p(given(tmp_path / "p.bin"), model)


def test_an_entry_can_be_named(tmp_path: Path) -> None:
    one, other = trained(PLAIN, seed=1), trained(PLAIN, seed=2)
    torch.save({"model": one.state_dict(), "runs": {"second": other.state_dict()}}, tmp_path / "p.pt")
    assert is_p(given(tmp_path / "p.pt"), one)
    assert is_p(given(tmp_path / "p.pt", entry="runs.second"), other)
    with pytest.raises(BadInput, match="has no entry 'third'"):
        given(tmp_path / "p.pt", entry="third")


class Payload:
    """What runs when it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.place),)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_that_would_run_code_is_refused_and_runs_none(tmp_path: Path, zipped: bool) -> None:
    torch.save(
        {"state_dict": trained(PLAIN).state_dict(), "best": Payload(tmp_path / "it ran")},
        tmp_path / "p.pt",
        _use_new_zipfile_serialization=zipped,
    )
    with pytest.raises(
        BadInput, match="was not loaded: it asks for more than tensors and plain values"
    ) as caught:
        read_state_dict(tmp_path / "p.pt")
    assert "save_model" in str(caught.value)
    assert not (tmp_path / "it ran").exists()
    torch.load(tmp_path / "p.pt", weights_only=False)
    assert (tmp_path / "it ran").exists(), "the payload is a real one"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 44\n", "git lfs pull"),
        (b"PK\x03\x04 no archive", "is neither"),
        (
            b"\x10\x00\x00\x00\x00\x00\x00\x00{ no header",
            "begins as a safetensors file does but can't be read",
        ),
        (b"some text, long enough to be read", "is neither|was not loaded"),
    ],
)
def test_what_is_no_weights_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    (tmp_path / "p.pt").write_bytes(content)
    with pytest.raises(BadInput, match=problem):
        read_state_dict(tmp_path / "p.pt")


def test_a_checkpoint_without_tensors_and_a_missing_file_are_said(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "loss": 0.1}, tmp_path / "p.pt")
    with pytest.raises(
        BadInput, match=r"no state dict of named tensors. There are 2 entries: 'epoch', 'loss'"
    ):
        read_state_dict(tmp_path / "p.pt")
    with pytest.raises(BadInput, match=r"no.pt can't be read: No such file"):
        read_state_dict(tmp_path / "no.pt")


def test_other_channels_are_told_with_the_option_that_changes_them(tmp_path: Path) -> None:
    state = trained(PLAIN).state_dict()
    first = next(name for name, tensor in state.items() if tensor.ndim == 4)
    torch.save({**state, first: state[first].sum(1, keepdim=True)}, tmp_path / "grey.pt")
    with pytest.raises(BadInput, match=r"with 1 channel, and these data have 3\..*`channels: 1`"):
        given(tmp_path / "grey.pt")


def test_all_that_does_not_fit_is_named_at_once(tmp_path: Path) -> None:
    state = trained(PLAIN).state_dict()
    state["extra.weight"] = state.pop("conv2.bias")
    state["hidden.weight"] = torch.zeros(3, 3)
    state["norm1.weight"][0] = torch.nan
    torch.save(state, tmp_path / "p.pt")
    with pytest.raises(BadInput) as caught:
        given(tmp_path / "p.pt")
    for part in (
        "1 missing: conv2.bias",
        "1 unexpected: extra.weight",
        "1 of another shape: hidden.weight (3, 3) instead of (8, 8)",
        "1 not finite: norm1.weight",
        "key_map",
    ):
        assert part in str(caught.value)


def test_of_two_networks_in_a_file_none_is_chosen(tmp_path: Path) -> None:
    model = trained(PLAIN)
    both = {
        f"{who}.{name}": tensor
        for who in ("encoder_q", "encoder_k")
        for name, tensor in model.state_dict().items()
    }
    torch.save(both, tmp_path / "p.pt")
    with pytest.raises(BadInput, match=r"unexpected: encoder_k\..*source.weights.key_map"):
        given(tmp_path / "p.pt")
    assert is_p(given(tmp_path / "p.pt", key_map={r"^encoder_q\.": "", "^encoder_k": None}), model)


def test_other_names_are_mapped(tmp_path: Path) -> None:
    model = trained(PLAIN)
    state = {name.replace("conv", "layers.c"): tensor for name, tensor in model.state_dict().items()}
    torch.save({**state, "queue": torch.zeros(3)}, tmp_path / "p.pt")
    assert is_p(given(tmp_path / "p.pt", key_map={r"^layers\.c(\d)": r"conv\1", "^queue$": None}), model)
    with pytest.raises(BadInput, match="makes 'a' of both 'a1' and 'a2'"):
        mapped_names({"a1": torch.zeros(1), "a2": torch.zeros(1)}, {r"a\d": "a"})


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({}, "give either file or hub"),
        ({"file": Path("a"), "hub": "b"}, "give either file or hub"),
        ({"hub": "default", "revision": "main"}, "revision belongs to"),
        ({"file": Path("a"), "key_map": {"(": ""}}, r"key_map: '\(' -> ''"),
        ({"file": Path("a"), "key_map": {"a": r"\2"}}, "invalid group reference"),
        ({"file": Path("a"), "key_map": {"a": 3}}, "must become text, or null"),
    ],
)
def test_what_weights_can_not_be(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Weights(**fields)


def test_a_source_is_trained_or_given() -> None:
    with pytest.raises(ValueError, match="data and pretraining missing"):
        Source()
    assert Source(weights=Weights(hub="default")).data is None


@pytest.mark.parametrize("options", [PLAIN, FIXUP], ids=["batch norm", "fixup"])
def test_new_networks_are_untrained_and_trained_ones_are_not(tmp_path: Path, options: NetworkOptions) -> None:
    path = tmp_path / "p.pt"
    for seed in range(100, 112):
        torch.save(random_init(options, 9, 3, seed, 32).state_dict(), path)
        with pytest.raises(BadInput, match=r"look untrained: .*allow_untrained: true"):
            given(path, options)
        torch.save(trained(options, seed=seed, steps=1).state_dict(), path)
        given(path, options)


def test_untrained_weights_can_be_allowed(tmp_path: Path) -> None:
    torch.save(random_init(PLAIN, 9, 3, 77, 32).state_dict(), tmp_path / "p.pt")
    found = given_network(PLAIN, Weights(file=tmp_path / "p.pt", allow_untrained=True), 4, 3, 32)
    assert found.untrained == ("stem", "conv2")


def test_a_network_into_which_half_was_loaded_is_noticed(tmp_path: Path) -> None:
    state = trained(FIXUP).state_dict()
    new = random_init(FIXUP, 9, 3, 123, 32).state_dict()
    torch.save({**state, **{name: new[name] for name in new if name.startswith("stage2")}}, tmp_path / "p.pt")
    with pytest.raises(BadInput, match="look untrained: stage2 is as a new network is drawn"):
        given(tmp_path / "p.pt", FIXUP)


def test_without_constants_all_tensors_decide(tmp_path: Path) -> None:
    options = network_from_text("networks:perceptron")
    path = tmp_path / "p.pt"
    for seed in range(6):
        torch.save(random_init(options, 9, 3, seed, 32).state_dict(), path)
        with pytest.raises(BadInput, match="look untrained: stem, 4"):
            given(path, options)
        torch.save(trained(options, seed=seed, steps=400).state_dict(), path)
        given(path, options)


@networks.needs_timm
def test_weights_of_another_image_size_are_fitted_as_timm_does(tmp_path: Path) -> None:
    options = network_from_text("timm:test_vit")
    model = random_init(options, 9, 3, 0, 64)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01)
    torch.save(model.state_dict(), tmp_path / "p.pt")
    state = given_network(options, Weights(file=tmp_path / "p.pt"), 4, 3, 32).state
    assert state["pos_embed"].shape[1] == 1 + (32 // 16) ** 2
    assert torch.equal(state["blocks.0.attn.qkv.weight"], model.state_dict()["blocks.0.attn.qkv.weight"])


@networks.needs_timm
@pytest.mark.parametrize(
    ("text", "hub", "problem"),
    [
        ("timm:test_vit", "no_tag", "timm has no weights 'no_tag' of test_vit"),
        ("torchvision:resnet18", "NO", "torchvision has no weights 'NO' of resnet18"),
        ("fixup_resnet", "default", "is no name of weights for the network 'fixup_resnet'"),
        (
            "timm:test_vit",
            "default",
            r"not in this machine's cache.*HF_HUB_OFFLINE is set.*hf download timm/test_vit",
        ),
        (
            "timm:test_vit",
            "hf-hub:some/where",
            r"hf download some/where model.safetensors; then copy the cache",
        ),
    ],
)
def test_published_weights_that_can_not_be_had(
    text: str, hub: str, problem: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import huggingface_hub.constants

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(BadInput, match=problem):
        given_network(network_from_text(text), Weights(hub=hub), 4, 3, 32)


@networks.needs_timm
def test_published_weights_in_the_cache_are_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub

    options = network_from_text("timm:test_resnet")
    model = trained(options, steps=1)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    asked: list[Any] = []

    def download(repository: str, file: str, revision: str | None) -> str:
        asked.append((repository, file, revision))
        return str(tmp_path / file)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    for hub, revision in (("hf-hub:an/other", "v2"), ("r160_in1k", None), ("default", None)):
        found = given_network(options, Weights(hub=hub, revision=revision), 4, 3, 32)
        assert is_p(found.state, model, head="fc.")
    assert asked == [
        ("an/other", "model.safetensors", "v2"),
        *[("timm/test_resnet.r160_in1k", "model.safetensors", None)] * 2,
    ]


@networks.needs_timm
def test_weights_of_torchvision_come_from_torchs_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    options = network_from_text("torchvision:mobilenet_v3_small")
    model = trained(options, steps=1)
    (tmp_path / "checkpoints").mkdir()
    torch.save(model.state_dict(), tmp_path / "checkpoints" / "mobilenet_v3_small-047dcff4.pth")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    found = given_network(options, Weights(hub="IMAGENET1K_V1"), 4, 3, 32)
    assert is_p(found.state, model, head="classifier.3")


def keys(folder: Path, **weights: Any) -> dict[str, str]:
    """Keys of the tasks of a small study with given weights, by title."""
    options = {"name": "module", "factory": "networks:Plain", "modules": weights.pop("modules", "blocks")}
    source = {"weights": {"file": str(folder / "p.pt"), **weights}}
    document = tiny.document("parameter_distance", network=options, source=source, seeds=[0, 1])
    path = tiny.write(folder / "study.yaml", document)
    return {task.title: task.key for task in plan(load_study(path)).graph}


def test_keys_follow_what_is_in_the_file(tmp_path: Path) -> None:
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "p.pt").write_bytes(b"weights")
    before = keys(tmp_path / "one")
    assert keys(tmp_path / "other") == before, "the place is not in the key"
    assert "weights p.pt" in before
    from_p = {title for title in before if " P-T " in title} | {"weights p.pt"}

    def changed(after: Mapping[str, str]) -> set[str]:
        return {title for title in before if after[title] != before[title] and "distance" not in title}

    assert changed(keys(tmp_path / "one", key_map={"a": "b", "b": "a"})) == from_p
    ordered = (
        keys(tmp_path / "one", key_map={"a": "b", "b": "a"}),
        keys(tmp_path / "one", key_map={"b": "a", "a": "b"}),
    )
    assert ordered[0]["weights p.pt"] != ordered[1]["weights p.pt"], "patterns are applied in order"
    (tmp_path / "one" / "p.pt").write_bytes(b"other weights")
    assert changed(keys(tmp_path / "one")) == from_p


def test_other_modules_train_nothing_anew(tmp_path: Path) -> None:
    (tmp_path / "p.pt").write_bytes(b"weights")
    before, after = keys(tmp_path), keys(tmp_path, modules={"body": ["conv*", "norm*", "hidden"]})
    measured = {title for title in before if title.startswith("parameter_distance")}
    assert {title for title in before if before[title] != after[title]} == measured
    with_head = keys(tmp_path, modules={"body": ["conv*", "norm*"], "head": ["hidden", "classifier"]})
    assert {title for title in before if before[title] == with_head[title]} == {
        title for title in before if title.startswith("data ")
    }
