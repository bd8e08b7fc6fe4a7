"""Images in a NumPy file: how they are read, and what is said when they can't be."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from transferscope.core.errors import BadInput
from transferscope.data.sets import arrays
from transferscope.data.sets.arrays import Options

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
    return Options(path=folder / "data.npz", keep_duplicates=True)


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
    rows = [int(name.partition("/")[2]) for name in data.train.ids]
    expected = torch.from_numpy(IMAGES).permute(0, 3, 1, 2)[rows]
    assert torch.equal(
        data.train.images, expected[:, :1].repeat(1, 3, 1, 1) if "grey" in layout else expected
    )
    assert data.train.labels.tolist() == [row % 3 for row in rows]
    assert sorted(rows) == list(range(6))


def test_images_come_in_a_random_order_that_can_be_repeated(tmp_path: Path) -> None:
    options = save(tmp_path, GOOD)
    orders = [arrays.load(options.model_copy(update={"order_seed": seed})).train.ids for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]


@pytest.mark.parametrize("names", [None, ["ant", "bee", "cow"]])
def test_a_safetensors_file_is_the_same(tmp_path: Path, names: list[str] | None) -> None:
    path = tmp_path / "data.safetensors"
    save_file(GOOD, path, metadata={"class_names": json.dumps(names)} if names else None)
    options = Options(path=path, keep_duplicates=True)
    assert arrays.describe(options).class_names == (("0", "1", "2") if names is None else tuple(names))
    one, other = arrays.load(options), arrays.load(save(tmp_path, GOOD))
    assert torch.equal(one.train.images, other.train.images)
    assert torch.equal(one.test.labels, other.test.labels)


def test_damaged_safetensors_files(tmp_path: Path) -> None:
    path = tmp_path / "data.safetensors"
    save_file(GOOD, path, metadata={"class_names": '"ant"'})
    assert "class_names in the metadata must be a JSON list" in problems(Options(path=path))
    path.write_bytes(path.read_bytes()[:-5])
    assert "can't be read as a .safetensors file" in problems(Options(path=path))
    path.write_bytes(b"\xff" * 40)
    assert "can't be read as a .safetensors file" in problems(Options(path=path))


def test_what_is_bad_is_left_out_and_counted(tmp_path: Path) -> None:
    images = RNG.integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    images[3] = IMAGES[1]
    contents = {**GOOD, "test_images": images, "train_labels": np.array([0, 1, 2, 0, 1, 9])}
    options = save(tmp_path, contents).model_copy(update={"keep_duplicates": False})
    assert "1 image(s) with a label that can't be: train/5 (9, expected 0 to 2)" in problems(options)
    data = arrays.load(options.model_copy(update={"on_bad": "skip"}))
    assert data.left_out == {"bad_label": 1, "duplicate": 1}
    assert (len(data.train), sorted(data.test.ids)) == (5, ["test/0", "test/1", "test/2"])
    fine = save(tmp_path, {**contents, "train_labels": GOOD["train_labels"]})
    with pytest.raises(
        BadInput, match=r"1 test image\(s\) that are training images too: test/3 \(the same as train/1"
    ):
        arrays.load(fine.model_copy(update={"keep_duplicates": False}))


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
    train = arrays.load(options).train
    assert train.labels.dtype == torch.float32
    assert train.labels.tolist() == [FINDINGS[int(name.partition("/")[2])].tolist() for name in train.ids]


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
        ({"train_images": IMAGES[:, :3, :, :]}, "unless both ends may be the channels"),
        (
            {
                "train_labels": np.array([[0], [1], [2], [0], [1], [np.nan]]),
                "test_labels": np.array([[0], [1], [2], [2]]),
            },
            r"1 image\(s\) with a label that can't be: train/5 \(nan, expected 0 to 2\)",
        ),
        ({"train_labels": np.zeros((6, 1, 1), dtype=int)}, "train_labels is int64 of the shape"),
        ({"test_labels": FINDINGS[:4]}, "expected the same kind of label in both"),
        ({"test_labels": np.array([0, 1, 2, 3])}, r"test/3 \(3, expected 0 to 2\)"),
        ({"train_labels": np.array([0, 1, 2, 0, 1, -1])}, r"train/5 \(-1, expected 0 to 2\)"),
        ({"train_labels": np.array([0, 1, 2, 0, 1, 10**12])}, r"train/5 \(1000000000000, expected"),
        (
            {"train_labels": np.array([0, 1000, 2000] * 2), "test_labels": np.array([0, 1000, 2000, 0])},
            r"3 different numbers \(0, 1000, 2000\); expected classes numbered from 0 to 2.*class_names=",
        ),
        ({"train_labels": np.array([0, 2, 2, 0, 2, 2])}, "no training image is there of 1"),
        ({"train_labels": np.zeros(6, int), "test_labels": np.zeros(4, int)}, "there is only one class"),
        (
            {"class_names": np.array(["a", "b"])},
            r"4 image\(s\) with a label that can't be: train/2 \(2, expected 0 to 1",
        ),
        ({"class_names": np.array(["a", "b", "c", "d"])}, "no training image is there of d"),
        ({"class_names": np.array(["a", "b", "a"])}, "class_names holds a name twice: a, b, a"),
    ],
)
def test_arrays_that_cannot_be_used(tmp_path: Path, change: dict[str, np.ndarray], expected: str) -> None:
    with pytest.raises(BadInput, match=expected):
        arrays.describe(save(tmp_path, {**GOOD, **change}))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"train_labels": FINDINGS - 1}, r"train/0 \(\[-1, 0\], expected 0 or 1"),
        ({"train_labels": FINDINGS * np.nan}, r"one label or more is missing \(NaN\): train/0, "),
        ({"test_labels": FINDINGS[:4] * [0, 1]}, "all test images have the same label for 0;"),
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


def test_the_axis_of_the_channels_must_be_clear(tmp_path: Path) -> None:
    options = save(tmp_path, {**GOOD, "train_images": IMAGES[:, :3]}).model_copy(update={"image_size_px": 8})
    with pytest.raises(BadInput, match="unless both ends may be the channels"):
        arrays.describe(options)


@pytest.mark.parametrize("split", ["train", "test"])
def test_values_of_0_and_1_are_not_shown_as_black_images(tmp_path: Path, split: str) -> None:
    name = f"{split}_images"
    with pytest.raises(BadInput, match=f"all {split} images are black: no value is above 1"):
        arrays.load(save(tmp_path, {**GOOD, name: (GOOD[name] > 127).astype(np.uint8)}))
