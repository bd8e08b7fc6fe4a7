"""Which files of a folder are images, and what is said of the others; splits by folder names and by share."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from transferscope.core.datasets import describe, load
from transferscope.core.errors import BadInput
from transferscope.data.files.split_share import divide
from transferscope.data.sets import imagefolder


def write(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.Generator(np.random.PCG64(seed)).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    seed = 0
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            for number in range(3):
                write(tmp_path / split / name / f"{number}.png", seed := seed + 1)
    return tmp_path


def options(root: Path, **fields: Any) -> imagefolder.Options:
    return imagefolder.Options.model_validate({"root": root, "image_size_px": 12, **fields})


def notes(root: Path, **fields: Any) -> str:
    return "\n".join(describe(options(root, **fields)).notes)


def test_images_in_deeper_folders_are_of_the_class(root: Path) -> None:
    for number in range(4):
        write(root / "train" / "cat" / "more" / "and more" / f"{number}.png", 100 + number)
    files = {
        name: (root / "train" / name).rglob("*.png") for name in ("cat", "dog")
    }  # as torchvision's ImageFolder
    expected = {
        file.relative_to(root).as_posix(): int(name == "dog") for name in files for file in files[name]
    }
    data = load(options(root))
    labels = dict(zip(data.train.ids, data.train.labels.tolist(), strict=True))
    assert labels == expected
    assert "4 images are in folders within the folder of a class" in notes(root)


def test_a_plain_folder_has_nothing_to_say(root: Path) -> None:
    assert notes(root) == ""


def test_files_that_are_passed_over_are_counted_by_kind(root: Path) -> None:
    for name in ("s.npy", "s", "t", "labels.csv", ".hidden.png"):
        (root / "train" / "cat" / name).write_bytes(b"x")
    (root / "train" / "readme.md").write_text("x")
    found = notes(root)
    for count in ("1 (.csv)", "1 (.npy)", "2 (no extension)", "1 (names that begin with a dot)"):
        assert count in found
    assert "1 (files beside the folders of classes)" in found


@pytest.mark.parametrize("name", ["s.nii.gz", "s.tga", "s.GIF"])
def test_images_of_other_formats_are_a_problem(root: Path, name: str) -> None:
    (root / "train" / "cat" / name).write_bytes(b"x")
    with pytest.raises(BadInput, match=f"train/cat/{name}"):
        describe(options(root))
    assert describe(options(root, on_bad="skip")).left_out == {"undecodable": 1}


def test_masks_are_named_and_can_be_left_out(root: Path) -> None:
    for number, image in enumerate(sorted(root.glob("*/*/*.png"))):
        write(image.with_name(f"{image.stem}_mask.png"), 200 + number)
    assert "12 of 24 files look like masks" in notes(root)
    assert "test/cat/0_mask.png" in notes(root)
    for pattern in ("*_mask*", ["*_mask.png"]):
        about = describe(options(root, exclude=pattern))
        assert (about.num_train, about.num_test) == (6, 6)
        assert "left out by `exclude`: 12 by " in notes(root, exclude=pattern)
        assert "look like masks" not in notes(root, exclude=pattern)


def test_a_class_of_people_with_masks_is_no_mask(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for name in ("with_mask", "without_mask"):
            write(tmp_path / split / name / f"{name}_1.png", 0)
    assert "look like masks" not in notes(tmp_path)


def test_a_class_without_test_images_is_named(root: Path) -> None:
    write(root / "train" / "owl" / "0.png", 50)
    expected = "owl has no test images: the test accuracy is that of the other 2 of 3 classes"
    assert expected in notes(root)
    assert any(expected in note for note in load(options(root)).notes)


@pytest.mark.parametrize(("other", "is_said"), [("Cat", True), ("cat ", True), ("cats", False)])
def test_classes_that_differ_in_case_or_blanks_alone_are_named(root: Path, other: str, is_said: bool) -> None:
    write(root / "train" / other / "0.png", 50)
    said = [note for note in describe(options(root)).notes if "differ only in upper and lower case" in note]
    assert bool(said) == is_said


def test_a_table_of_labels_leads_to_python(tmp_path: Path) -> None:
    write(tmp_path / "images" / "0.png", 0)
    (tmp_path / "labels.csv").write_text("file,label\n0.png,cat\n")
    with pytest.raises(BadInput, match=r"There is a table \(labels.csv\).* table:"):
        describe(options(tmp_path))


def test_names_are_the_same_in_every_unicode_form(root: Path) -> None:
    composed, decomposed = "caf\u00e9", unicodedata.normalize("NFD", "caf\u00e9")
    (root / "train" / "dog").rename(root / "train" / composed)
    (root / "test" / "dog").rename(root / "test" / decomposed)
    data = load(options(root))
    assert data.left_out == {}
    assert {
        name.split("/")[1] for name, label in zip(data.test.ids, data.test.labels, strict=True) if label == 0
    } == {decomposed}
    write(root / "train" / decomposed / "9.png", 99)
    with pytest.raises(BadInput, match="several classes have this name"):
        describe(options(root))


def test_folders_of_other_names(root: Path) -> None:
    (root / "test").rename(root / "val")
    with pytest.raises(
        BadInput, match=r"no folder named test; .*`splits: \{test: val\}` takes val for testing"
    ):
        describe(options(root))
    assert describe(options(root, splits={"test": "val"})).num_test == 6
    (root / "train").rename(root / "training")
    assert describe(options(root, splits={"train": "training", "test": "val"})).num_train == 6
    with pytest.raises(BadInput, match="both are the folder 'val'"):
        describe(options(root, splits={"train": "val", "test": "val"}))


def test_a_folder_that_is_not_read_is_named(root: Path) -> None:
    write(root / "val" / "cat" / "0.png", 77)
    assert "that are not read: val" in notes(root)


def test_a_share_of_each_class_is_for_testing(tmp_path: Path) -> None:
    for name, count in (("cat", 20), ("dog", 10), ("owl", 1)):
        for number in range(count):
            write(tmp_path / name / f"{number}.png", 100 * len(name) + ord(name[0]) * 1000 + number)
    first = load(options(tmp_path, test_share=0.2))
    assert load(options(tmp_path)).test.ids == first.test.ids  # no folder is named as a split
    assert "the test images are 20 % of each class" in notes(tmp_path)
    assert np.bincount(first.train.labels).tolist() == [16, 8, 1]
    assert np.bincount(first.test.labels).tolist() == [4, 2]
    assert not set(first.train.ids) & set(first.test.ids)
    assert set(load(options(tmp_path, test_share=0.2, seed=5)).test.ids) == set(first.test.ids)
    assert set(load(options(tmp_path, test_share=0.2, split_seed=5)).test.ids) != set(first.test.ids)
    assert "the test images are 20 % of each class" in notes(tmp_path, test_share=0.2)


def test_a_folder_named_as_a_split_is_no_class(tmp_path: Path) -> None:
    for name in ("Train", "cat", "dog"):
        write(tmp_path / name / "0.png", len(name))
    with pytest.raises(BadInput, match=r"`test_share: 0\.2` takes a fifth"):
        describe(options(tmp_path))


def test_images_of_one_patient_are_in_one_split(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        for number in range(20):
            write(tmp_path / name / f"patient{number // 2}_{number}.png", 100 * ord(name[0]) + number)
    data = load(options(tmp_path, test_share=0.3, group_pattern="(patient[0-9]+)"))
    patients = [{id_.split("/")[1].split("_")[0] for id_ in split.ids} for split in (data.train, data.test)]
    assert len(data.test) == 12
    assert not patients[0] & patients[1]
    assert "group_pattern" in notes(tmp_path, group_pattern="(patient[0-9]+)")
    with pytest.raises(ValueError, match="one, as in"):
        options(tmp_path, group_pattern="patient[0-9]+")


def test_a_share_beside_two_folders_is_refused(root: Path) -> None:
    with pytest.raises(BadInput, match="Leave test_share out"):
        describe(options(root, test_share=0.2))
    about = describe(options(root, test_share=0.34, splits={"train": "train"}))
    assert (about.num_train, about.num_test) == (4, 2)


def test_a_share_leaves_an_image_on_both_sides() -> None:
    for share in (0.01, 0.5, 0.99):
        train, test = divide("aab", "012", share, seed=0)
        assert sorted(train + test) == [0, 1, 2]
        assert (len(test), 2 in train) == (1, True)


def test_classes_in_the_order_of_training(root: Path) -> None:
    own, stated = load(options(root)), load(options(root, classes=["dog", "cat"]))
    assert describe(options(root, classes=["dog", "cat"])).class_names == ("dog", "cat")
    assert stated.train.ids == own.train.ids
    assert stated.train.labels.tolist() == [1 - label for label in own.train.labels.tolist()]
    with pytest.raises(BadInput, match=r"no class dgo\. Did you mean 'dog'"):
        describe(options(root, classes=["dgo", "cat"]))
    with pytest.raises(BadInput, match="dog is missing"):
        describe(options(root, classes=["cat"]))


def test_options_that_are_unset_change_no_key(root: Path) -> None:
    dumped = options(root).model_dump(mode="json")
    assert set(dumped) == {
        "on_bad", "keep_duplicates", "root", "image_size_px", "resize", "max_train_size", "max_test_size", "seed",
        "dataset",
    }  # fmt: skip


def test_contradicting_labels_are_named(root: Path) -> None:
    (root / "train" / "dog" / "9.png").write_bytes((root / "train" / "cat" / "0.png").read_bytes())
    found = [note for note in load(options(root)).notes if "another label" in note]
    assert len(found) == 1
    assert "train/cat/0.png" in found[0]
    assert "train/dog/9.png" in found[0]
