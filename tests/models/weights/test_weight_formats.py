"""Files as training scripts and other libraries write them: what is read, what is refused, and with which remedy."""

from __future__ import annotations

import codecs
import io
import logging
import pickle
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file, save_model
from torch import Tensor, nn

from transferscope.api.compare import comparison_study
from transferscope.core.errors import BadInput
from transferscope.models.weights.files import read_state_dict
from transferscope.models.weights.given import match_state
from transferscope.models.weights.misfits import resampled_by_timm

SETTING = "instances.a.weights"


def network(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(OrderedDict(stem=nn.Linear(3, 5), fc=nn.Linear(5, 2)))


def is_same(state: dict[str, Tensor], model: nn.Module) -> bool:
    own = model.state_dict()
    return state.keys() == own.keys() and all(torch.equal(state[name], own[name]) for name in own)


def matched(path: Path, model: nn.Module, **options: Any) -> dict[str, Tensor]:
    return match_state(read_state_dict(path, None, SETTING), model, (), None, str(path), SETTING, **options)


class HyperParameters(dict):
    """Stands for a class that only the training script has."""


PLAIN = {
    "numpy number": np.float64(0.9),
    "numpy integer": np.int64(3),
    "numpy array": np.arange(3),
    "path": Path("pics"),
    "nested": {"data_dir": Path("pics"), "history": [np.float32(0.1), {"best": np.bool_(True)}]},
}


@pytest.mark.parametrize("kind", PLAIN)
@pytest.mark.parametrize("zipped", [True, False])
def test_plain_values_beside_the_weights(tmp_path: Path, kind: str, zipped: bool) -> None:
    model = network()
    content = {"state_dict": model.state_dict(), "hyper_parameters": PLAIN[kind]}
    torch.save(content, tmp_path / "p.pt", _use_new_zipfile_serialization=zipped)
    assert is_same(matched(tmp_path / "p.pt", model), model)


def test_lists_of_fastai(tmp_path: Path) -> None:
    model = network()
    pickled = b"cfastcore.foundation\nL\n)\x81}U\x05items]sb"  # of L([]), without fastcore
    plain = io.BytesIO()
    torch.save({"model": model.state_dict(), "opt": {"hypers": "HERE"}}, plain)
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(tmp_path / "p.pth", "w") as new:
        for item in old.infolist():
            content = old.read(item)
            if item.filename.endswith("data.pkl"):
                text = b"X\x04\x00\x00\x00HERE"
                start = content.index(text)
                rest = content[start + len(text) :]
                content = content[:start] + pickled + rest[2:]  # without the memo of the text
            new.writestr(item, content)
    assert is_same(matched(tmp_path / "p.pth", model), model)


class Encoded:
    def __init__(self, text: str, codec: str) -> None:
        self.arguments = text, codec

    def __reduce__(self) -> tuple[Any, ...]:
        return codecs.encode, self.arguments


@pytest.mark.parametrize("codec", ["idna", "IDNA", "punycode", "hex_codec", "unicode-escape"])
def test_text_is_not_encoded_by_any_codec(tmp_path: Path, codec: str) -> None:
    torch.save({"state_dict": network().state_dict(), "x": Encoded("a", codec)}, tmp_path / "p.pt")
    with pytest.raises(BadInput, match="encodes text"):
        read_state_dict(tmp_path / "p.pt")


def test_long_text_is_not_encoded_again_and_again(tmp_path: Path) -> None:
    text = "a" * 2**20
    torch.save({"x": [Encoded(text, "latin1") for _ in range(300)]}, tmp_path / "p.pt")
    with pytest.raises(BadInput, match="encodes text"):
        read_state_dict(tmp_path / "p.pt")


def test_objects_of_numpy_are_not_unpickled(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.mkdir, (tmp_path / "it ran",)

    torch.save({"state_dict": network().state_dict(), "x": np.array([Payload()])}, tmp_path / "p.pt")
    with pytest.raises(BadInput, match="was not loaded"):
        read_state_dict(tmp_path / "p.pt")
    assert not (tmp_path / "it ran").exists()


def test_averaged_weights_beside_the_last_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    last, averaged = network(0), network(1)
    content = {"epoch": 9, "arch": "x", "state_dict": last.state_dict(), "metric": 99.0}
    torch.save({**content, "state_dict_ema": averaged.state_dict()}, tmp_path / "model_best.pth.tar")
    with caplog.at_level(logging.WARNING, "transferscope"):
        assert is_same(matched(tmp_path / "model_best.pth.tar", last), last)
    assert "Took 'state_dict'; not taken: state_dict_ema." in caplog.text
    assert f"{SETTING}.entry=state_dict_ema" in caplog.text
    caplog.clear()
    chosen = read_state_dict(tmp_path / "model_best.pth.tar", "state_dict_ema", SETTING)
    assert is_same(chosen, averaged)
    assert not caplog.records


def test_several_state_dicts_are_a_choice_of_the_user(tmp_path: Path) -> None:
    both = {"student": network(0).state_dict(), "teacher": network(1).state_dict()}
    torch.save(both, tmp_path / "p.pt")
    with pytest.raises(BadInput, match=rf"student, teacher.*{SETTING}\.entry=student"):
        read_state_dict(tmp_path / "p.pt", None, SETTING)
    torch.save({"state": {"model": both["student"]}}, tmp_path / "p.pt")
    assert is_same(read_state_dict(tmp_path / "p.pt"), network(0))


class Wrapped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.model = network(5)


def test_a_wrapped_network_takes_the_file_of_the_plain_one(tmp_path: Path) -> None:
    for prefix in ("", "module.", "net."):
        state = {prefix + name: tensor for name, tensor in network().state_dict().items()}
        torch.save({"state_dict": state}, tmp_path / "p.pt")
        wrapped = matched(tmp_path / "p.pt", Wrapped())
        assert is_same({name.removeprefix("model."): tensor for name, tensor in wrapped.items()}, network())


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
        self.b.weight = self.a.weight


def test_tied_weights_are_completed(tmp_path: Path) -> None:
    model = Tied()
    save_model(model, str(tmp_path / "meta.safetensors"))
    assert is_same(read_state_dict(tmp_path / "meta.safetensors"), model)
    once = {name: tensor for name, tensor in model.state_dict().items() if name != "a.weight"}
    save_file(once, tmp_path / "bare.safetensors")
    assert is_same(matched(tmp_path / "bare.safetensors", Tied()), model)


def test_a_head_under_another_name_is_suggested(tmp_path: Path) -> None:
    model = network()
    model.fc = nn.Sequential(nn.Dropout(), nn.Linear(5, 2))
    torch.save(model.state_dict(), tmp_path / "p.pt")
    with pytest.raises(BadInput, match=r'instances\.a\.weights\.key_map=\{"\^fc\[\.\]1\[\.\]": "fc\."\}'):
        matched(tmp_path / "p.pt", network())
    given = read_state_dict(tmp_path / "p.pt")
    assert match_state(given, network(), (), {"^fc[.]1[.]": "fc."}, "")["fc.weight"].equal(model.fc[1].weight)


def test_integers_and_adapters_are_no_weights(tmp_path: Path) -> None:
    model = network()
    integers = {name: (100 * tensor).to(torch.int8) for name, tensor in model.state_dict().items()}
    torch.save(integers, tmp_path / "int8.pt")
    with pytest.raises(BadInput, match="quantized"):
        matched(tmp_path / "int8.pt", model)
    torch.save({"fc.lora_A.default.weight": torch.ones(2, 5), **model.state_dict()}, tmp_path / "lora.pt")
    with pytest.raises(BadInput, match="merge_and_unload"):
        matched(tmp_path / "lora.pt", model)


class Grid(nn.Module):
    """Stands for a vision transformer of timm: a patch embedding and positions."""

    def __init__(self, patch: int, positions: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, 4, patch)
        self.pos_embed = nn.Parameter(torch.ones(1, positions, 4))


def test_other_patches_are_refused_and_other_sizes_are_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def resample(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        own = model.state_dict()
        return {
            name: tensor if tensor.shape == own[name].shape else own[name] for name, tensor in state.items()
        }

    module = type("module", (), {"checkpoint_filter_fn": staticmethod(resample)})
    monkeypatch.setitem(__import__("sys").modules, "timm.models.grid", module)
    monkeypatch.setattr(Grid, "__module__", "timm.models.grid")
    state = Grid(16, 5).state_dict()
    with pytest.raises(BadInput, match=r"another patch size.*proj\.weight"):
        resampled_by_timm(state, Grid(8, 5), "p.pt")
    with caplog.at_level(logging.WARNING, "transferscope"):
        assert resampled_by_timm(state, Grid(16, 17), "p.pt")["pos_embed"].shape == (1, 17, 4)
    assert "pos_embed (1, 5, 4) to (1, 17, 4)" in caplog.text


def archive(path: Path, *names: str) -> None:
    with zipfile.ZipFile(path, "w") as zipped:
        for name in names:
            zipped.writestr(name, b"")


def write_formats(folder: Path) -> None:
    torch.jit.trace(network(), torch.zeros(1, 3)).save(str(folder / "jit.pt"))
    archive(folder / "net.pt2", "net/archive_format", "net/models/model.json", "net/data/weights/weight_0")
    np.savez(folder / "arrays.npz", a=np.zeros(3))
    archive(folder / "k.keras", "config.json", "model.weights.h5")
    for name, content in {
        "net.onnx": b"\x08\x07\x12\x07pytorch",
        "w.h5": b"\x89HDF\r\n\x1a\n" + bytes(40),
        "flax.msgpack": b"\x83\xa6params",
        "w.gguf": b"GGUF\x03\x00\x00\x00",
        "w.ckpt.index": bytes(40),
        "index.json": b'{"metadata": {}, "weight_map": {"fc.weight": "model-00001-of-00002.safetensors"}}',
        "adapter_model.safetensors": b"\x10\x00\x00\x00\x00\x00\x00\x00{}",
        "model-00002-of-00003.safetensors": b"\x10\x00\x00\x00\x00\x00\x00\x00{}",
        "net.pkl": pickle.dumps(network()),
    }.items():
        (folder / name).write_bytes(content)
    for name, inside in {
        "adapter": "adapter_config.json",
        "shards": "model.safetensors.index.json",
        "out": "model.bin",
        "saved": "saved_model.pb",
    }.items():
        (folder / name).mkdir()
        (folder / name / inside).write_text("{}")


REMEDIES = {
    "jit.pt": "TorchScript.*torch.jit.load",
    "net.pt2": r"torch\.export\.load",
    "arrays.npz": "NumPy",
    "k.keras": "Keras",
    "net.onnx": "ONNX",
    "w.h5": "HDF5",
    "flax.msgpack": "Flax",
    "w.gguf": "GGUF",
    "w.ckpt.index": "TensorFlow",
    "index.json": "index of a sharded checkpoint.*save_model",
    "adapter_model.safetensors": "adapter of PEFT.*merge_and_unload",
    "model-00002-of-00003.safetensors": "one of 3 files.*from_pretrained",
    "net.pkl": "was not loaded|is neither",
    "adapter": "adapter of PEFT.*merge_and_unload",
    "shards": "sharded checkpoint.*from_pretrained",
    "out": r"is a folder\. Give a file in it: model\.bin",
    "saved": "TensorFlow",
}


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_other_formats_are_named_with_a_remedy(tmp_path: Path) -> None:
    write_formats(tmp_path)
    for name, remedy in REMEDIES.items():
        with pytest.raises(BadInput, match=f"(?s){remedy}"):
            read_state_dict(tmp_path / name)


def test_networks_in_memory_are_saved_first() -> None:
    model: Any = network()
    with pytest.raises(BadInput) as caught:
        comparison_study(
            model=model, data="letters", instances={"a": model, "b": model.state_dict()}, init=model
        )
    assert [problem.partition(":")[0] for problem in caught.value.problems] == [
        "model",
        "instances.a",
        "instances.b",
        "init",
    ]
    assert "save_file(state_dict" in caught.value.problems[2]


def test_layers_without_effect_may_be_missing() -> None:
    model = network()
    given = {name: tensor + 1 for name, tensor in model.state_dict().items() if not name.startswith("fc.")}
    with pytest.raises(BadInput, match=r"2 missing: fc\.bias"):
        match_state(given, model, (), None, "x.pt")
    state = match_state(given, model, (), None, "x.pt", optional=("fc",))
    assert state["fc.weight"].equal(model.state_dict()["fc.weight"])


class Renamed(nn.Module):
    """As networks of transformers: its layer has another name in files."""

    def __init__(self, config: int) -> None:
        super().__init__()
        self.config, self.dtype = config, torch.float32
        self.layer, self.head = nn.Linear(config, 2), nn.Linear(2, 3)

    @classmethod
    def from_pretrained(cls, _: None, *, config: int, state_dict: dict[str, Tensor], **_options: Any) -> Any:
        names = {name: name.replace("old.", "layer.") for name in state_dict}
        model = cls(config)
        kept = {new: state_dict[old] for old, new in names.items() if new in model.state_dict()}
        mismatched = [(name, 0, 0) for name in kept if kept[name].shape != model.state_dict()[name].shape]
        for name, *_shapes in mismatched:
            del kept[name]
        found = model.load_state_dict(kept, strict=False)
        return model, {
            "missing_keys": set(found.missing_keys) - {name for name, *_ in mismatched},
            "unexpected_keys": {old for old, new in names.items() if new not in model.state_dict()},
            "mismatched_keys": mismatched,
        }


@pytest.mark.parametrize("wrapped", [False, True])
def test_names_in_files_of_transformers_are_those_of_its_networks(
    monkeypatch: pytest.MonkeyPatch, wrapped: bool
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", SimpleNamespace(PreTrainedModel=Renamed))
    model = nn.Sequential(OrderedDict(net=Renamed(4))) if wrapped else Renamed(4)
    given = {"old.weight": torch.rand(2, 4), "old.bias": torch.rand(2)}
    given |= {"head.weight": torch.rand(3, 2), "head.bias": torch.rand(3)}
    state = match_state(given, model, (), None, "x")
    prefix = "net." if wrapped else ""
    assert state[f"{prefix}layer.weight"].equal(given["old.weight"])
    assert state[f"{prefix}head.weight"].equal(given["head.weight"])
    lacking = {name: tensor for name, tensor in given.items() if name != "old.bias"}
    with pytest.raises(BadInput, match=r"1 missing: [\w.]*layer\.bias; 1 unexpected: [\w.]*more"):
        match_state({**lacking, "more": torch.rand(2)}, model, (), None, "x")
    with pytest.raises(BadInput, match=r"head\.bias \(4,\) instead of \(3,\)"):
        match_state({**given, "head.bias": torch.rand(4)}, model, (), None, "x")
