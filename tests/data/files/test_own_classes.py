"""Data sets in Python whose splits number their classes differently; PIL images of every mode; column labels."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from transferscope.core.datasets import describe, forget_descriptions, load
from transferscope.core.errors import BadInput
from transferscope.data.sets import arrays, python

CODE = """
import numpy as np
from PIL import Image
from torch.utils.data import ConcatDataset, Subset

class Pets:
    def __init__(self, classes, labels, seed, make=lambda noise: Image.fromarray(noise), by_number=False):
        if by_number:
            self.class_to_idx = {name: number for number, name in enumerate(classes)}
        else:
            self.classes = classes
        self.labels, self.seed, self.make = labels, seed, make
    def __len__(self): return len(self.labels)
    def __getitem__(self, i):
        noise = np.random.Generator(np.random.PCG64([self.seed, i])).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        return self.make(noise), self.labels[i]

class Wrapper:
    def __init__(self, dataset): self.dataset = dataset
    def __len__(self): return len(self.dataset)
    def __getitem__(self, i): return self.dataset[i]

TRAIN = Pets(["cat", "dog", "owl"], [0, 1, 2, 0, 1, 2], 0)
TEST = Pets(["dog", "owl"], [0, 1, 1], 1)
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sys, "path", [*sys.path])
    name = f"pets_{abs(hash(str(tmp_path)))}"

    def write(code: str, **fields: Any) -> python.Options:
        (tmp_path / f"{name}.py").write_text(CODE + code)
        sys.modules.pop(name, None)
        options = {"factory": f"{name}:make", "folder": tmp_path, "image_size_px": 16, **fields}
        return python.Options.model_validate(options)

    yield write
    sys.modules.pop(name, None)


def labels_of(options: python.Options) -> dict[str, Any]:
    data = load(options)
    return dict(zip(data.test.ids, data.test.labels.tolist(), strict=True))


@pytest.mark.parametrize(
    "test",
    [
        "TEST",
        "Subset(TEST, [0, 1, 2])",
        "Wrapper(TEST)",
        "Pets(['owl', 'dog'], [1, 0, 0], 1)",
        "Pets(['dog', 'owl'], [0, 1, 1], 1, by_number=True)",
        "ConcatDataset([Pets(['dog'], [0], 1), Pets(['owl', 'dog'], [0, 0], 2)])",
        "Subset(ConcatDataset([Pets(['dog'], [0], 1), Pets(['cat', 'owl'], [1, 1, 0], 2)]), [0, 2, 1])",
    ],
)
def test_labels_of_both_splits_go_by_name(write: Any, test: str) -> None:
    options = write(f"def make(split): return TRAIN if split == 'train' else {test}\n")
    assert describe(options).class_names == ("cat", "dog", "owl")
    assert labels_of(options) == {"test/0": 1, "test/1": 2, "test/2": 2}


def test_names_for_display_change_no_label(write: Any) -> None:
    options = write("def make(): return TRAIN, TEST\n", class_names=["Cat", "Dog", "Owl"])
    assert describe(options).class_names == ("Cat", "Dog", "Owl")
    assert labels_of(options) == {"test/0": 1, "test/1": 2, "test/2": 2}


def test_the_stated_order_is_applied_after_the_names(write: Any) -> None:
    options = write("def make(): return TRAIN, TEST\n", classes=["owl", "cat", "dog"])
    assert labels_of(options) == {"test/0": 2, "test/1": 0, "test/2": 0}
    stored = {"train": {}, "test": {"test/0": 2, "test/1": 0, "test/2": 0}}
    assert python.changed_labels(options, stored) == ""
    stored["test"]["test/0"] = 1
    assert "test/0 was 1 and is 2" in python.changed_labels(options, stored)


def test_a_class_of_the_test_data_alone_is_a_problem(write: Any) -> None:
    code = "def make(): return TRAIN, Pets(['dog', 'emu'], [0, 1], 1)\n"
    with pytest.raises(BadInput, match=r"of classes without training images: test/1 \('emu'\)"):
        load(write(code))
    data = load(write(code, on_bad="skip"))
    assert (data.left_out, data.test.labels.tolist()) == ({"class_not_in_train": 1}, [1])


