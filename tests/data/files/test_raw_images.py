"""DICOM, TIFF and NumPy files: pixels against a plain reading, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

from transferscope.core.errors import BadInput
from transferscope.data.files import raw_images
from transferscope.data.files.decode import SquareDecoder
from transferscope.data.sets import imagefolder

pydicom = pytest.importorskip("pydicom")
tifffile = pytest.importorskip("tifffile")
SIDE = 12
RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 4096, (SIDE, SIDE)).astype(np.uint16)


def write_dicom(path: Path, values: np.ndarray, photometric: str = "MONOCHROME2", **tags: object) -> Path:
    """A plain DICOM file; 12 bits stored in 16, or 8."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.Rows, data.Columns = values.shape[:2]
    data.SamplesPerPixel = 1 if values.ndim == 2 else 3
    if values.ndim == 3:
        data.PlanarConfiguration = 0
    data.PhotometricInterpretation = photometric
    data.BitsAllocated = values.dtype.itemsize * 8
    data.BitsStored = 12 if values.dtype.itemsize == 2 else 8
    data.HighBit = data.BitsStored - 1
    data.PixelRepresentation = 0
    data.PixelData = values.tobytes()
    for name, value in tags.items():
        setattr(data, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path


def decoded(path: Path, channels: int = 1, **fields: object) -> np.ndarray:
    decoder = SquareDecoder(SIDE, "stretch", channels=channels, **fields)  # type: ignore[arg-type]
    decoder.prepare([str(path)])
    return decoder(str(path))


def mapped(values: np.ndarray, black: float, white: float) -> np.ndarray:
    return np.rint(np.clip((values.astype(float) - black) / (white - black), 0, 1) * 255)


def test_dicom_by_its_window_in_rescaled_units(tmp_path: Path) -> None:
    tags = {"RescaleSlope": 2, "RescaleIntercept": -1024, "WindowCenter": 40, "WindowWidth": 400}
    path = write_dicom(tmp_path / "ct.dcm", GREY, **tags)
    units = GREY.astype(float) * 2 - 1024
    # PS3.3 C.11.2.1.2: ((x - (c - 0.5)) / (w - 1) + 0.5) * 255
    expected = np.clip(((units - 39.5) / 399 + 0.5) * 255, 0, 255)
    assert np.abs(decoded(path) - expected).max() <= 0.5 + 1e-9
    assert (decoded(path, grey_range=(-1000, 1000)) == mapped(units, -1000, 1000)).all()
    assert (decoded(path, channels=3) == decoded(path)[:, :, None]).all()


def test_dicom_without_a_window_has_the_range_of_the_training_images(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "x.dcm", GREY)
    assert (decoded(path) == mapped(GREY, GREY.min(), GREY.max())).all()


def test_monochrome_1_is_inverted_with_its_window(tmp_path: Path) -> None:
    tags = {"WindowCenter": 3000, "WindowWidth": 1001}
    path = write_dicom(tmp_path / "x.dcm", GREY, "MONOCHROME1", **tags)
    assert np.abs(decoded(path) - (255 - mapped(GREY, 2499.5, 3499.5))).max() <= 1  # rounding of halves
    plain = write_dicom(tmp_path / "y.dcm", GREY, "MONOCHROME1")
    assert (decoded(plain) == mapped(4095 - GREY, 4095 - GREY.max(), 4095 - GREY.min())).all()


def test_dicom_in_colour(tmp_path: Path) -> None:
    colours = RNG.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    path = write_dicom(tmp_path / "x.dcm", colours, "RGB")
    assert (decoded(path, channels=3) == colours).all()


def test_what_dicom_leaves_open_is_refused(tmp_path: Path) -> None:
    for tags, said in (
        ({"photometric": "PALETTE COLOR"}, "PhotometricInterpretation"),
        ({"VOILUTFunction": "SIGMOID"}, "sigmoid"),
        ({"NumberOfFrames": 2}, "2 frames"),
    ):
        path = write_dicom(tmp_path / "x.dcm", GREY, **tags)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=said):
            decoded(path)


