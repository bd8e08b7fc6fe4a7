"""The folder in which the commands of the documentation are run, and the names that its Python blocks use.

Everything that a page mentions as the reader's own is here, in small: folders of images, a study, a finished run,
weights, a module with a network.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny import EMPTY_FIGURE

from transferscope.cli import main

SIZE_PX = 16
CLASSES = ("bird", "cat", "dog")
WHOLE = re.compile(r"<<|^\s*(for|if|while)\b", re.MULTILINE)
"""Shell that can't be run line by line."""
SHELLS_OWN = re.compile(r"[|<>;&$`*]")
OWN_MODULE = '''"""A network of the reader's own."""

from torch import nn


def make(num_classes: int, channels: int = 3) -> nn.Module:
    stem = nn.Sequential(nn.Conv2d(channels, 8, 3, 2), nn.ReLU())
    block = nn.Sequential(nn.Conv2d(8, 8, 3, 2), nn.ReLU())
    return nn.Sequential(stem, block, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes))
'''


def study() -> dict[str, Any]:
    """The study that the reader has."""
    return {
        "name": "first",
        "network": {"name": "fixup_resnet", "depths": [1, 1], "widths": [4, 4]},
        "source": {
            "data": _folder("data/source"),
            "pretraining": {"epochs": 3, "learning_rate": 0.1, "keep_epochs": "all"},
        },
        "targets": {"my_target": {"data": _folder("data/target")}},
        "training": {"epochs": 2, "learning_rate": {"p_t": 0.05, "ri_t": 0.1}, "keep_epochs": "all"},
        "seeds": [0, 1],
        "analyses": {"parameter_distance": {}, "mistakes": {"bootstrap_draws": 200}},
        "variants": {"quick": {"analyses.mistakes.bootstrap_draws": 100}},
    }


def fill(folder: Path) -> None:
    """Everything but the finished run."""
    for name in ("data/source", "data/target", "photos"):
        _images(folder / name, random.Random(name))
    _table(folder / "scans")
    _films(folder / "films")
    (folder / "study.yaml").write_text(yaml.safe_dump(study(), sort_keys=False))
    (folder / "my_networks.py").write_text(OWN_MODULE)
    _weights(folder)


def follow(text: str, folder: Path) -> tuple[int, str]:
    """Do what a block of shell commands says, in `folder`; the exit code, and what was printed.

    Lines that are plain commands of this tool are given to its own entry point in this process, which has imported
    everything already; all else is run by bash. The first line that fails is the last.
    """
    lines = [text] if WHOLE.search(text) else text.replace("\\\n", " ").splitlines()
    printed = ""
    for line in lines:
        words = [] if SHELLS_OWN.search(line) else shlex.split(line, comments=True)
        if words and words[0] == "transferscope":
            code, said = _command(words)
        else:
            code, said = _bash(line, folder)
        printed += said
        if code:
            return code, printed
    return 0, printed


def _command(words: list[str]) -> tuple[int, str]:
    code: Any = 0
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(io.StringIO()) as said,
        contextlib.redirect_stderr(said),
    ):
        patch.setattr(sys, "argv", words)
        # pages say what figures show, not how they look: drawing takes as long as all the rest
        patch.setattr("transferscope.report.write.draw", lambda chart: EMPTY_FIGURE)
        # as many processes as cores: with one, all is computed in this process
        patch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
        try:
            main()
        except SystemExit as end:
            code = end.code
    return int(code or 0), said.getvalue()


def _bash(text: str, folder: Path) -> tuple[int, str]:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "EDITOR": f"cp {folder / '.edited.yaml'}",  # edits the study file to what the reader has
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, done.stdout + done.stderr


def names(folder: Path) -> dict[str, Any]:
    """What the Python blocks of a page may use without making it."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 14 * 14, 3))
    other = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 14 * 14, 3))
    images = torch.randn(12, 3, 16, 16)
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    away = {name: tensor + 0.1 for name, tensor in state.items()}
    return {
        "model": network,
        "model_a": network,
        "model_b": other,
        "state_a": state,
        "state_b": away,
        "init": away,
        "final": state,
        "images": images,
        "labels": torch.arange(12) % 3,
        "predicted_a": torch.arange(12) % 3,
        "predicted_b": torch.zeros(12, dtype=torch.long),
        "conv": network[0],
    }


def _folder(root: str) -> dict[str, Any]:
    return {"dataset": "imagefolder", "root": root, "image_size_px": SIZE_PX}


def _images(root: Path, chance: random.Random) -> None:
    from PIL import Image

    for split, count in (("train", 10), ("test", 4)):
        for position, label in enumerate(CLASSES):
            place = root / split / label
            place.mkdir(parents=True)
            for index in range(count):
                image = Image.new("RGB", (SIZE_PX, SIZE_PX), tuple(chance.randrange(256) for _ in range(3)))
                image.paste(
                    (255, 255, 255), (5 * position, 0, 5 * position + 5, chance.randrange(4, SIZE_PX))
                )
                image.save(place / f"{index}.png")


def _table(root: Path) -> None:
    """Images that a table lists, with patients."""
    _images(root, random.Random("scans"))
    lines = ["path,label,split,patient_id"]
    for number, path in enumerate(sorted(root.rglob("*.png"))):
        split, label, _ = path.relative_to(root).parts
        lines.append(f"{path.relative_to(root).as_posix()},{label},{split},{split}{number // 2}")
    (root / "labels.csv").write_text("\n".join(lines) + "\n")


def _films(root: Path) -> None:
    """DICOM files that a table lists, with two labels."""
    from pydicom import examples

    lines = ["path,edema,effusion,patient_id"]
    root.mkdir()
    film = examples.ct
    film.Rows = film.Columns = 24
    for number in range(20):
        film.PixelData = random.Random(number).randbytes(24 * 24 * 2)
        film.save_as(root / f"{number}.dcm")
        lines.append(f"{number}.dcm,{number % 2},{number // 2 % 2},p{number // 2}")
    (root / "labels.csv").write_text("\n".join(lines) + "\n")


def _weights(folder: Path) -> None:
    """Three networks after some steps of training: two instances and what they started from."""
    import torch
    from safetensors.torch import save_file

    made: dict[str, Any] = {}
    exec(OWN_MODULE, made)
    torch.manual_seed(0)
    network = made["make"](len(CLASSES))
    images = torch.randn(6, 3, SIZE_PX, SIZE_PX)
    labels = torch.arange(6) % len(CLASSES)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
    states = []
    for _ in range(9):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(images), labels).backward()
        optimizer.step()
        states.append({name: tensor.clone() for name, tensor in network.state_dict().items()})
    (folder / "weights").mkdir()
    save_file(states[-1], folder / "a.safetensors")
    torch.save(states[-4], folder / "b.pt")
    for name in ("imagenet.safetensors", "weights/p.safetensors"):
        save_file(states[2], folder / name)
