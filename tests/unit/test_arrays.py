"""Images in a NumPy file: how they are read, and what is said when they can't be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from transferscope.datasets import arrays
from transferscope.datasets.arrays import Options
from transferscope.errors import BadInput

RNG = np.random.Generator(np.random.PCG64(0))
IMAGES = RNG.integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
FINDINGS = np.array([[0, 1], [1, 0], [1, 1]] * 2)
GOOD = {
    "train_images": IMAGES,
    "train_labels": np.array([0, 1, 2, 0, 1, 2]),
    "test_images": IMAGES[:4],
    "test_labels": np.array([0, 1, 2, 2]),
}
MULTI = {**GOOD, "train_labels": FINDINGS, "test_labels": FINDINGS[:4]}


def save(folder: Path, contents: dict[str, np.ndarray]) -> Options:
    np.savez(folder / "data.npz", allow_pickle=True, **contents)
    return Options(path=folder / "data.npz")


def problems(options: Options) -> str:
    with pytest.raises(BadInput) as caught:
        arrays.describe(options)
    return str(caught.value)


@pytest.mark.parametrize("layout", ["channels_last", "channels_first", "grey", "grey_last", "fortran"])
def test_every_layout_gives_channels_first(tmp_path: Path, layout: str) -> None:
    images = {
        "channels_last": IMAGES,
        "channels_first": np.moveaxis(IMAGES, 3, 1),
        "grey": IMAGES[..., 0],
        "grey_last": IMAGES[..., :1],
        "fortran": np.asfortranarray(IMAGES),
    }[layout]
    data = arrays.load(save(tmp_path, {**GOOD, "train_images": images}))
    expected = torch.from_numpy(IMAGES).permute(0, 3, 1, 2)
    assert torch.equal(
        data.train.images, expected[:, :1].repeat(1, 3, 1, 1) if "grey" in layout else expected
    )
    assert data.train.ids[5] == "train/5"


def test_names_of_classes(tmp_path: Path) -> None:
    assert arrays.describe(save(tmp_path, GOOD)).class_names == ("0", "1", "2")
    for names in (np.array(["ant", "bee", "cow"]), np.array([b"ant", b"bee", b"cow"])):
        assert arrays.describe(save(tmp_path, {**GOOD, "class_names": names})).class_names == (
            "ant",
            "bee",
            "cow",
        )


@pytest.mark.parametrize("dtype", [np.int64, np.float32, bool])
def test_several_findings(tmp_path: Path, dtype: type) -> None:
    options = save(tmp_path, {**MULTI, "train_labels": FINDINGS.astype(dtype)})
    assert arrays.describe(options).multi_label
    labels = arrays.load(options).train.labels
    assert labels.dtype == torch.float32
    assert labels.tolist() == FINDINGS.tolist()


def test_no_file(tmp_path: Path) -> None:
    assert "does not exist. Save the arrays with numpy.savez" in problems(Options(path=tmp_path / "no.npz"))
    assert "is not a file" in problems(Options(path=tmp_path))


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 but broken"])
def test_not_an_npz_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "data.npz").write_bytes(content)
    assert "can't be read as an .npz file" in problems(Options(path=tmp_path / "data.npz"))


def test_a_single_array_is_not_an_npz_file(tmp_path: Path) -> None:
    np.save(tmp_path / "data.npy", IMAGES)
    assert "can't be read as an .npz file" in problems(Options(path=tmp_path / "data.npy"))


def test_damaged_arrays(tmp_path: Path) -> None:
    options = save(tmp_path, GOOD)
    content = bytearray(options.path.read_bytes())
    place = content.find(IMAGES.tobytes())
    content[place : place + 8] = bytes(8)
    options.path.write_bytes(content)
    with pytest.raises(BadInput, match=r"can't be read.*train_images"):
        arrays.load(options)


def test_missing_arrays(tmp_path: Path) -> None:
    message = problems(save(tmp_path, {"train_images": IMAGES, "labels": GOOD["train_labels"]}))
    assert "lacks train_labels, test_images, test_labels; it holds:" in message
    assert "labels, train_images" in message


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    message = problems(save(tmp_path, {**GOOD, "train_labels": np.array([{}] * 6, dtype=object)}))
    assert "train_labels is object" in message
    names = np.array(["a", "b", "c"], dtype=object)
    message = problems(save(tmp_path, {**GOOD, "class_names": names}))
    assert "the array class_names in" in message


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"train_images": IMAGES / 255}, "train_images is float64; expected uint8"),
        ({"train_images": IMAGES[:, :, :6]}, r"the shape \(6, 8, 6, 3\); expected .*square"),
        ({"train_images": IMAGES[..., :2]}, r"the shape \(6, 8, 8, 2\); expected .*1 or 3 channels"),
        ({"train_images": IMAGES[:, :4, :4]}, "at least 8 px"),
        ({"train_images": IMAGES[0]}, r"the shape \(8, 8, 3\)"),
        ({"train_images": np.array(3, dtype=np.uint8)}, r"train_images has the shape \(\)"),
        ({"train_images": IMAGES[:5]}, r"expected one label \(row\) for each image"),
        ({"test_images": IMAGES[:0], "test_labels": np.array([], dtype=int)}, "at least one image"),
        ({"test_images": IMAGES[:4].repeat(2, 1).repeat(2, 2)}, "8 px wide and test_images 16 px"),
        ({"train_labels": np.array(list("abcabc"))}, "train_labels is <U1 .*Number the classes"),
        ({"train_labels": np.arange(6) / 2}, "train_labels is float64"),
        ({"train_labels": np.zeros((6, 1, 1), dtype=int)}, "train_labels is int64 of the shape"),
        ({"test_labels": FINDINGS[:4]}, "expected the same kind of label in both"),
        ({"test_labels": np.array([0, 1, 2, 3])}, "test_labels holds 3; expected whole numbers from 0 to 2"),
        ({"train_labels": np.array([0, 1, 2, 0, 1, -1])}, "train_labels holds -1; expected whole numbers"),
        ({"train_labels": np.array([0, 1, 2, 0, 1, 10**12])}, "train_labels holds 1000000000000; expected"),
        ({"train_labels": np.array([0, 2, 2, 0, 2, 2])}, "no image of the classes 1; expected every class"),
        ({"train_labels": np.zeros(6, int), "test_labels": np.zeros(4, int)}, "there is only one class"),
        ({"class_names": np.array(["a", "b"])}, "train_labels holds 2; expected whole numbers from 0 to 1"),
        ({"class_names": np.array(["a", "b", "c", "d"])}, "no image of the classes 3"),
        ({"class_names": np.array(["a", "b", "a"])}, "class_names holds a name twice: a, b, a"),
    ],
)
def test_arrays_that_cannot_be_used(tmp_path: Path, change: dict[str, np.ndarray], expected: str) -> None:
    with pytest.raises(BadInput, match=expected):
        arrays.describe(save(tmp_path, {**GOOD, **change}))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"train_labels": FINDINGS - 1}, "train_labels holds -1; expected only 0 and 1"),
        ({"train_labels": FINDINGS * np.nan}, "train_labels holds nan"),
        ({"test_labels": FINDINGS[:4] * [0, 1]}, "in test_labels all images have the same label for 0;"),
        ({"class_names": np.array(["a"])}, "class_names holds 1 names and train_labels 2 columns"),
        ({"train_labels": FINDINGS[:, :1]}, "expected the same kind of label in both"),
    ],
)
def test_findings_that_cannot_be_used(tmp_path: Path, change: dict[str, np.ndarray], expected: str) -> None:
    with pytest.raises(BadInput, match=expected):
        arrays.describe(save(tmp_path, {**MULTI, **change}))


def test_all_problems_are_listed(tmp_path: Path) -> None:
    options = save(tmp_path, {**GOOD, "train_images": IMAGES / 255, "test_images": IMAGES[:4, :, :5]})
    assert len(problems(options).splitlines()) == 2
