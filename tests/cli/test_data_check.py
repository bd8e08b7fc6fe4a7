"""`transferscope data check`: counts, problems, contact sheets, exit codes."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from transferscope import cli
from transferscope.core.datasets import ImageSplit, load
from transferscope.data.files.decode import telling_of_decoded
from transferscope.data.inspect.contact_sheet import (
    COLUMNS,
    GAP_PX,
    LABEL_PX,
    LINE_PX,
    THUMBNAIL_PX,
    contact_sheet,
)
from transferscope.data.inspect.overview import overview, scanned
from transferscope.execute.progress.terminal import reading
from transferscope.study.dataset_text import dataset_from_text

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["transferscope", "data", "check", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return run


def noise(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.Generator(np.random.PCG64(seed)).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """5 cats and 3 dogs to train on, 2 of each to test on; a cat is in both, and another is there twice."""
    root = tmp_path / "photos"
    for number in range(4):
        noise(root / "train" / "cat" / f"{number}.png", number)
    noise(root / "train" / "cat" / "again.png", 0)
    for number in range(3):
        noise(root / "train" / "dog" / f"{number}.png", 10 + number)
    for number in range(2):
        noise(root / "test" / "cat" / f"{number}.png", 3 + 20 * number)
        noise(root / "test" / "dog" / f"{number}.png", 30 + number)
    return root


ARGUMENTS = ("imagefolder:photos", "--set", "image_size_px=16")


def test_what_it_holds(call: Call, photos: Path) -> None:
    code, out, _ = call(*ARGUMENTS, "--json", "--out", "look.png")
    assert code == 2
    found: dict[str, Any] = json.loads(out)["datasets"][0]
    assert found["class_names"] == ["cat", "dog"]
    assert (found["image_size_px"], found["channels"]) == (16, 3)
    train, test = found["splits"]["train"], found["splits"]["test"]
    assert (train["num_images"], train["counts"], train["num_duplicates"]) == (8, [5, 3], 1)
    assert train["prevalence"] == [5 / 8, 3 / 8]
    assert (test["num_images"], test["counts"], test["num_duplicates"]) == (4, [2, 2], 0)
    assert found["duplicates_between_splits"] == 1
    assert found["problem_counts"] == {"duplicate": 1}
    assert "test/cat/0.png (the same as train/cat/3.png)" in found["problems"][0]
    assert Path("look.png").read_bytes()[1:4] == b"PNG"


def test_the_policy_decides_the_exit_code(call: Call, photos: Path) -> None:
    code, out, _ = call(*ARGUMENTS)
    assert code == 2
    assert "problem: 1 test image(s) that are training images too: test/cat/0.png" in out
    assert "a study of these data stops at this" in out
    assert "contact sheet: imagefolder-sheet.png" in out
    assert Path("imagefolder-sheet.png").exists()
    code, out, _ = call(*ARGUMENTS, "--set", "on_bad=skip")
    assert code == 0
    assert "these images are left out of a study, and counted" in out
    code, out, _ = call(*ARGUMENTS, "--set", "keep_duplicates=true")
    assert code == 0
    assert "duplicates between train and test: 1" in out
    assert "problems: none" in out


def test_all_problems_at_once(call: Call, photos: Path) -> None:
    (photos / "train" / "dog" / "9.png").write_text("not an image")
    noise(photos / "test" / "emu" / "1.png", 50)
    code, out, _ = call(*ARGUMENTS)
    assert code == 2
    assert "problem: 1 file(s) that can't be decoded as an image: train/dog/9.png" in out
    assert "problem: 1 test image(s) of classes without training images: test/emu/1.png" in out
    assert "problem: 1 test image(s) that are training images too" in out


def test_what_cannot_be_used_at_all(call: Call) -> None:
    code, _, err = call("imagefolder:nowhere")
    assert code == 2
    assert "error: the root of the images, nowhere, does not exist" in err
    code, _, err = call("imagefoldr:nowhere")
    assert code == 2
    assert "Did you mean 'imagefolder'?" in err
    code, _, err = call(
        "letters", "--set", "train_size=50", "--set", "test_size=50", "--out", "/proc/no/x.png"
    )
    assert code == 2
    assert "can't write /proc/no/x.png" in err


STUDY = """
name: check
network: {name: fixup_resnet}
source: {data: {dataset: letters, train_size: 60, test_size: 50}, pretraining: {epochs: 1, learning_rate: 0.1}}
targets:
  films: {data: {dataset: radiographs, train_size: 60, test_size: 50}}
  again: {data: {dataset: letters, train_size: 60, test_size: 50}}
