"""The pixels that reach the network, for every mode and format, beside a plain reading with Pillow and NumPy."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from transferscope.core.datasets import describe, load
from transferscope.core.errors import BadInput
from transferscope.data.sets import imagefolder

SIDE = 16


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def write(root: Path, content: bytes, suffix: str) -> None:
    """The image as train/cat/0, among others."""
    for seed, split in enumerate(("train", "test")):
        for name in ("cat", "dog"):
            (root / split / name).mkdir(parents=True)
            noise = rng(90 + seed + 2 * (name == "cat")).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
            Image.fromarray(noise).save(root / split / name / "1.png")
    (root / "train" / "cat" / f"0{suffix}").write_bytes(content)


def read(root: Path, name: str, **fields: Any) -> np.ndarray:
    """(side, side, 3) of one training image."""
    options = {"root": root, "image_size_px": SIDE, "keep_duplicates": True, **fields}
    data = load(imagefolder.Options.model_validate(options))
    split = data.train if name.startswith("train") else data.test
    return split.images[split.ids.index(name)].permute(1, 2, 0).numpy()


def saved(image: Image.Image, kind: str, **how: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **how)
    return out.getvalue()


def on_white(rgba: np.ndarray) -> np.ndarray:
    """alpha * colour + (1 - alpha) * white."""
    alpha = rgba[..., 3:].astype(float) / 255
    return alpha * rgba[..., :3] + (1 - alpha) * 255


def palette_image(transparent: int | None) -> tuple[Image.Image, np.ndarray]:
    colours = rng(1).integers(0, 256, (256, 3), dtype=np.uint8)
    places = rng(2).integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
    image = Image.fromarray(places, "L")
    image.putpalette(colours.tobytes())
    plain = colours[places].astype(float)
    if transparent is not None:
        image.info["transparency"] = transparent
        plain[places == transparent] = 255
    return image, plain


def cases() -> dict[str, tuple[Image.Image, str, dict[str, Any], np.ndarray, float]]:
    """Image, format, how it is saved, the plain reading, and by how many grey levels they may differ."""
    grey = rng(3).integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
    rgba = rng(4).integers(0, 256, (SIDE, SIDE, 4), dtype=np.uint8)
    la = rgba[..., [0, 3]]
    bits = grey > 127
    wide = rng(5).integers(0, 65536, (SIDE, SIDE)).astype(np.uint16)
    wide[0, :2] = 0, 65535
    cmyk = np.kron(rng(6).integers(0, 256, (2, 2, 4), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))
    opaque, transparent = palette_image(None), palette_image(7)
    grey_rgb = np.repeat(grey[..., None], 3, 2)
    keyed = rgba[..., :3].copy()
    keyed[3:9, 2:5] = (10, 20, 30)
    keyed_plain = keyed.astype(float)
    keyed_plain[(keyed == (10, 20, 30)).all(-1)] = 255
    as_rgb = np.repeat(wide[..., None] / 257, 3, 2)
    return {
        "1": (Image.fromarray(bits), "PNG", {}, np.repeat(bits[..., None] * 255.0, 3, 2), 0),
        "1 bmp": (Image.fromarray(bits), "BMP", {}, np.repeat(bits[..., None] * 255.0, 3, 2), 0),
        "L": (Image.fromarray(grey), "PNG", {}, grey_rgb, 0),
        "L transparent": (
            Image.fromarray(grey), "PNG", {"transparency": int(grey[0, 0])},
            np.where(grey_rgb == grey[0, 0], 255, grey_rgb), 0,
        ),
        "L webp": (Image.fromarray(grey), "WEBP", {"lossless": True}, grey_rgb, 0),
        "LA": (Image.fromarray(la), "PNG", {}, on_white(la[..., [0, 0, 0, 1]]), 1),
        "P": (opaque[0], "PNG", {}, opaque[1], 0),
        "P transparent": (transparent[0], "PNG", {"transparency": 7}, transparent[1], 0),
        "RGB": (Image.fromarray(keyed), "PNG", {}, keyed, 0),
        "RGB transparent": (Image.fromarray(keyed), "PNG", {"transparency": (10, 20, 30)}, keyed_plain, 0),
        "RGBA": (Image.fromarray(rgba), "PNG", {}, on_white(rgba), 1),
        "RGBA webp": (Image.fromarray(rgba), "WEBP", {"lossless": True, "exact": True}, on_white(rgba), 1),
        "I;16": (Image.fromarray(wide), "PNG", {}, as_rgb, 0.5),
        # the plain reading of CMYK is the product of its inks; the colours of a JPEG file are rounded
        "CMYK": (
            Image.fromarray(cmyk, "CMYK"), "JPEG", {"quality": 100},
            (255.0 - cmyk[..., :3]) * (255.0 - cmyk[..., 3:]) / 255, 6,
        ),
    }  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*mode.*parameter:DeprecationWarning")
@pytest.mark.parametrize("name", list(cases()))
def test_files_of_every_mode(tmp_path: Path, name: str) -> None:
    image, kind, how, plain, tolerance = cases()[name]
    write(tmp_path, saved(image, kind, **how), f".{kind.lower()}")
    got = read(tmp_path, f"train/cat/0.{kind.lower()}")
    assert np.abs(got - plain).max() <= tolerance


def write_deep(root: Path, make: Any, splits: dict[str, int]) -> dict[str, np.ndarray]:
    """16-bit images of each split, in two classes, and their values by id."""
    values = {}
    for split, count in splits.items():
        for name in ("normal", "sick"):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                grey = make(rng(len(values)), split).astype(np.uint16)
                Image.fromarray(grey).save(root / split / name / f"{number}.png")
                values[f"{split}/{name}/{number}.png"] = grey
    return values


SPLITS = {"train": 3, "test": 2}


@pytest.mark.parametrize(
    ("low", "high"),
    [(0, 4095), (0, 1023), (0, 16383), (32768 - 1000, 32768 + 400), (100, 300)],
    ids=["12 bits", "10 bits", "14 bits", "Hounsfield units", "a few levels"],
)
def test_a_narrow_range_in_16_bits_is_spread(tmp_path: Path, low: int, high: int) -> None:
    values = write_deep(tmp_path, lambda random, _: random.integers(low, high + 1, (SIDE, SIDE)), SPLITS)
    train = np.stack([grey for name, grey in values.items() if name.startswith("train")]).astype(float)
    black, white = train.min(), train.max()
    for name, grey in values.items():
        plain = np.clip((grey - black) * 255 / (white - black), 0, 255)
        assert np.abs(read(tmp_path, name)[..., 1] - plain).max() <= 0.5, name
    options = imagefolder.Options(root=tmp_path, image_size_px=SIDE)
    assert any(
        f"{black:g} becomes 0 (black) and {white:g} becomes 255" in note for note in load(options).notes
    )


def test_the_test_images_have_the_range_of_the_training_images(tmp_path: Path) -> None:
    def make(random: np.random.Generator, split: str) -> np.ndarray:
        return random.integers(0, 1000 if split == "train" else 4000, (SIDE, SIDE))

    values = write_deep(tmp_path, make, SPLITS)
    got = read(tmp_path, "test/sick/0.png")[..., 0]
    grey = values["test/sick/0.png"]
    assert (got[grey >= 1000] == 255).all()
    assert got[grey < 1000].max() > 240


def test_the_whole_range_and_8_bits_in_16_stay_as_they_were(tmp_path: Path) -> None:
    for name, make in (
        ("whole", lambda random, _: random.integers(0, 65536, (SIDE, SIDE))),
        ("dark", lambda random, _: random.integers(0, 40, (SIDE, SIDE)) * 257),
    ):
        values = write_deep(tmp_path / name, make, SPLITS)
        for ident, grey in values.items():
            plain = np.rint(grey.astype(np.float32) / 257)
            assert np.array_equal(read(tmp_path / name, ident)[..., 2], plain)


def test_a_stated_range(tmp_path: Path) -> None:
    values = write_deep(tmp_path, lambda random, _: random.integers(0, 4096, (SIDE, SIDE)), SPLITS)
    got = read(tmp_path, "train/sick/1.png", grey_range=(1000, 2000))[..., 0]
    plain = np.clip((values["train/sick/1.png"].astype(float) - 1000) * 255 / 1000, 0, 255)
    assert np.abs(got - plain).max() <= 0.5
    with pytest.raises(ValueError, match="must be less than the second"):
        imagefolder.Options(root=tmp_path, grey_range=(2000, 1000))


def test_the_fingerprint_of_16_bits_alone_is_another_one_than_before(tmp_path: Path) -> None:
    write_deep(tmp_path / "deep", lambda random, _: random.integers(0, 4096, (SIDE, SIDE)), SPLITS)
    write(tmp_path / "plain", saved(Image.new("L", (9, 9)), "PNG"), ".png")
    marks = [
        describe(imagefolder.Options(root=tmp_path / name)).fingerprint.split(" ")
        for name in ("deep", "plain")
    ]
    assert [len(one) for one in marks] == [2, 1]
    assert marks[0][1] == "16-bit-range"


def test_narrow_colours_of_16_bits_are_refused(tmp_path: Path) -> None:
    cv2_like = _png_of_16_bit_colour(rng(0).integers(0, 4096, (SIDE, SIDE, 3)).astype(">u2"))
    write(tmp_path, cv2_like, ".png")
    with pytest.raises(BadInput, match="PNG files of 16 bits in colour or with alpha"):
        read(tmp_path, "train/cat/0.png")
    wide = rng(0).integers(0, 65536, (SIDE, SIDE, 3)).astype(">u2")
    (tmp_path / "train" / "cat" / "0.png").write_bytes(_png_of_16_bit_colour(wide))
    assert np.abs(read(tmp_path, "train/cat/0.png") - wide / 257).max() <= 1


def _png_of_16_bit_colour(pixels: np.ndarray) -> bytes:
    import struct
    import zlib

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation(tmp_path: Path, orientation: int) -> None:
    image = Image.fromarray(rng(8).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    write(tmp_path, saved(image, "PNG", exif=exif), ".png")
    turned = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "train/cat/0.png")))
    assert np.array_equal(read(tmp_path, "train/cat/0.png"), turned)
    shown = load(imagefolder.Options(root=tmp_path, image_size_px=SIDE)).shown
    assert any("1 of 5 images were turned upright" in line for line in shown) == (orientation > 1)


@pytest.mark.parametrize(
    ("size", "resize", "said"),
    [
        ((400, 40), "crop", "all 4 images are 400 x 40 px"),
        ((400, 40), "pad", "nothing is cut off"),
        ((400, 40), "stretch", "squeezed 10 times in one direction"),
        ((40, 40), "crop", "nothing is cut off"),
        ((16, 16), "crop", "as they are"),
        ((32, 32), "evaluation", "23 % of an image is cut off on average"),
    ],
)  # fmt: skip
def test_what_is_cut_off_is_said(tmp_path: Path, size: tuple[int, int], resize: str, said: str) -> None:
    for number, (split, name) in enumerate((s, n) for s in ("train", "test") for n in ("cat", "dog")):
        (tmp_path / split / name).mkdir(parents=True)
        noise = rng(number).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / split / name / "0.png")
    options = {"root": tmp_path, "image_size_px": SIDE, "resize": resize}
    data = load(imagefolder.Options.model_validate(options))
    assert said in data.shown[0]
    if size == (400, 40) and resize == "crop":
        assert "the middle is kept; 90 % of an image is cut off on average" in data.shown[0]
    assert any("cut off" in note for note in data.notes) == (size == (400, 40) and resize == "crop")


def test_black_images_and_further_pictures_are_said(tmp_path: Path) -> None:
    for number, (split, name) in enumerate((s, n) for s in ("train", "test") for n in ("cat", "dog")):
        (tmp_path / split / name).mkdir(parents=True)
        first, second = (
            Image.fromarray(rng(seed).integers(0, 2, (SIDE, SIDE), dtype=np.uint8)) for seed in (number, 9)
        )
        first.save(tmp_path / split / name / "0.png", save_all=number == 0, append_images=[second])
    data = load(imagefolder.Options(root=tmp_path, image_size_px=SIDE))
    assert any("all images are black: no value is above 1" in note for note in data.notes)
    assert any("1 of 4 files hold several pictures, of which one is shown" in line for line in data.shown)