@pytest.mark.parametrize("channels", [1, 2, 3, 9])
@pytest.mark.parametrize("first", [False, True])
def test_tiff_and_numpy_of_any_channels(tmp_path: Path, channels: int, first: bool) -> None:
    values = RNG.integers(0, 256, (SIDE, SIDE, channels), np.uint8)
    stored = np.ascontiguousarray(values.transpose(2, 0, 1)) if first else values
    np.save(tmp_path / "x.npy", stored)
    tifffile.imwrite(
        tmp_path / "x.tif",
        stored if channels > 1 else values[:, :, 0],
        photometric="rgb" if channels == 3 else "minisblack",
        planarconfig=None if channels == 1 else "separate" if first else "contig",
    )
    for name in ("x.npy", "x.tif"):
        assert (decoded(tmp_path / name, channels).reshape(values.shape) == values).all(), name


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float32])
def test_more_than_8_bits_by_a_stated_range(tmp_path: Path, dtype: type) -> None:
    values = RNG.integers(100, 9000, (SIDE, SIDE, 9)).astype(dtype)
    tifffile.imwrite(tmp_path / "x.tif", values, photometric="minisblack", planarconfig="contig")
    np.save(tmp_path / "x.npy", values)
    for name in ("x.tif", "x.npy"):
        assert (decoded(tmp_path / name, 9, grey_range=(0, 10000)) == mapped(values, 0, 10000)).all()
        assert (decoded(tmp_path / name, 9) == mapped(values, values.min(), values.max())).all()


def test_min_is_white_is_inverted_and_other_colours_are_refused(tmp_path: Path) -> None:
    grey = RNG.integers(0, 256, (SIDE, SIDE), np.uint8)
    tifffile.imwrite(tmp_path / "x.tif", grey, photometric="miniswhite")
    assert (decoded(tmp_path / "x.tif") == 255 - grey).all()
    Image.fromarray(grey).convert("P").save(tmp_path / "p.tif")
    with pytest.raises(ValueError, match="PALETTE"):
        decoded(tmp_path / "p.tif")
    Image.fromarray(np.stack([grey] * 4, axis=2), "RGBA").save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match="alpha"):
        decoded(tmp_path / "a.tif", 3)


def test_what_can_not_be_shown_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "nan.npy", np.full((SIDE, SIDE), np.nan))
    np.save(tmp_path / "nine.npy", np.zeros((SIDE, SIDE, 9), np.uint8))
    np.save(tmp_path / "both.npy", np.zeros((9, SIDE, 9), np.uint8))
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    for name, channels, said in (
        ("nan", 1, "NaN"),
        ("nine", 3, "expected 3 channels"),
        ("both", 9, "first or the last"),
        ("objects", 1, "pickle"),
    ):
        with pytest.raises(ValueError, match=said):
            decoded(tmp_path / f"{name}.npy", channels)
    (tmp_path / "x.png").write_bytes((tmp_path / "nine.npy").read_bytes())
    with pytest.raises(UnidentifiedImageError):  # its name is that of another format
        decoded(tmp_path / "x.png", 9)


def test_an_absent_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_dicom(tmp_path / "x.dcm", GREY)
    monkeypatch.setitem(__import__("sys").modules, "pydicom", None)
    with pytest.raises(BadInput, match=r"transferscope\[dicom\]"):
        decoded(path)


def test_folders_of_nine_channels_with_a_range_of_the_training_images(tmp_path: Path) -> None:
    made = {}
    for place, (split, name) in enumerate((s, c) for s in ("train", "test") for c in ("a", "b")):
        values = RNG.integers(0, 1000 if split == "train" else 2000, (SIDE, SIDE, 9)).astype(np.uint16)
        made[f"{split}/{name}/{place}.npy"] = values
        (tmp_path / split / name).mkdir(parents=True)
        np.save(tmp_path / split / name / f"{place}.npy", values)
    options = imagefolder.Options(root=tmp_path, image_size_px=SIDE, channels=9)
    assert imagefolder.describe(options).channels == 9
    data = imagefolder.load(options)
    train = [made[id_] for id_ in data.train.ids]
    low, high = min(one.min() for one in train), max(one.max() for one in train)
    for split in (data.train, data.test):
        for id_, image in zip(split.ids, split.images, strict=True):
            assert (image.permute(1, 2, 0).numpy() == mapped(made[id_], low, high)).all()
    with pytest.raises(BadInput, match="0 class folders"):
        imagefolder.describe(imagefolder.Options(root=tmp_path, image_size_px=SIDE))


def test_each_channel_is_resized_as_pillow_resizes_it(tmp_path: Path) -> None:
    values = RNG.integers(0, 256, (20, 33, 5), np.uint8)
    np.save(tmp_path / "x.npy", values)
    found = decoded(tmp_path / "x.npy", 5)
    for channel in range(5):
        plain = Image.fromarray(values[:, :, channel]).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        assert (found[:, :, channel] == np.asarray(plain)).all()
    assert raw_images.raw_format(b"") is None