training: {epochs: 1, learning_rate: {p_t: 0.1, ri_t: 0.1}}
seeds: [0, 1]
analyses: {mistakes: null}
"""


def test_a_study_has_all_its_data_checked_once(call: Call, tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(STUDY)
    code, out, _ = call("study.yaml", "--out", "looks/sheet.png", "--set", "targets.films.data.train_size=70")
    assert code == 0
    assert "source (letters)" in out
    assert "films (radiographs)" in out
    assert "again (letters)" not in out
    assert "5 labels, several an image" in out
    assert sorted(path.name for path in Path("looks").iterdir()) == ["sheet-films.png", "sheet-source.png"]
    code, _, err = call("nothing.yaml")
    assert code == 2
    assert "nothing.yaml: no such file" in err


def split_of(images: torch.Tensor, labels: list[Any]) -> ImageSplit:
    return ImageSplit(
        images=images, labels=torch.tensor(labels), ids=tuple(str(number) for number in range(len(labels)))
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_the_sheet_shows_the_images_by_class(channels: int) -> None:
    rng = np.random.Generator(np.random.PCG64(0))
    images = torch.from_numpy(rng.integers(0, 256, (5, channels, 96, 96), dtype=np.uint8))
    png = contact_sheet(split_of(images, [1, 0, 1, 1, 2]), ["ant", "bee", "cow"], "insects")
    sheet = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    step = THUMBNAIL_PX + GAP_PX
    assert sheet.shape == (LINE_PX + 3 * step + GAP_PX, LABEL_PX + COLUMNS * step, 3)
    for row, members in enumerate(([1], [0, 2, 3], [4])):
        for column in range(COLUMNS):
            top, left = LINE_PX + row * step + GAP_PX, LABEL_PX + column * step
            shown = sheet[top : top + 96, left : left + 96]
            if column < len(members):
                expected = images[members[column]].permute(1, 2, 0).expand(-1, -1, 3).numpy()
                assert np.array_equal(shown, expected)
            else:
                assert (shown == 255).all()


def test_a_sheet_of_many_classes_and_of_findings() -> None:
    images = torch.zeros(30, 3, 8, 8, dtype=torch.uint8)
    many = contact_sheet(split_of(images, list(range(30))), [f"class {n} " * 9 for n in range(30)], "many")
    assert Image.open(io.BytesIO(many)).height == LINE_PX + 24 * (THUMBNAIL_PX + GAP_PX) + LINE_PX + GAP_PX
    labels = [[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]] * 10
    findings = contact_sheet(split_of(images, labels), ["one", "other"], "findings")
    assert Image.open(io.BytesIO(findings)).height == LINE_PX + 3 * (THUMBNAIL_PX + GAP_PX) + GAP_PX


def test_classes_that_are_called_by_numbers_come_by_their_value(call: Call, tmp_path: Path) -> None:
    images = torch.stack([torch.full((3, 8, 8), 60 * n, dtype=torch.uint8) for n in range(3)])
    in_order_of_text = contact_sheet(split_of(images, [0, 1, 2]), ["1", "10", "2"], "rooms")
    assert in_order_of_text == contact_sheet(split_of(images, [0, 2, 1]), ["1", "2", "10"], "rooms")
    own_order = contact_sheet(split_of(images, [0, 1, 2]), ["10", "1", "2"], "rooms")
    assert own_order != contact_sheet(split_of(images, [2, 0, 1]), ["1", "2", "10"], "rooms")

    for number, name in enumerate(("1", "10", "2")):
        noise(tmp_path / "rooms" / "train" / name / "a.png", number)
        noise(tmp_path / "rooms" / "test" / name / "a.png", 10 + number)
    where = ("imagefolder:rooms", "--set", "image_size_px=16", "--out", "look.png")
    code, out, _ = call(*where)
    assert code == 0
    rows = [line.strip("│ ").split(" ")[0] for line in out.splitlines() if "│" in line]
    printed = [first for first in rows if first.isdigit()]
    assert printed == ["1", "2", "10"]
    # the labels are those of torchvision's ImageFolder
    assert json.loads(call(*where, "--json")[1])["datasets"][0]["class_names"] == ["1", "10", "2"]


def test_names_in_letters_that_the_font_lacks() -> None:
    images = torch.zeros(3, 3, 8, 8, dtype=torch.uint8)
    drawn, plain = (
        contact_sheet(split_of(images, [0, 1, 2]), names, title)
        for names, title in (
            (["Blässhuhn", "蛙", "Ωmega"], "Vögel"),
            (["Blasshuhn", "class 1: ?", "class 2: ?mega"], "Vogel"),
        )
    )
    assert drawn == plain


def test_numbers_of_a_split() -> None:
    rng = np.random.Generator(np.random.PCG64(0))
    pixels = rng.integers(0, 256, (300, 3, 8, 8), dtype=np.uint8)
    pixels[7] = pixels[5]
    labels = rng.integers(0, 2, (300, 2)).astype(np.float32)
    split = ImageSplit(
        images=torch.from_numpy(pixels),
        labels=torch.from_numpy(labels),
        ids=(*(str(number) for number in range(299)), "298#2"),
    )
    split.images[299] = split.images[298]
    found = overview(split, 2, scanned(split))
    wide = pixels.transpose(1, 0, 2, 3).reshape(3, -1).astype(np.float64)
    np.testing.assert_allclose(found.mean, wide.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(found.std, wide.std(axis=1), rtol=1e-10)
    assert found.counts == tuple(labels.sum(axis=0))
    assert (found.num_images, found.num_repeats, found.num_duplicates) == (300, 1, 1)


def test_who_waits_is_told_how_many_images_are_decoded(photos: Path) -> None:
    told: list[tuple[int, int]] = []
    with telling_of_decoded(lambda done, count: told.append((done, count))):
        decoded = load(dataset_from_text(f"imagefolder:{photos}", ["image_size_px=8", "on_bad=skip"]))
    assert len(decoded.train) > 0
    starts = [place for place, (done, _) in enumerate(told) if done == 1]
    for start, end in zip(starts, [*starts[1:], len(told)], strict=True):
        part = told[start:end]
        assert part == [(number, len(part)) for number in range(1, len(part) + 1)]
    load(dataset_from_text(f"imagefolder:{photos}", ["image_size_px=8", "on_bad=skip"]))
    assert sum(count for done, count in told if done == 1) == len(told), "nobody is told afterwards"


def test_a_bar_on_a_terminal_and_nothing_elsewhere() -> None:
    for is_terminal in (True, False):
        text = io.StringIO()
        console = Console(file=text, force_terminal=is_terminal, width=100)
        with reading(console, "photos") as told:
            told(1, 2)
            told(2, 2)
        assert ("reading the images of photos" in text.getvalue()) == is_terminal
