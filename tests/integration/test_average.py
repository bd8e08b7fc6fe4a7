"""`transferscope average` with files: what is written, and what is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from typer.testing import CliRunner

from transferscope.cli import app
from transferscope.core.config import Recipe
from transferscope.core.datasets import load
from transferscope.core.errors import BadInput
from transferscope.data.sets.rendered_digits import Options
from transferscope.models.build import FixupResNetOptions
from transferscope.models.init import random_init
from transferscope.train.loop import train

NETWORK = FixupResNetOptions(depths=(1,), widths=(8,))
SIZES = ["data.image_size_px=16", "data.train_size=80", "data.test_size=50"]
SHAPE = ["network.depths=[1]", "network.widths=[8]"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two short fine-tunings of one network, and that network."""
    folder = tmp_path_factory.mktemp("networks")
    data = load(Options(image_size_px=16, train_size=80, test_size=50))
    recipe = Recipe(epochs=3, batch_size=20, learning_rate=0.05, schedule="constant")
    made: dict[str, dict[str, Tensor]] = {}
    for seed, name in enumerate(("a", "b")):
        found = train(
            random_init(NETWORK, 10, 3, 0),
            data.train,
            data.test,
            recipe,
            normalization="per_image",
            seed=seed,
            device=torch.device("cpu"),
        )
        made |= {"init": found.checkpoints[0], name: found.checkpoints[3]}
    for name, state in made.items():
        save_file(state, folder / f"{name}.safetensors")
    return {name: folder / f"{name}.safetensors" for name in made}


def call(*arguments: object) -> str:
    done = CliRunner().invoke(
        app, ["average", *map(str, arguments)], catch_exceptions=False, standalone_mode=False
    )
    return done.output


def options(out: Path, *more: str) -> list[object]:
    sets = [part for text in (*SIZES, *SHAPE) for part in ("--set", text)]
    return ["--model", "fixup_resnet", "--data", "rendered_digits", "--out", out, *sets, *more]


def test_the_file_holds_the_mean_and_how_it_was_made(files: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "made" / "soup.safetensors"
    said = call(f"a={files['a']}", f"b={files['b']}", *options(out))
    a, b, found = (load_file(path) for path in (files["a"], files["b"], out))
    assert found.keys() == a.keys()
    for name, tensor in found.items():
        assert torch.allclose(tensor, (a[name] + b[name]) / 2, atol=1e-7), name
    assert f"written: {out}" in said.replace("\n", "")
    assert "average: accuracy" in said
    assert "on 20 held-out images" in said
    with safe_open(out, framework="pt") as file:
        facts = file.metadata()
    assert json.loads(facts["factors"]) == {"a": 0.5, "b": 0.5}
    assert set(json.loads(facts["files"])["a"]) == {"place", "sha256"}
    assert facts["how"] == "uniform"


def test_a_line_goes_from_the_init_to_the_network(files: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "line.safetensors"
    call(
        f"init={files['init']}",
        f"a={files['a']}",
        *options(out, "--how", "line", "--set", "instances.a.weights.allow_untrained=true"),
    )
    init, a, found = (load_file(path) for path in (files["init"], files["a"], out))
    with safe_open(out, framework="pt") as file:
        factors = json.loads(file.metadata()["factors"])
    assert sum(factors.values()) == pytest.approx(1)
    for name, tensor in found.items():
        expected = factors.get("init", 0) * init[name] + factors.get("a", 0) * a[name]
        assert torch.allclose(tensor, expected, atol=1e-6), name


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--how", "best"], "--how best: unknown. Valid: uniform, greedy, line"),
        (["--how", "line"], "expected init="),
        (["--held-out", "1"], "above 0 and below 1"),
    ],
)
def test_mistakes_are_named(files: dict[str, Path], tmp_path: Path, more: list[str], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        call(f"a={files['a']}", f"b={files['b']}", *options(tmp_path / "x.safetensors", *more))
    assert not list(tmp_path.iterdir())


def test_another_ending_is_refused(files: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"ends in \.safetensors"):
        call(f"a={files['a']}", f"b={files['b']}", *options(tmp_path / "soup.pt"))
