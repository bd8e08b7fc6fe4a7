"""Near duplicates between splits: copies saved anew are found, other images are not; hints at groups."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from transferscope.core.datasets import ImageSplit, load
from transferscope.data.files.name_groups import shared_groups
from transferscope.data.inspect.near_duplicates import near_duplicates, thumbnails
from transferscope.data.inspect.overview import conflicting_labels, scanned
from transferscope.study.dataset_text import dataset_from_text

SIDE = 32


def split(images: list[np.ndarray], name: str, labels: list[int] | None = None) -> ImageSplit:
    return ImageSplit(
        images=torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous(),
        labels=torch.tensor(labels or [0] * len(images)),
        ids=tuple(f"{name}/{number}" for number in range(len(images))),
    )


def photo(rng: np.random.Generator) -> np.ndarray:
    """A smooth image: coarse colours made larger, with a little noise."""
    coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC)).astype(float)
    return np.clip(smooth + rng.normal(0, 3, smooth.shape), 0, 255).astype(np.uint8)


def noise(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)


def jpeg(image: np.ndarray) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=80)
    return np.asarray(Image.open(io.BytesIO(file.getvalue())).convert("RGB"))


def found(train: ImageSplit, test: ImageSplit) -> dict[str, tuple[str, bool]]:
    pairs = near_duplicates(train, test, thumbnails(train.images), thumbnails(test.images))
    return {one.test: (one.train, one.mirrored) for one in pairs}


@pytest.mark.parametrize("kind", [photo, noise])
def test_copies_are_found_and_nothing_else(kind: object) -> None:
    rng = np.random.default_rng(0)
    known = [kind(rng) for _ in range(60)]  # type: ignore[operator]
    others = [kind(rng) for _ in range(60)]  # type: ignore[operator]
    darker = np.rint(known[2] * 0.7).astype(np.uint8)
    changed = [jpeg(known[0]), known[1][:, ::-1].copy(), darker, jpeg(known[3][:, ::-1].copy())]
    assert found(split(known, "train"), split([*changed, *others], "test")) == {
        "test/0": ("train/0", False),
        "test/1": ("train/1", True),
        "test/2": ("train/2", False),
        "test/3": ("train/3", True),
    }


def test_flat_images_are_not_compared() -> None:
    flat = [np.full((SIDE, SIDE, 3), level, np.uint8) for level in (0, 128, 255)]
    assert not found(split(flat, "train"), split(flat, "test"))


@pytest.mark.parametrize("name", ["letters", "handwritten_digits"])
def test_drawings_that_look_alike_are_others(name: str) -> None:
    data = load(dataset_from_text(name, ["train_size=200", "test_size=100"]))
    assert not found(data.train, data.test)


def test_one_image_with_two_labels() -> None:
    rng = np.random.default_rng(0)
    a, b, c = (noise(rng) for _ in range(3))
    splits = {"train": split([a, b, a], "train", [0, 1, 0]), "test": split([b, c, a], "test", [1, 0, 1])}
    scans = {name: scanned(one) for name, one in splits.items()}
    assert conflicting_labels(splits, scans) == [("train/0", "test/2")]


def test_names_of_groups_in_both_splits() -> None:
    train = [
        "train/sick/patient00012_1.png",
        "train/sick/00000013_000.png",
        "train/p07/study1/a.png",
        "train/well/0001.png",
    ]
    test = [
        "test/well/patient00012_2.png",
        "test/sick/00000013_001.png",
        "test/p07/study2/a.png",
        "test/well/0001.png",
    ]
    assert shared_groups(train, test) == ["00000013", "p07", "patient00012"]
    assert shared_groups(train, test, ["p07"]) == ["00000013", "patient00012"]
    assert shared_groups(["train/12", "train/cat/img_1.png"], ["test/12", "test/cat/img_1.png"]) == []
