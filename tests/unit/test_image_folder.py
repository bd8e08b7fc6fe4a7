"""Images in folders: how they are read, and what is said when they can't be."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from transferscope.datasets import image_folder
from transferscope.datasets.image_folder import Options
from transferscope.errors import BadInput

RED, GREEN = (255, 0, 0), (0, 255, 0)


def write(path: Path, size: tuple[int, int] = (12, 12), colour: tuple[int, int, int] = RED) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            write(tmp_path / "images" / split / name / "1.png")
    return tmp_path / "images"


def problems(root: Path, *, decode: bool = False, **fields: object) -> str:
    options = Options.model_validate({"root": root, "image_size_px": 8, **fields})
    with pytest.raises(BadInput) as caught:
        (image_folder.load if decode else image_folder.describe)(options)
    return str(caught.value)


def first_train_image(root: Path, **fields: object) -> Tensor:
    data = image_folder.load(Options.model_validate({"root": root, "image_size_px": 8, **fields}))
    return data.train.images[0]


def test_classes_labels_and_ids(root: Path) -> None:
    write(root / "train" / "dog" / "2.jpg")
    (root / "train" / "dog" / "notes.txt").write_text("not an image")
    (root / "train" / "dog" / "._2.jpg").write_text("a leftover of macOS")
    options = Options(root=root, image_size_px=8)
    assert image_folder.describe(options).class_names == ("cat", "dog")
    data = image_folder.load(options)
    assert data.train.ids == ("train/cat/1.png", "train/dog/1.png", "train/dog/2.jpg")
    assert data.train.labels.tolist() == [0, 1, 1]
    assert data.train.images[0, :, 0, 0].tolist() == [255, 0, 0]


def test_crop_keeps_the_middle_and_pad_keeps_all(root: Path) -> None:
    image = Image.new("RGB", (24, 8), GREEN)
    image.paste(RED, (8, 0, 16, 8))
    image.save(root / "train" / "cat" / "1.png")
    assert (first_train_image(root) == torch.tensor(RED).view(3, 1, 1)).all()
    padded = first_train_image(root, resize="pad")
    assert padded[:, 0, 0].tolist() == [85, 170, 0]
    assert padded[1, 4, 0] > 240


def test_the_cameras_rotation_is_undone(root: Path) -> None:
    image = Image.new("RGB", (8, 8), GREEN)
    image.paste(RED, (0, 0, 8, 4))
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    image.save(root / "train" / "cat" / "1.png", exif=exif)
    assert first_train_image(root)[:, 7, 0].tolist() == list(RED)


def test_transparency_becomes_white_and_16_bits_are_scaled(root: Path) -> None:
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(root / "train" / "cat" / "1.png")
    assert (first_train_image(root) == 255).all()
    Image.fromarray(np.full((8, 8), 0x8080, dtype=np.uint16)).save(root / "train" / "cat" / "1.png")
    assert (first_train_image(root) == 0x80).all()


def test_the_maximum_is_even_over_classes_and_differs_by_seed(root: Path) -> None:
    for number in range(2, 30):
        write(root / "train" / "dog" / f"{number}.png")
    for number in range(2, 5):
        write(root / "train" / "cat" / f"{number}.png")
    chosen = [
        image_folder.load(Options(root=root, image_size_px=8, max_train_size=12, seed=seed)).train
        for seed in (0, 0, 1)
    ]
    assert torch.bincount(chosen[0].labels).tolist() == [4, 8]
    assert chosen[0].ids == chosen[1].ids != chosen[2].ids


def test_no_root(tmp_path: Path) -> None:
    assert "nowhere, does not exist. Expected: <root>/train/<class>/<image>" in problems(tmp_path / "nowhere")
    assert "is not a folder" in problems(write(tmp_path / "a.png"))


def test_no_train_or_test(tmp_path: Path) -> None:
    (tmp_path / "Train").mkdir()
    assert "no folder named train and none named test; its folders: Train." in problems(tmp_path)


def test_one_class(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write(tmp_path / split / "cat" / "1.png")
    assert "has 1 class folders; at least 2 are needed" in problems(tmp_path)


def test_no_test_images(root: Path) -> None:
    for name in ("cat", "dog"):
        (root / "test" / name / "1.png").unlink()
        (root / "test" / name).rmdir()
    assert "has no class folders; test images are needed" in problems(root)


def test_a_class_that_is_not_in_train(root: Path) -> None:
    write(root / "test" / "cats" / "1.png")
    assert "'cats' is in test but not in train. Did you mean 'cat'? Add train/cats" in problems(root)


def test_an_empty_class(root: Path) -> None:
    (root / "train" / "cat" / "1.png").unlink()
    assert "cat holds no images. Put some directly in it (.bmp, .jpeg" in problems(root)


def test_fewer_training_images_than_classes(tmp_path: Path) -> None:
    for name in "abc":
        write(tmp_path / "train" / name / "1.png")
        write(tmp_path / "test" / name / "1.png")
    assert "max_train_size is 2 and there are 3 classes" in problems(tmp_path, max_train_size=2)


def test_files_that_cannot_be_decoded_are_all_named(root: Path) -> None:
    (root / "train" / "cat" / "2.png").write_text("not an image")
    whole = write(root / "test" / "dog" / "3.jpg", (64, 64)).read_bytes()
    (root / "test" / "dog" / "3.jpg").write_bytes(whole[: len(whole) // 2])
    message = problems(root, decode=True)
    assert "2.png can't be decoded as an image" in message
    assert "3.jpg can't be decoded as an image" in message


@pytest.mark.parametrize("side", [10_000, 60_000])
def test_an_image_bomb(root: Path, side: int) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    (root / "train" / "cat" / "2.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IEND", b""))
    assert "2.png has more than" in problems(root, decode=True)


def test_links_that_leave_the_root(root: Path, tmp_path: Path) -> None:
    outside = write(tmp_path / "outside" / "bird" / "1.png")
    (root / "train" / "cat" / "2.png").symlink_to(outside)
    (root / "train" / "bird").symlink_to(outside.parent, target_is_directory=True)
    message = problems(root)
    assert "2.png is a link that leads out of" in message
    assert "bird is a link that leads out of" in message


def test_broken_links(root: Path) -> None:
    (root / "train" / "cat" / "2.png").symlink_to(root / "nothing.png")
    assert "2.png is not a file" in problems(root)


def test_links_in_a_circle(root: Path) -> None:
    (root / "train" / "cat" / "2.png").symlink_to(root / "train" / "cat" / "2.png")
    assert "2.png" in problems(root)


def test_many_problems_are_counted(root: Path) -> None:
    for number in range(30):
        (root / "train" / f"empty{number:02d}").mkdir()
    message = problems(root)
    assert len(message.splitlines()) == 21
    assert "and 10 more problems" in message
