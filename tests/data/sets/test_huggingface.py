"""Data sets of the library `datasets`: which columns, splits and files are read, and what is said otherwise."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from transferscope.core.errors import BadInput
from transferscope.data.sets import huggingface
from transferscope.data.sets.huggingface import Options

datasets = pytest.importorskip("datasets", reason="the extra `huggingface` is not installed")
CLASSES = datasets.ClassLabel(names=["cat", "dog"])


@pytest.fixture(autouse=True)
def _quiet_and_offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    datasets.disable_progress_bars()
    for name in ("HF_CACHE_HOME", "HF_DATASETS_CACHE"):
        monkeypatch.setattr(f"datasets.config.{name}", tmp_path / "cache")
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)


def pictures(count: int, seed: int) -> list[Image.Image]:
    rng = np.random.Generator(np.random.PCG64(seed))
    return [Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)) for _ in range(count)]


def save(folder: Path, splits: dict[str, dict[str, Any]], types: dict[str, Any]) -> str:
    """One Parquet file a split."""
    (folder / "set" / "data").mkdir(parents=True)
    for split, rows in splits.items():
        one = datasets.Dataset.from_dict(rows, features=datasets.Features(types))
        one.to_parquet(str(folder / "set" / "data" / f"{split}-00000-of-00001.parquet"))
    return str(folder / "set")


def simple(folder: Path, test: str = "test", **more: Any) -> str:
    rows = {
        "train": {"image": pictures(6, 0), "label": [0, 1, 0, 1, 0, 1]},
        test: {"image": pictures(4, 1), "label": [0, 1, 1, 0]},
    }
    return save(folder, rows, {"image": datasets.Image(), "label": CLASSES, **more})


def load(name: str, **fields: object) -> Any:
    return huggingface.load(Options.model_validate({"name": name, "image_size_px": 16, **fields}))


def problems(name: str, **fields: object) -> str:
    with pytest.raises(BadInput) as caught:
        load(name, **fields)
    return str(caught.value)


def test_images_and_labels_are_those_of_the_rows(tmp_path: Path) -> None:
    data = load(simple(tmp_path))
    rows = [int(name.partition("/")[2]) for name in data.train.ids]
    expected = np.stack([np.asarray(picture) for picture in pictures(6, 0)])[rows]
    assert np.array_equal(data.train.images.permute(0, 2, 3, 1).numpy(), expected)
    assert data.train.labels.tolist() == [row % 2 for row in rows]
    assert huggingface.describe(Options(name=str(tmp_path / "set"))).class_names == ("cat", "dog")


def test_what_save_to_disk_wrote(tmp_path: Path) -> None:
    from_parquet = load(simple(tmp_path))
    whole = datasets.load_dataset(str(tmp_path / "set"))
    whole.save_to_disk(str(tmp_path / "disk"))
    assert torch.equal(load(str(tmp_path / "disk")).train.images, from_parquet.train.images)


def test_the_fingerprint_changes_with_the_files(tmp_path: Path) -> None:
    name = simple(tmp_path)
    before = huggingface.describe(Options(name=name)).fingerprint
    assert huggingface.describe(Options(name=name)).fingerprint == before
    (tmp_path / "set" / "README.md").write_text("changed")
    assert huggingface.describe(Options(name=name)).fingerprint != before


def test_validation_stands_in_for_test(tmp_path: Path) -> None:
    assert len(load(simple(tmp_path, test="validation")).test) == 4
    message = problems(str(tmp_path / "set"), test_split="valdation")
    assert "has no split 'valdation'. Did you mean 'validation'?" in message


def test_columns_can_be_named(tmp_path: Path) -> None:
    types = {"photo": datasets.Image(), "sketch": datasets.Image(), "kind": datasets.Value("string")}
    rows = {
        split: {"photo": pictures(4, seed), "sketch": pictures(4, seed + 5), "kind": ["b", "a", "b", "a"]}
        for split, seed in (("train", 0), ("test", 1))
    }
    name = save(tmp_path, rows, types)
    assert "2 columns fit image_column: give its name. There are: photo (Image), sketch" in problems(name)
    assert "0 columns fit label_column" in problems(name, image_column="sketch")
    assert "there is no column 'skech'. Did you mean 'sketch'" in problems(name, image_column="skech")
    assert "image_column: 'kind' is" in problems(name, image_column="kind")
    data = load(name, image_column="sketch", label_column="kind")
    rows_ = [int(one.partition("/")[2]) for one in data.test.ids]
    assert data.test.labels.tolist() == [1 - row % 2 for row in rows_]
    assert np.array_equal(data.test.images[0].permute(1, 2, 0).numpy(), np.asarray(pictures(4, 6)[rows_[0]]))


def test_several_findings(tmp_path: Path) -> None:
    found = [[0], [1], [0, 1], []]
    rows = {
        split: {"image": pictures(4, seed), "findings": found} for split, seed in (("train", 0), ("test", 1))
    }
    name = save(tmp_path, rows, {"image": datasets.Image(), "findings": datasets.List(CLASSES)})
    data = load(name)
    assert data.train.labels.dtype == torch.float32
    expected = [[1, 0], [0, 1], [1, 1], [0, 0]]
    assert data.train.labels.tolist() == [expected[int(one.partition("/")[2])] for one in data.train.ids]


def test_problems_are_named_and_counted(tmp_path: Path) -> None:
    whole = pictures(7, 0)
    truncated = {"bytes": b"\x89PNG\r\n\x1a\n" + bytes(30), "path": "1.png"}
    outside = {"bytes": None, "path": "/etc/hostname"}
    rows = {
        "train": {"image": [*whole[:4], truncated, outside], "label": [0, 1, 0, 1, 0, 1]},
        "test": {"image": [whole[1], *whole[5:7], whole[4]], "label": [0, 1, 0, None]},
    }
    types = {"image": datasets.Image(), "label": CLASSES}
    (tmp_path / "set").mkdir()
    whole_set = datasets.DatasetDict(
        {
            name: datasets.Dataset.from_dict(one, features=datasets.Features(types))
            for name, one in rows.items()
        }
    )
    whole_set.save_to_disk(str(tmp_path / "disk"))
    message = problems(str(tmp_path / "disk"))
    assert "1 image(s) with a label that can't be: test/3 (None, expected one of 2 classes)" in message
    data = load(str(tmp_path / "disk"), on_bad="skip")
    assert data.left_out == {"bad_label": 1, "undecodable": 2, "duplicate": 1}
    assert sorted(data.train.ids) == ["train/0", "train/1", "train/2", "train/3"]
    assert sorted(data.test.ids) == ["test/1", "test/2"]


def test_a_file_out_of_the_data_set_is_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    pictures(1, 9)[0].save(secret)
    rows = {"image": [*pictures(3, 0), {"bytes": None, "path": str(secret)}], "label": [0, 1, 0, 1]}
    types = datasets.Features({"image": datasets.Image(), "label": CLASSES})
    test = {"image": pictures(2, 1), "label": [0, 1]}
    # written as a table: the library itself would put the file's bytes into the row
    whole = datasets.DatasetDict(
        {
            name: datasets.Dataset.from_dict(one, features=types)
            for name, one in (("train", rows), ("test", test))
        }
    )
    undecoded = whole["train"].cast_column("image", datasets.Image(decode=False))
    assert undecoded[3]["image"]["path"] == str(secret)
    options = Options(name=str(tmp_path / "disk"), image_size_px=16)
    with pytest.raises(ValueError, match="a file out of the data set"):
        huggingface._content("train/3", {"train": undecoded}, huggingface._cache_and_root(options))


def test_labels_and_splits_that_cannot_be_used(tmp_path: Path) -> None:
    rows = {"image": pictures(2, 0), "label": [0.5, 1.0]}
    types = {"image": datasets.Image(), "label": datasets.Value("float32")}
    name = save(tmp_path, {"train": rows, "test": rows}, types)
    assert "its labels are Value('float32'); expected ClassLabel, whole numbers or text" in problems(name)
    datasets.Dataset.from_dict(rows, features=datasets.Features(types)).save_to_disk(str(tmp_path / "one"))
    assert "holds a single data set; expected one with splits" in problems(str(tmp_path / "one"))


def test_no_such_data_set(tmp_path: Path) -> None:
    message = problems(str(tmp_path / "nothing"))
    assert "no folder here, can't be opened as a data set" in message
    (tmp_path / "empty").mkdir()
    assert "can't be opened as a data set" in problems(str(tmp_path / "empty"))


def test_nothing_is_fetched_offline() -> None:
    message = problems("somebody/no-such-images")
    assert "'somebody/no-such-images', no folder here, can't be opened" in message
    assert "one that is in the library's cache already" in message


def on_disk(folder: Path, splits: dict[str, tuple[list[Any], Any]]) -> str:
    """What save_to_disk writes, with a type of labels for each split."""
    made = {}
    for seed, (split, (labels, kind)) in enumerate(splits.items()):
        types = datasets.Features({"image": datasets.Image(), "label": kind})
        rows = {"image": pictures(len(labels), seed), "label": labels}
        made[split] = datasets.Dataset.from_dict(rows, features=types)
    datasets.DatasetDict(made).save_to_disk(str(folder / "disk"))
    return str(folder / "disk")


@pytest.mark.parametrize(
    ("test_labels", "kind"),
    [
        ([0, 1, 1, 0], datasets.ClassLabel(names=["dog", "owl"])),
        ([1, 0, 0, 1], datasets.ClassLabel(names=["owl", "dog"])),
        (["dog", "owl", "owl", "dog"], datasets.Value("string")),
    ],
    ids=["fewer classes", "another order", "text"],
)
def test_splits_that_number_classes_differently_go_by_name(
    tmp_path: Path, test_labels: list[Any], kind: Any
) -> None:
    train = ([0, 1, 2, 0, 1, 2], datasets.ClassLabel(names=["cat", "dog", "owl"]))
    data = load(on_disk(tmp_path, {"train": train, "test": (test_labels, kind)}))
    rows = dict(zip(data.test.ids, data.test.labels.tolist(), strict=True))
    assert rows == {"test/0": 1, "test/1": 2, "test/2": 2, "test/3": 1}


def test_a_class_of_the_test_split_alone_is_a_problem(tmp_path: Path) -> None:
    train = ([0, 1, 0, 1], datasets.ClassLabel(names=["cat", "dog"]))
    test = ([0, 1, 0], datasets.ClassLabel(names=["dog", "emu"]))
    name = on_disk(tmp_path, {"train": train, "test": test})
    assert "test image(s) of classes without training images: test/1 ('emu')" in problems(name)
    data = load(name, on_bad="skip")
    assert data.left_out == {"class_not_in_train": 1}
    assert data.test.labels.tolist() == [1, 1]


def test_numbers_without_names_are_refused_beside_names(tmp_path: Path) -> None:
    train = ([0, 1, 0, 1], datasets.ClassLabel(names=["cat", "dog"]))
    name = on_disk(tmp_path, {"train": train, "test": ([0, 1], datasets.Value("int64"))})
    assert "Numbers alone don't say which class they mean" in problems(name)


def test_the_same_names_keep_the_key(tmp_path: Path) -> None:
    own = ([0, 1, 0, 1], CLASSES)
    same = huggingface.describe(Options(name=on_disk(tmp_path / "a", {"train": own, "test": own})))
    assert " " not in same.fingerprint
    other = ([0, 1, 0, 1], datasets.ClassLabel(names=["dog", "cat"]))
    changed = huggingface.describe(Options(name=on_disk(tmp_path / "b", {"train": own, "test": other})))
    assert changed.fingerprint.endswith(" labels-by-name")
    assert "labels go by their names" in "".join(changed.notes)


def test_a_single_split_is_divided(tmp_path: Path) -> None:
    types = datasets.Features({"image": datasets.Image(), "label": CLASSES})
    rows = {"image": pictures(20, 0), "label": [0] * 10 + [1] * 10}
    datasets.Dataset.from_dict(rows, features=types).save_to_disk(str(tmp_path / "one"))
    data = load(str(tmp_path / "one"), test_share=0.3)
    assert np.bincount(data.test.labels).tolist() == [3, 3]
    assert len(set(data.train.ids) | set(data.test.ids)) == 20
    for split in (data.train, data.test):
        for name, image in zip(split.ids, split.images, strict=True):
            expected = np.asarray(rows["image"][int(name.partition("/")[2])])
            assert np.array_equal(image.permute(1, 2, 0).numpy(), expected)


def test_a_label_of_no_test_image_can_be_left_out(tmp_path: Path) -> None:
    rows = {
        "train": {"image": pictures(4, 0), "findings": [[0], [1, 2], [0, 1], [2]]},
        "test": {"image": pictures(3, 1), "findings": [[0], [0, 1], [1]]},
    }
    kind = datasets.List(datasets.ClassLabel(names=["a", "b", "c"]))
    name = save(tmp_path, rows, {"image": datasets.Image(), "findings": kind})
    assert "all test images have the same label for c" in problems(name)
    for fields in ({"leave_out_labels": ["c"]}, {"on_bad": "skip"}):
        data = load(name, **fields)
        expected = [[1, 0], [1, 1], [0, 1]]
        assert data.test.labels.tolist() == [expected[int(one[-1])] for one in data.test.ids]
    assert data.left_out == {"constant_label": 1}


@pytest.mark.parametrize("kind", ["bytes", "dict"])
def test_columns_of_the_bytes_of_image_files_are_images(tmp_path: Path, kind: str) -> None:
    """As pandas writes them: alone, or with a path."""

    def cell(picture: Image.Image) -> Any:
        content = io.BytesIO()
        picture.save(content, "PNG")
        return content.getvalue() if kind == "bytes" else {"bytes": content.getvalue(), "path": "0.png"}

    binary = datasets.Value("binary")
    types = {"image": binary if kind == "bytes" else {"bytes": binary, "path": datasets.Value("string")}}
    rows = {
        "train": {"image": [cell(one) for one in pictures(6, 0)], "label": [0, 1, 0, 1, 0, 1]},
        "test": {"image": [cell(one) for one in pictures(4, 1)], "label": [0, 1, 1, 0]},
    }
    found = load(save(tmp_path / "bytes", rows, {**types, "label": CLASSES}))
    expected = load(simple(tmp_path / "images"))
    assert torch.equal(found.train.images, expected.train.images)
    assert torch.equal(found.test.labels, expected.test.labels)