def test_what_cannot_be_brought_together_is_refused(write: Any) -> None:
    unnamed = "TRAIN.classes = None\ndef make(): return TRAIN, TEST\n"
    with pytest.raises(BadInput, match="nothing says how the training data number theirs"):
        describe(write(unnamed))
    assert labels_of(write(unnamed, class_names=["cat", "dog", "owl"]))["test/0"] == 1
    mixed = (
        "def make(): return TRAIN, Wrapper(ConcatDataset([Pets(['dog'], [0], 1), Pets(['owl'], [0], 2)]))\n"
    )
    with pytest.raises(BadInput, match="Give it `classes`"):
        describe(write(mixed))


def test_a_module_in_the_current_folder(write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = write("def make(): return TRAIN, TEST\n").model_copy(update={"folder": None})
    monkeypatch.chdir(tmp_path)
    assert describe(options).num_train == 6


MODES = {
    "F": ("noise[..., 0] / np.float32(255)", lambda noise: noise[..., 0]),
    "F to 255": ("noise[..., 0].astype(np.float32)", lambda noise: noise[..., 0]),
    "I": ("noise[..., 0].astype(np.int32)", lambda noise: noise[..., 0]),
    "I to 65535": ("noise[..., 0].astype(np.int32) * 257", lambda noise: noise[..., 0]),
    "I;16": ("noise[..., 0].astype(np.uint16) * 257", lambda noise: noise[..., 0]),
    "1": ("noise[..., 0] > 127", lambda noise: (noise[..., 0] > 127) * 255),
    "L": ("noise[..., 0]", lambda noise: noise[..., 0]),
}


@pytest.mark.parametrize("mode", list(MODES))
def test_images_of_every_mode(write: Any, mode: str) -> None:
    made, plain = MODES[mode]
    head = (
        "def grey(noise):\n    noise[0, :2] = 0, 0, 0\n    noise[0, 2:4] = 255, 255, 255\n"
        f"    return Image.fromarray({made})\n"
    )
    options = write(
        head + "def make(): return Pets('ab', [0, 1, 0, 1], 0, grey), Pets('ab', [0, 1], 1, grey)\n"
    )
    data = load(options)
    for number, image in zip(data.train.ids, data.train.images, strict=True):
        noise = np.random.Generator(np.random.PCG64([0, int(number[-1])])).integers(
            0, 256, (16, 16, 3), dtype=np.uint8
        )
        noise[0, :2], noise[0, 2:4] = 0, 255
        assert np.abs(image.numpy().astype(int) - plain(noise)[None].astype(int)).max() <= 1e-9


def test_hounsfield_units_are_mapped_by_the_training_images(write: Any) -> None:
    head = "def grey(noise):\n    return Image.fromarray(noise[..., 0].astype(np.int32) * 4 - 1000)\n"
    options = write(
        head + "def make(): return Pets('ab', [0, 1, 0, 1], 0, grey), Pets('ab', [0, 1], 1, grey)\n"
    )
    data = load(options)
    assert (int(data.train.images.min()), int(data.train.images.max())) == (0, 255)
    assert any("-1000 becomes 0 (black) and 20 becomes 255" in note for note in data.notes)
    assert int(load(options.model_copy(update={"grey_range": (-2000, 2000)})).train.images.max()) == 129


def test_pil_images_are_turned_upright(write: Any) -> None:
    head = (
        "def turned(noise):\n"
        "    image = Image.fromarray(noise)\n"
        "    image.getexif()[0x0112] = 6\n"
        "    return image\n"
    )
    options = write(
        head + "def make(): return Pets('ab', [0, 1, 0, 1], 0, turned), Pets('ab', [0, 1], 1, turned)\n"
    )
    data = load(options)
    noise = np.random.Generator(np.random.PCG64([0, 2])).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    image.getexif()[0x0112] = 6
    upright = np.asarray(ImageOps.exif_transpose(image))
    assert np.array_equal(
        data.train.images[data.train.ids.index("train/2")].permute(1, 2, 0).numpy(), upright
    )


def test_missing_labels_and_labels_that_are_left_out(write: Any) -> None:
    code = (
        "nan = float('nan')\n"
        "def make(): return (Pets(list('abc'), [[0, 1, 0], [1, nan, 0], [1, 0, 0]], 0),"
        " Pets(list('bca'), [[0, 0, 1], [1, 0, 0]], 1))\n"
    )
    with pytest.raises(BadInput, match=r"one label or more is missing \(NaN\): train/1"):
        load(write(code))
    data = load(write(code, missing_labels="absent", leave_out_labels=["c"]))
    both = (*data.train.labels.tolist(), *data.test.labels.tolist())
    labels = dict(zip(data.train.ids + data.test.ids, both, strict=True))
    assert labels == {
        "train/0": [0, 1], "train/1": [1, 0], "train/2": [1, 0], "test/0": [1, 0], "test/1": [0, 1],
    }  # fmt: skip


def save(folder: Path, **contents: np.ndarray) -> Path:
    rng = np.random.Generator(np.random.PCG64(0))
    size = contents.pop("size", np.array([28, 28])).tolist()
    test = "val" if "val_labels" in contents else "test"
    images = {
        f"{name}_images": rng.integers(0, 256, (len(contents[f"{name}_labels"]), *size), dtype=np.uint8)
        for name in ("train", test)
    }
    np.savez(folder / "x.npz", allow_pickle=True, **images, **contents)
    return folder / "x.npz"


def column(count: int, classes: int) -> np.ndarray:
    return (np.arange(count) % classes).astype(np.uint8)[:, None]


def test_a_column_of_numbers_is_classes(tmp_path: Path) -> None:
    options = arrays.Options(path=save(tmp_path, train_labels=column(18, 9), test_labels=column(9, 9)))
    about, data = describe(options), load(options)
    assert (about.multi_label, about.num_classes, len(data.train)) == (False, 9, 18)
    assert [int(name.partition("/")[2]) % 9 for name in data.train.ids] == data.train.labels.tolist()
    assert about.fingerprint.endswith(" column-labels")
    forget_descriptions()
    binary = arrays.Options(path=save(tmp_path, train_labels=column(18, 2), test_labels=column(9, 2)))
    assert describe(binary).multi_label


@pytest.mark.parametrize("resize", ["crop", "pad", "stretch"])
def test_arrays_of_another_size_are_resized(tmp_path: Path, resize: str) -> None:
    path = save(
        tmp_path, size=np.array([20, 30]), train_labels=column(6, 3)[:, 0], test_labels=column(3, 3)[:, 0]
    )
    with pytest.raises(BadInput, match="`image_size_px: 32` with"):
        describe(arrays.Options(path=path))
    options = arrays.Options.model_validate({"path": path, "image_size_px": 32, "resize": resize})
    data = load(options)
    assert data.train.images.shape == (6, 3, 32, 32)
    assert describe(options).image_size_px == 32
    row = int(data.train.ids[0].partition("/")[2])
    image = Image.fromarray(np.load(path)["train_images"][row]).convert("RGB")
    if resize == "stretch":
        plain = image.resize((32, 32), Image.Resampling.BICUBIC)
    elif resize == "crop":
        plain = ImageOps.fit(image, (32, 32), Image.Resampling.BICUBIC)
    else:
        return
    assert np.array_equal(data.train.images[0].permute(1, 2, 0).numpy(), np.asarray(plain))


def test_the_name_of_the_test_arrays(tmp_path: Path) -> None:
    path = save(tmp_path, train_labels=column(6, 3)[:, 0], val_labels=column(3, 3)[:, 0])
    with pytest.raises(BadInput, match="`test_split: val` takes val_images"):
        describe(arrays.Options(path=path))
    assert describe(arrays.Options(path=path, test_split="val")).num_test == 3


def test_gaps_and_constant_labels_of_arrays(tmp_path: Path) -> None:
    rng = np.random.Generator(np.random.PCG64(1))
    train, test = rng.integers(0, 2, (40, 4)).astype(float), rng.integers(0, 2, (20, 4)).astype(float)
    test[:, 2] = 0
    path = save(tmp_path, train_labels=train, test_labels=test)
    with pytest.raises(BadInput, match=r"same label for 2; .*`leave_out_labels: \[2\]`"):
        describe(arrays.Options(path=path))
    for fields in ({"leave_out_labels": ["2"]}, {"on_bad": "skip"}):
        about = describe(arrays.Options.model_validate({"path": path, **fields}))
        assert about.class_names == ("0", "1", "3")
    assert about.left_out == {"constant_label": 1}
    train[3, 1] = np.nan
    forget_descriptions()
    path = save(tmp_path, train_labels=train, test_labels=test)
    options = {"path": path, "leave_out_labels": ["2"]}
    with pytest.raises(
        BadInput, match=r"1 image\(s\) of which one label or more is missing \(NaN\): train/3"
    ):
        describe(arrays.Options.model_validate(options))
    data = load(arrays.Options.model_validate({**options, "missing_labels": "absent"}))
    assert data.train.labels[data.train.ids.index("train/3")].tolist() == [train[3, 0], 0, train[3, 3]]
    assert len(load(arrays.Options.model_validate({**options, "on_bad": "skip"})).train) == 39
