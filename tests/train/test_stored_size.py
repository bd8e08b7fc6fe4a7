"""Training images that are stored larger than networks see them: crops, views, splits, and what is trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from transferscope.core.datasets import Description
from transferscope.core.runs import View
from transferscope.data.sets import imagefolder
from transferscope.execute.store.artifacts import read_data, write_data
from transferscope.train.augment import warp
from transferscope.train.held_out import hold_out

SIDE = 8
WHOLE = torch.tensor([[[1.0, 0, 0], [0, 1, 0]]])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(6):
                pixels = rng.integers(0, 256, (40, 30, 3), np.uint8)
                Image.fromarray(pixels).save(tmp_path / split / name / f"{number}.png")
    return tmp_path


def options(root: Path, **fields: object) -> imagefolder.Options:
    return imagefolder.Options.model_validate({"root": root, "image_size_px": SIDE, **fields})


def test_both_sizes_are_plain_readings(root: Path) -> None:
    data = imagefolder.load(options(root, stored_size_px=16))
    assert torch.equal(data.train.images, imagefolder.load(options(root)).train.images)
    larger = imagefolder.load(options(root, image_size_px=16)).train
    assert larger.ids == data.train.ids
    assert data.train.larger is not None
    assert torch.equal(data.train.larger, larger.images)
    assert data.test.larger is None
    for wrong in (17, 20):
        with pytest.raises(ValueError, match="a multiple of image_size_px, as 16"):
            options(root, stored_size_px=wrong)


def test_views_move_the_same_blocks_in_both(root: Path, tmp_path: Path) -> None:
    data = imagefolder.load(options(root, stored_size_px=16))
    (tmp_path / "stored").mkdir()
    write_data(tmp_path / "stored", data, Description(class_names=("cat", "dog"), image_size_px=SIDE))
    plain = read_data(tmp_path / "stored", View())
    assert plain.train.larger is not None
    assert data.train.larger is not None
    assert torch.equal(plain.train.larger, data.train.larger)
    shown = read_data(tmp_path / "stored", View(kind="blocks", block_size_px=4, seed=3)).train
    assert shown.larger is not None
    small = [block(shown.images, n, 4) for n in range(4)]
    large = [block(shown.larger, n, 8) for n in range(4)]
    before = [block(data.train.images, n, 4) for n in range(4)]
    before_larger = [block(data.train.larger, n, 8) for n in range(4)]
    for n in range(4):
        source = next(k for k in range(4) if torch.equal(small[n], before[k]))
        assert torch.equal(large[n], before_larger[source])
    assert read_data(tmp_path / "stored", View(kind="pixels_and_channels", seed=3)).train.larger is None


def block(images: torch.Tensor, number: int, size: int) -> torch.Tensor:
    row, column = divmod(number, 2)
    return images[:, :, row * size : (row + 1) * size, column * size : (column + 1) * size]


@pytest.mark.parametrize("times", [2, 4])
def test_a_warp_without_a_crop_is_the_mean_of_the_pixels(times: int) -> None:
    images = torch.randint(256, (3, 2, times * SIDE, times * SIDE), dtype=torch.uint8)
    expected = images.double().view(3, 2, SIDE, times, SIDE, times).mean((3, 5))
    found = warp(images, WHOLE.repeat(3, 1, 1), SIDE)
    assert found.shape == (3, 2, SIDE, SIDE)
    assert (found.double() - expected).abs().max() <= 0.5 + 1e-4


def test_a_crop_of_half_the_side_has_the_pixels_of_the_larger_image() -> None:
    images = torch.randint(256, (1, 3, 2 * SIDE, 2 * SIDE), dtype=torch.uint8)
    theta = torch.tensor([[[0.5, 0, -0.5], [0, 0.5, -0.5]]])  # the upper left quarter
    assert torch.equal(warp(images, theta, SIDE), images[:, :, :SIDE, :SIDE])


def test_held_out_images_keep_both_sizes(root: Path) -> None:
    train = imagefolder.load(options(root, stored_size_px=16)).train
    assert train.larger is not None
    for part in hold_out(train, 0.34):
        rows = [train.ids.index(id_) for id_ in part.ids]
        assert part.larger is not None
        assert torch.equal(part.larger, train.larger[rows])


def test_only_augmentation_looks_at_the_larger_images(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transferscope.train import loop

    split = imagefolder.load(options(root, stored_size_px=16)).train
    for augmentation, side in (("none", SIDE), ("crop_and_flip", 16)):
        seen = _training_images(loop, split, augmentation)
        assert seen.shape[-1] == side


def _training_images(loop: object, split: object, augmentation: str) -> torch.Tensor:
    from transferscope.core.runs import Recipe
    from transferscope.train.ranks import ALONE

    recipe = Recipe.model_validate(
        {"epochs": 1, "batch_size": 4, "learning_rate": 0.1, "augmentation": augmentation}
    )
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 2))
    training = loop._Training(  # type: ignore[attr-defined]
        model, split, recipe, None, "unit", 0, torch.device("cpu"), ALONE
    )
    rows = torch.arange(4)
    training._stepper.step(
        training._images, training._labels, rows, 0
    )  # 3 * SIDE * SIDE inputs, or it raises
    return training._images
