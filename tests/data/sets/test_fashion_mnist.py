"""Fashion-MNIST's files: read, padded and resized, and what is said when they can't be used."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from transferscope.core import datasets as base
from transferscope.core.errors import BadInput
from transferscope.data.sets import fashion_mnist
from transferscope.data.sets.fashion_mnist import Options

RNG = np.random.Generator(np.random.PCG64(0))
IMAGES = {
    name: RNG.integers(0, 256, (count, 28, 28), dtype=np.uint8)
    for name, count in (("train", 80), ("t10k", 60))
}
LABELS = {name: (np.arange(len(images)) % 10).astype(np.uint8) for name, images in IMAGES.items()}
SIZES = {"train_size": 80, "test_size": 60}


def idx(array: np.ndarray) -> bytes:
    return bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in IMAGES:
        (tmp_path / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(IMAGES[name])))
        (tmp_path / f"{name}-labels-idx1-ubyte").write_bytes(idx(LABELS[name]))
    return tmp_path


def problems(root: Path, *, decode: bool = False, **fields: object) -> str:
    options = Options.model_validate({"root": root, **SIZES, **fields})
    with pytest.raises(BadInput) as caught:
        (fashion_mnist.load if decode else fashion_mnist.describe)(options)
    return str(caught.value)


def test_rows_are_those_of_the_files(root: Path) -> None:
    data = fashion_mnist.load(Options(root=root, train_size=60, test_size=60))
    for split, name in ((data.train, "train"), (data.test, "t10k")):
        rows = [int(one.partition("/")[2]) for one in split.ids]
        assert len(set(rows)) == 60
        assert split.labels.tolist() == LABELS[name][rows].tolist()
        assert np.array_equal(split.images[:, 0, 2:30, 2:30].numpy(), IMAGES[name][rows])
        assert torch.equal(split.images[:, 0], split.images[:, 2])
        border = split.images.clone()
        border[:, :, 2:30, 2:30] = 0
        assert not border.any()
    assert data.train.ids[0].startswith("train/")


def test_sizes_and_channels(root: Path) -> None:
    for side in (28, 33):
        options = Options(root=root, image_size_px=side, channels=1, **SIZES)
        assert fashion_mnist.load(options).test.images.shape == (60, 1, side, side)
        assert fashion_mnist.describe(options).channels == 1
    small = fashion_mnist.load(Options(root=root, image_size_px=14, resize="interpolate", **SIZES))
    assert small.train.images.shape == (80, 3, 14, 14)
    assert abs(small.train.images.float().mean() - 127.5) < 3
    same = fashion_mnist.load(Options(root=root, image_size_px=28, resize="interpolate", **SIZES))
    padded = fashion_mnist.load(Options(root=root, image_size_px=28, **SIZES))
    assert torch.equal(same.train.images, padded.train.images)
    with pytest.raises(ValidationError, match="image_size_px 20 is less than 28"):
        Options(root=root, image_size_px=20)


def test_no_files(tmp_path: Path) -> None:
    message = problems(tmp_path)
    assert "holds neither train-images-idx3-ubyte nor train-images-idx3-ubyte.gz" in message
    assert "Debian's package dataset-fashion-mnist" in message


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no IDX file of unsigned bytes"),
        (b"\x00\x00\x0d\x01" + bytes(4), "no IDX file of unsigned bytes: it begins with 00000d01"),
        (idx(LABELS["train"])[:6], "no IDX file"),
        (bytes((0, 0, 8, 4)) + b"\xff" * 16, "too large to be true"),
        (idx(LABELS["train"][:10]), "holds an array of (80, 28, 28) and"),
    ],
)
def test_files_that_are_no_labels(root: Path, content: bytes, said: str) -> None:
    (root / "train-labels-idx1-ubyte").write_bytes(content)
    assert said in problems(root)


@pytest.mark.parametrize(
    ("change", "said"), [(-3, "holds 77 bytes of data; its header says 80"), (3, "more bytes")]
)
def test_files_of_another_length(root: Path, change: int, said: str) -> None:
    content = idx(LABELS["train"]) + b"abc"
    (root / "train-labels-idx1-ubyte").write_bytes(content[: len(content) - 3 + change])
    assert said in problems(root, decode=True)


def test_a_truncated_gzip_file(root: Path) -> None:
    path = root / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-2000])
    assert "t10k-images-idx3-ubyte.gz can't be read" in problems(root, decode=True)


def test_a_label_out_of_range(root: Path) -> None:
    labels = LABELS["t10k"].copy()
    labels[[7, 8]] = 10, 255
    (root / "t10k-labels-idx1-ubyte").write_bytes(idx(labels))
    message = problems(root, decode=True)
    assert "2 image(s) with a label that can't be: " in message
    assert "test/7 (10, expected 0 to 9)" in message
    data = fashion_mnist.load(Options(root=root, on_bad="skip", **SIZES))
    assert data.left_out == {"bad_label": 2}
    assert not {"test/7", "test/8"} & set(data.test.ids)


def test_test_images_that_are_training_images_too(root: Path) -> None:
    images = IMAGES["t10k"].copy()
    images[3] = IMAGES["train"][5]
    (root / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
    message = problems(root, decode=True)
    assert "1 test image(s) that are training images too: test/3 (the same as train/5)" in message
    data = fashion_mnist.load(Options(root=root, on_bad="skip", **SIZES))
    assert data.left_out == {"duplicate": 1}
    assert len(data.test) == 59


def test_more_images_than_there_are(root: Path) -> None:
    assert "holds 80 images; train_size is 81. Lower it." in problems(root, train_size=81)


def test_the_real_files() -> None:
    """Where Debian's package is installed: counts of classes, and no image in both splits."""
    if not Options().root.is_dir():
        pytest.skip(f"the package dataset-fashion-mnist is not installed: no {Options().root}")
    data = base.load(Options(channels=1))
    assert torch.bincount(data.train.labels).tolist() == [6000] * 10
    assert torch.bincount(data.test.labels).tolist() == [1000] * 10
    assert data.left_out == {}
    # the first training image of the file is an ankle boot
    assert data.train.labels[data.train.ids.index("train/0")] == 9
