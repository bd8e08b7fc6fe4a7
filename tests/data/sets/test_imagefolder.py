"""Images in folders: how they are read, and what is said when they can't be."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from transferscope.core.errors import BadInput
from transferscope.data.sets import imagefolder
from transferscope.data.sets.imagefolder import Options

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
    options = Options.model_validate({"root": root, "image_size_px": 8, "keep_duplicates": True, **fields})
    with pytest.raises(BadInput) as caught:
        (imagefolder.load if decode else imagefolder.describe)(options)
    return str(caught.value)


def first_train_image(root: Path, **fields: object) -> Tensor:
    options = {"root": root, "image_size_px": 8, "keep_duplicates": True, **fields}
    data = imagefolder.load(Options.model_validate(options))
    return data.train.images[data.train.ids.index("train/cat/1.png")]


def test_classes_labels_and_ids(root: Path) -> None:
    write(root / "train" / "dog" / "2.jpg")
    (root / "train" / "dog" / "notes.txt").write_text("not an image")
    (root / "train" / "dog" / "._2.jpg").write_text("a leftover of macOS")
    options = Options(root=root, image_size_px=8, keep_duplicates=True)
    assert imagefolder.describe(options).class_names == ("cat", "dog")
    data = imagefolder.load(options)
    labels = dict(zip(data.train.ids, data.train.labels.tolist(), strict=True))
    assert labels == {"train/cat/1.png": 0, "train/dog/1.png": 1, "train/dog/2.jpg": 1}
    red = data.train.images[data.train.ids.index("train/cat/1.png")]
    assert red[:, 0, 0].tolist() == [255, 0, 0]


def test_crop_keeps_the_middle_and_pad_keeps_all(root: Path) -> None:
    image = Image.new("RGB", (24, 8), GREEN)
    image.paste(RED, (8, 0, 16, 8))
    image.save(root / "train" / "cat" / "1.png")
    assert (first_train_image(root) == torch.tensor(RED).view(3, 1, 1)).all()
    padded = first_train_image(root, resize="pad")
    assert padded[:, 0, 0].tolist() == [85, 170, 0]
    assert padded[1, 4, 0] > 240


def test_stretch_resizes_both_sides(root: Path) -> None:
    noise = torch.randint(256, (3, 20, 33), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    Image.fromarray(noise.permute(1, 2, 0).numpy()).save(root / "train" / "cat" / "1.png")
    stretched = first_train_image(root, resize="stretch").double()
    expected = torch.nn.functional.interpolate(
        noise[None].double(), (8, 8), mode="bicubic", antialias=True, align_corners=False
    )
    assert (stretched - expected[0].clamp(0, 255)).abs().max() <= 1.5, (
        "rounded between the two passes, and after"
    )


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
        imagefolder.load(
            Options(root=root, image_size_px=8, max_train_size=12, seed=seed, keep_duplicates=True)
        ).train
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
    assert "has 1 class folders with images; at least 2 are needed" in problems(tmp_path)


def test_no_test_images(root: Path) -> None:
    for name in ("cat", "dog"):
        (root / "test" / name / "1.png").unlink()
        (root / "test" / name).rmdir()
    assert "has no class folders; test images are needed" in problems(root)


def test_a_class_that_is_not_in_train(root: Path) -> None:
    write(root / "test" / "cats" / "1.png")
    message = problems(root)
    assert (
        "1 test image(s) of classes without training images: test/cats/1.png ('cats'. Did you mean" in message
    )
    assert "`on_bad: skip` leaves out all of these" in message
    skipped = Options(root=root, image_size_px=8, on_bad="skip", keep_duplicates=True)
    assert imagefolder.describe(skipped).left_out == {"class_not_in_train": 1}
    assert imagefolder.load(skipped).left_out == {"class_not_in_train": 1}


def test_an_empty_class(root: Path) -> None:
    (root / "train" / "emu").mkdir()
    assert "1 class(es) without images: train/emu (only .bmp, .dcm, .dicom, .jfif" in problems(root)
    assert imagefolder.describe(Options(root=root, on_bad="skip")).class_names == ("cat", "dog")


def test_images_of_formats_that_are_not_read_are_not_passed_over(root: Path) -> None:
    (root / "train" / "cat" / "2.GIF").write_bytes(b"II*\0")
    (root / "train" / "cat" / "notes.txt").write_text("no image")
    assert "1 file(s) that can't be decoded as an image: train/cat/2.GIF (only .bmp" in problems(root)
    skipped = imagefolder.load(Options(root=root, image_size_px=8, on_bad="skip", keep_duplicates=True))
    assert skipped.left_out == {"undecodable": 1}


def test_fewer_training_images_than_classes(tmp_path: Path) -> None:
    for name in "abc":
        write(tmp_path / "train" / name / "1.png")
        write(tmp_path / "test" / name / "1.png")
    assert "max_train_size is 2 and there are 3 classes" in problems(tmp_path, max_train_size=2)


def test_files_that_cannot_be_decoded_are_named_and_counted(root: Path) -> None:
    (root / "train" / "cat" / "2.png").write_text("not an image")
    whole = write(root / "test" / "dog" / "3.jpg", (64, 64)).read_bytes()
    (root / "test" / "dog" / "3.jpg").write_bytes(whole[: len(whole) // 2])
    message = problems(root, decode=True)
    assert (
        "2 file(s) that can't be decoded as an image: train/cat/2.png (not an image of the kinds" in message
    )
    assert "test/dog/3.jpg (" in message
    data = imagefolder.load(Options(root=root, image_size_px=8, on_bad="skip", keep_duplicates=True))
    assert data.left_out == {"undecodable": 2}
    assert sorted(data.train.ids) == ["train/cat/1.png", "train/dog/1.png"]


def test_a_file_is_of_the_format_of_its_content(root: Path) -> None:
    jpeg = write(root / "train" / "cat" / "2.jpg")
    jpeg.rename(root / "train" / "cat" / "2.png")
    write(root / "train" / "cat" / "3.png").rename(root / "train" / "cat" / "3.jpe")
    assert imagefolder.load(Options(root=root, image_size_px=8, keep_duplicates=True)).left_out == {}
    write(root / "train" / "cat" / "4.gif").rename(root / "train" / "cat" / "4.png")
    assert (
        "1 file(s) that can't be decoded as an image: train/cat/4.png (not an image of the kinds"
        in problems(root, decode=True)
    )


def test_formats_whose_readers_call_programs_are_not_opened(root: Path) -> None:
    (root / "train" / "cat" / "2.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n")
    assert "train/cat/2.png (not an image of the kinds BMP, JPEG, PNG, WEBP, DICOM, TIFF, NumPy)" in problems(
        root, decode=True
    )


def noise(path: Path, seed: int) -> Path:
    pixels = np.random.Generator(np.random.PCG64(seed)).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_test_images_that_are_training_images_too(root: Path) -> None:
    for number, (split, name) in enumerate((a, b) for a in ("train", "test") for b in ("cat", "dog")):
        noise(root / split / name / "1.png", number)
    noise(root / "train" / "cat" / "2.png", 7)
    noise(root / "test" / "dog" / "2.png", 7)
    noise(root / "test" / "dog" / "3.bmp", 7)  # the same pixels in another file
    message = problems(root, decode=True, keep_duplicates=False)
    assert "2 test image(s) that are training images too: " in message
    assert "test/dog/2.png (the same as train/cat/2.png)" in message
    assert "`keep_duplicates: true` keeps the duplicates" in message
    data = imagefolder.load(Options(root=root, image_size_px=8, on_bad="skip"))
    assert data.left_out == {"duplicate": 2}
    assert sorted(data.test.ids) == ["test/cat/1.png", "test/dog/1.png"]
    assert len(data.train) == 3
    kept = imagefolder.load(Options(root=root, image_size_px=8, keep_duplicates=True))
    assert len(kept.test) == 4
    assert kept.left_out == {}


def test_a_class_of_which_nothing_is_left_is_an_error_under_skip_too(root: Path) -> None:
    (root / "train" / "cat" / "1.png").write_text("not an image")
    message = problems(root, decode=True, on_bad="skip")
    assert "no training image is there of cat." in message
    assert "left out: 1 file(s) that can't be decoded as an image: train/cat/1.png" in message


def test_the_first_images_are_of_all_classes(root: Path) -> None:
    for number in range(2, 40):
        for name in ("cat", "dog"):
            write(root / "test" / name / f"{number}.png")
    labels = imagefolder.load(Options(root=root, image_size_px=8, keep_duplicates=True)).test.labels
    assert 5 < int(labels[:39].sum()) < 34


def test_the_evaluation_resize(root: Path) -> None:
    rng = np.random.Generator(np.random.PCG64(0))
    image = Image.fromarray(rng.integers(0, 256, (60, 90, 3), dtype=np.uint8))
    image.save(root / "train" / "cat" / "1.png")
    options = Options(root=root, image_size_px=28, resize="evaluation", keep_duplicates=True)
    data = imagefolder.load(options)
    # short side to 32, the middle 28 x 28 of 48 x 32
    expected = np.asarray(image.resize((48, 32), Image.Resampling.BILINEAR))[2:30, 10:38]
    got = data.train.images[data.train.ids.index("train/cat/1.png")]
    assert np.array_equal(got.permute(1, 2, 0).numpy(), expected)


@pytest.mark.parametrize("side", [10_000, 60_000])
def test_an_image_bomb(root: Path, side: int) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    (root / "train" / "cat" / "2.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IEND", b""))
    assert (
        "1 image(s) with an excessive number of pixels, as in files made to exhaust the memory: train/cat/2.png"
        in problems(root, decode=True)
    )


def test_links_are_followed_out_of_the_root_and_said(root: Path, tmp_path: Path) -> None:
    outside = write(tmp_path / "outside" / "bird" / "1.png")
    (root / "train" / "cat" / "2.png").symlink_to(outside)
    (root / "train" / "bird").symlink_to(outside.parent, target_is_directory=True)
    about = imagefolder.describe(Options(root=root))
    assert about.class_names == ("bird", "cat", "dog")
    assert about.num_train == 4
    assert any(note.startswith("2 images are reached by links that lead out of") for note in about.notes)


def test_a_link_to_a_folder_above_is_refused(root: Path) -> None:
    (root / "train" / "cat" / "again").symlink_to(root / "train", target_is_directory=True)
    assert "train/cat/again (a link that leads back to a folder above it)" in problems(root)
    skipped = imagefolder.describe(Options(root=root, on_bad="skip"))
    assert skipped.left_out == {"missing": 1}


def test_links_within_the_root_are_fine(root: Path) -> None:
    (root / "train" / "cat" / "2.png").symlink_to(root / "train" / "dog" / "1.png")
    assert imagefolder.describe(Options(root=root)).num_train == 3


def test_broken_links(root: Path) -> None:
    (root / "train" / "cat" / "2.png").symlink_to(root / "nothing.png")
    assert "1 listed image(s) that are not there: train/cat/2.png (No such file" in problems(root)


def test_links_in_a_circle(root: Path) -> None:
    (root / "train" / "cat" / "2.png").symlink_to(root / "train" / "cat" / "2.png")
    assert "train/cat/2.png (Too many levels of symbolic links" in problems(root)


def test_many_problems_are_counted(root: Path) -> None:
    for number in range(30):
        (root / "train" / f"empty{number:02d}").mkdir()
    assert "30 class(es) without images: train/empty00" in problems(root)
    assert ".webp are read) and 25 more." in problems(root)


def test_the_fingerprint_is_of_names_labels_and_contents(root: Path) -> None:
    def fingerprint() -> str:
        return imagefolder.describe(Options(root=root)).fingerprint

    before = fingerprint()
    path = root / "train" / "cat" / "1.png"
    os.utime(path, (0, 0))
    assert fingerprint() == before, "small files are known by their contents"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    changed = fingerprint()
    path.rename(path.with_name("2.png"))
    assert len({before, changed, fingerprint()}) == 3


def test_the_fingerprint_of_large_files_is_of_their_times(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transferscope.data.files.image_list.SMALL_BYTES", 0)
    before = imagefolder.describe(Options(root=root)).fingerprint
    os.utime(root / "train" / "cat" / "1.png", (0, 0))
    assert imagefolder.describe(Options(root=root)).fingerprint != before
