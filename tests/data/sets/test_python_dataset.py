"""Data sets in Python: what is called, which images and labels are taken, and what is said otherwise."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from transferscope.core.errors import BadInput
from transferscope.data.sets import python
from transferscope.data.sets.python import Options

HEAD = """
import numpy as np
import torch
from PIL import Image

def pixels(count, seed, side=16):
    return np.random.Generator(np.random.PCG64(seed)).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
"""
TORCH = """
class Noise(torch.utils.data.Dataset):
    def __init__(self, seed, as_what, labels):
        self.seed, self.as_what, self.labels = seed, as_what, labels
    def __len__(self):
        return len(self.labels)
    def __getitem__(self, i):
        return self.as_what(pixels(len(self), self.seed)[i]), self.labels[i]
"""


@pytest.fixture
def write(tmp_path: Path, request: pytest.FixtureRequest) -> Any:
    name = f"images_{abs(hash(request.node.name))}"

    def write(code: str) -> dict[str, Any]:
        (tmp_path / f"{name}.py").write_text(HEAD + TORCH + code)
        sys.modules.pop(name, None)
        return {"factory": f"{name}:make", "folder": tmp_path, "image_size_px": 16}

    yield write
    sys.modules.pop(name, None)
    sys.path[:] = [place for place in sys.path if place != str(tmp_path)]


def expected_pixels(ids: tuple[str, ...], count: int, seed: int) -> np.ndarray:
    rng = np.random.Generator(np.random.PCG64(seed))
    images = rng.integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)
    return images[[int(name.partition("/")[2]) for name in ids]].transpose(0, 3, 1, 2)


@pytest.mark.parametrize(
    "as_what",
    [
        "Image.fromarray",
        "lambda x: x",
        "torch.from_numpy",
        "lambda x: torch.from_numpy(x).permute(2, 0, 1)",
        "lambda x: torch.from_numpy(x).permute(2, 0, 1) / 255",
        "lambda x: x.astype(np.float64) / 255",
    ],
)
def test_images_of_every_kind_keep_their_pixels(write: Any, as_what: str) -> None:
    fields = write(
        f"def make(split):\n"
        f"    as_what = {as_what}\n"
        f"    return Noise(0, as_what, [0, 1, 2, 0]) if split == 'train' else Noise(1, as_what, torch.tensor([0, 2]))\n"
    )
    options = Options.model_validate({**fields, "class_names": ("a", "b", "c")})
    data = python.load(options)
    assert np.array_equal(data.train.images.numpy(), expected_pixels(data.train.ids, 4, 0))
    assert np.array_equal(data.test.images.numpy(), expected_pixels(data.test.ids, 2, 1))
    assert data.train.labels.tolist() == [[0, 1, 2, 0][int(name[-1])] for name in data.train.ids]
    assert data.test.labels.tolist() == [[0, 2][int(name[-1])] for name in data.test.ids]


def test_how_many_classes_there_are_must_be_said(write: Any) -> None:
    fields = write(
        "class Silent(Noise):\n"
        "    def __getattribute__(self, name):\n"
        "        if name == 'labels':\n"
        "            raise AttributeError(name)\n"
        "        return object.__getattribute__(self, name)\n"
        "    def __len__(self): return 2\n"
        "    def __getitem__(self, i): return pixels(2, self.seed)[i], i\n"
        "def make(): return Silent(0, None, None), Silent(1, None, None)\n"
    )
    with pytest.raises(BadInput, match="how many classes are there"):
        python.describe(Options.model_validate(fields))
    assert python.describe(Options.model_validate({**fields, "class_names": ("a", "b")})).num_train == 2


def test_a_data_set_of_which_nothing_can_be_had(write: Any) -> None:
    fields = write(
        "class Broken(Noise):\n"
        "    def __getitem__(self, i): return self.labels[i]\n"
        "def make(split): return Broken(0, None, [0, 1])\n"
    )
    with pytest.raises(
        BadInput, match=r"none of the first 10 images can be had \(ValueError: a int; expected a pair"
    ):
        python.describe(Options.model_validate(fields))


def test_classes_by_labels_and_grey_images(write: Any) -> None:
    fields = write(
        "def make():\n    return Noise(0, np.array, [0, 1, 1]), Noise(1, lambda x: x[:, :, 0], [1, 0])\n"
    )
    module = fields["folder"] / f"{fields['factory'].partition(':')[0]}.py"
    assert module.exists()
    assert python.describe(Options.model_validate(fields)).class_names == ("0", "1")
    data = python.load(Options.model_validate(fields))
    assert torch.equal(data.test.images[:, 0], data.test.images[:, 2])


def test_items_and_splits_may_be_dicts(write: Any) -> None:
    fields = write(
        "class Dicts(Noise):\n"
        "    def __getitem__(self, i):\n"
        "        image, label = super().__getitem__(i)\n"
        "        return {'pixel_values': image, 'labels': label, 'id': i}\n"
        "class Both(Noise):\n"
        "    def __getitem__(self, i):\n"
        "        image, label = super().__getitem__(i)\n"
        "        return {'image': image, 'img': image, 'label': label}\n"
        "def make(): return {'test': Dicts(1, np.array, [1, 0]), 'train': Dicts(0, np.array, [0, 1, 1])}\n"
        "def unclear(split): return Both(0, np.array, [0, 1])\n"
    )
    data = python.load(Options.model_validate(fields))
    assert np.array_equal(data.train.images.numpy(), expected_pixels(data.train.ids, 3, 0))
    assert data.test.labels.tolist() == [[1, 0][int(name[-1])] for name in data.test.ids]
    with pytest.raises(BadInput, match="a dict of 'image', 'img', 'label'; expected one of image, img"):
        python.load(
            Options.model_validate({**fields, "factory": fields["factory"].replace("make", "unclear")})
        )


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (
            "[1, 2, 3, 1]",
            "no training image is there of 0. Labels count from 0: where yours start at 1, subtract 1",
        ),
        ("[0., 1., 1., 0.]", "how many classes are there"),
        ("['cat', 'dog', 'dog', 'cat']", "how many classes are there"),
    ],
)
def test_labels_that_are_no_numbers_from_0(write: Any, labels: str, said: str) -> None:
    options = Options.model_validate(
        write(f"def make(split): return Noise(len(split), np.array, {labels})\n")
    )
    with pytest.raises(BadInput) as caught:
        python.load(options)
    assert said in str(caught.value)


def test_labels_of_another_type_are_said_to_be(write: Any) -> None:
    options = Options.model_validate(
        {
            **write("def make(split): return Noise(len(split), np.array, [0., 1.])\n"),
            "class_names": ("a", "b"),
        }
    )
    with pytest.raises(BadInput, match=r"\(0.0, expected 0 to 1, of the type int\)"):
        python.load(options)


def test_several_findings(write: Any) -> None:
    fields = write(
        "def make(split):\n"
        "    return Noise(len(split), Image.fromarray, [torch.tensor([1, 0]), torch.tensor([0., 1.])])\n"
    )
    options = Options.model_validate({**fields, "class_names": ("a", "b")})
    assert python.describe(options).multi_label
    assert sorted(python.load(options).train.labels.tolist()) == [[0, 1], [1, 0]]


def test_problems_are_named_and_counted(write: Any) -> None:
    fields = write(
        "class Mixed(Noise):\n"
        "    def __getitem__(self, i):\n"
        "        image, label = super().__getitem__(i)\n"
        "        if i == 0: raise OSError('gone')\n"
        "        if i == 1: image = image / 255 - 0.5\n"
        "        if i == 2: image = image[..., :2]\n"
        "        return image, label\n"
        "def make(split):\n"
        "    if split == 'train': return Mixed(0, np.array, [0, 1, 0, 0, 1, 2, 1, -1])\n"
        "    return Noise(0, np.array, [0, 1, 0, 0, 1, 1, 0, 1])\n"
    )
    options = Options.model_validate({**fields, "class_names": ("a", "b")})
    with pytest.raises(BadInput) as caught:
        python.load(options)
    message = str(caught.value)
    assert "3 file(s) that can't be decoded as an image: " in message
    assert "train/0 (OSError: gone)" in message
    assert "floats from -0.5 to" in message
    assert "uint8 of shape (16, 16, 2)" in message
    assert "2 image(s) with a label that can't be: " in message
    assert "train/7 (-1, expected 0 to 1)" in message
    data = python.load(options.model_copy(update={"on_bad": "skip"}))
    assert data.left_out == {"bad_label": 2, "undecodable": 3, "duplicate": 3}
    assert (len(data.train), len(data.test)) == (3, 5)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("make = None\n", "TypeError"),
        ("raise RuntimeError('at import')\n", "RuntimeError: at import"),
        ("def make(split):\n    return []\n", "gives 2 data sets of [0, 0] images"),
        ("def make():\n    return ([1], [2], [3])\n", "gives 3 data sets"),
        ("def make():\n    return Noise(0, np.array, [0, 1, 1])\n", "gives one Noise, and no pair"),
        ("def make(split):\n    raise SystemExit(3)\n", "SystemExit: 3"),
        ("", "AttributeError"),
    ],
)
def test_code_that_cannot_be_used(write: Any, code: str, said: str) -> None:
    options = Options.model_validate(write(code))
    with pytest.raises(BadInput) as caught:
        python.describe(options)
    assert said in str(caught.value)


def test_no_such_module() -> None:
    with pytest.raises(BadInput, match="ModuleNotFoundError"):
        python.describe(Options(factory="no_such_module_here:make"))
    with pytest.raises(ValueError, match="should match pattern"):
        Options(factory="no_colon")


def test_the_fingerprint_is_of_the_code(write: Any) -> None:
    code = "def make(split):\n    return Noise(len(split), np.array, [0, 1])\n"
    before = python.describe(Options.model_validate({**write(code), "class_names": ("a", "b")})).fingerprint
    after = python.describe(
        Options.model_validate({**write(code + "#\n"), "class_names": ("a", "b")})
    ).fingerprint
    assert before != after


ROWS = """
import csv
from pathlib import Path
HERE = Path(__file__).parent
class Rows:
    classes = ["cat", "dog"]
    def __init__(self, split):
        with open(HERE / "labels.csv") as file:
            self.rows = [row for row in csv.DictReader(file) if row["split"] == split]
    def __len__(self):
        return len(self.rows)
    def __getitem__(self, i):
        return pixels(1, i)[0], int(self.rows[i]["label"])
"""
CSV = "split,label\ntrain,0\ntrain,1\ntest,0\ntest,{}\n"


def fingerprint_of(fields: dict[str, Any]) -> str:
    return python.describe(Options.model_validate(fields)).fingerprint


def test_the_fingerprint_covers_the_files_that_the_code_reads(write: Any, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(CSV.format(1))
    fields = write(ROWS + "make = Rows\n")
    before = fingerprint_of(fields)
    assert fingerprint_of(fields) == before
    (tmp_path / "labels.csv").write_text(CSV.format(0))
    assert fingerprint_of(fields) != before


def test_the_fingerprint_covers_files_that_are_read_once_when_the_module_is_imported(
    write: Any, tmp_path: Path
) -> None:
    (tmp_path / "labels.csv").write_text(CSV.format(1))
    fields = write(
        ROWS
        + "made = {split: Rows(split) for split in ('train', 'test')}\nmake = lambda split: made[split]\n"
    )
    before = fingerprint_of(fields)
    assert fingerprint_of(fields) == before  # by now the module is imported
    (tmp_path / "labels.csv").write_text(CSV.format(0))
    assert fingerprint_of(fields) != before


def test_a_data_set_that_writes_a_file_first_has_the_same_fingerprint_afterwards(
    write: Any, tmp_path: Path
) -> None:
    fields = write(
        ROWS + "def make(split):\n"
        "    if not (HERE / 'labels.csv').exists():\n"
        f"        (HERE / 'labels.csv').write_text({CSV.format(1)!r})\n"
        "    return Rows(split)\n"
    )
    assert fingerprint_of(fields) == fingerprint_of(fields)


def test_the_fingerprint_covers_modules_of_the_users_own(write: Any, tmp_path: Path) -> None:
    own = f"{tmp_path.name.replace('-', '_')}_labels"
    (tmp_path / f"{own}.py").write_text("LABELS = [0, 1]\n")
    fields = write(
        f"def make(split):\n    from {own} import LABELS\n    return Noise(0, lambda x: x, LABELS)\n"
    )
    before = fingerprint_of(fields)
    (tmp_path / f"{own}.py").write_text("LABELS = [1, 0]\n")
    assert fingerprint_of(fields) != before


def test_without_files_of_its_own_the_fingerprint_is_that_of_the_module(write: Any, tmp_path: Path) -> None:
    import hashlib

    fields = write("def make(split):\n    return Noise(0, lambda x: x, [0, 1])\n")
    (source,) = tmp_path.glob("images_*.py")
    assert fingerprint_of(fields) == hashlib.sha256(source.read_bytes()).hexdigest()


@pytest.mark.parametrize("is_listed", [True, False])
def test_labels_that_changed_out_of_sight_are_found(write: Any, is_listed: bool) -> None:
    name = "labels" if is_listed else "hidden"
    code = (
        "class Numbers:\n    classes = ['a', 'b']\n    def __init__(self, labels):\n"
        f"        self.{name} = labels\n    def __len__(self):\n        return 3\n"
        f"    def __getitem__(self, i):\n        return pixels(1, i)[0], self.{name}[i]\n"
        "TRAIN = [0, 1, 1]\ndef make(split):\n    return Numbers(TRAIN if split == 'train' else [1, 0, 1])\n"
    )
    fields = {**write(code), "keep_duplicates": True}
    options = Options.model_validate(fields)
    data = python.load(options)
    stored = {
        split: dict(zip(getattr(data, split).ids, getattr(data, split).labels.tolist(), strict=True))
        for split in ("train", "test")
    }
    assert python.changed_labels(options, stored) == ""
    sys.modules[fields["factory"].partition(":")[0]].TRAIN[2] = 0  # type: ignore[attr-defined]
    changed = python.changed_labels(options, stored)
    assert "1 label differs" in changed
    assert "train/2 was 1 and is 0" in changed
    assert python.changed_labels(options.model_copy(update={"data_version": "2"}), stored) == ""


RELABELLED = """
class Numbers:
    classes = ['a', 'b']
    def __init__(self, labels, is_listed):
        self.targets, self.is_listed = labels, is_listed
    def __len__(self):
        return 3
    def __getitem__(self, i):
        return pixels(1, i)[0], self.targets[i] if self.is_listed else 1 - self.targets[i]
"""


@pytest.mark.parametrize("is_listed", [True, False])
def test_the_labels_of_the_items_are_taken_and_not_those_that_are_listed(write: Any, is_listed: bool) -> None:
    code = (
        f"def make(split):\n    return Numbers([0, 1, 1] if split == 'train' else [1, 0, 1], {is_listed})\n"
    )
    options = Options.model_validate({**write(RELABELLED + code), "keep_duplicates": True})
    data = python.load(options)
    stored = {
        split: dict(zip(getattr(data, split).ids, getattr(data, split).labels.tolist(), strict=True))
        for split in ("train", "test")
    }
    assert stored["train"] == dict(
        zip(["train/0", "train/1", "train/2"], [0, 1, 1] if is_listed else [1, 0, 0], strict=True)
    )
    assert (
        any("6 labels differ from those that the data set lists" in note for note in data.notes) != is_listed
    )
    assert python.changed_labels(options, stored) == ""


@pytest.mark.parametrize("mode", ["LA", "La", "PA", "RGBA"])
def test_transparent_pil_images_become_white_where_they_are_transparent(write: Any, mode: str) -> None:
    code = f"""
def picture(i):
    grey = Image.fromarray(pixels(1, i)[0][..., 0])
    alpha = Image.fromarray(np.array([0, 255], dtype=np.uint8)[pixels(1, i)[0][..., 1] % 2])
    if {mode!r} == 'PA':
        palette = grey.convert('P').convert('PA')
        palette.putalpha(alpha)
        return palette
    both = Image.merge('LA', (grey, alpha))
    return both if {mode!r} == 'LA' else both.convert({mode!r})

class Pictures:
    targets = [0, 1, 1]
    def __init__(self, first):
        self.first = first
    def __len__(self):
        return 3
    def __getitem__(self, i):
        return picture(self.first + i), self.targets[i]

def make(split):
    return Pictures(0 if split == 'train' else 10)
"""
    data = python.load(Options.model_validate(write(code)))
    for name, image in zip(data.test.ids, data.test.images.numpy(), strict=True):
        drawn = expected_pixels(("/0",), 1, 10 + int(name[-1]))[0]
        expected = np.where(drawn[1] % 2, drawn[0], 255)
        assert np.array_equal(image, np.stack([expected] * 3))


@pytest.mark.parametrize("shape", ["(3, 16, 3)", "(1, 16, 1)"])
def test_arrays_of_which_either_end_may_be_the_channels(write: Any, shape: str) -> None:
    code = f"def make(split):\n    return Noise(0, lambda x: np.zeros({shape}, np.uint8), [0, 1])\n"
    with pytest.raises(BadInput, match="the first or the last may be the channels"):
        python.load(Options.model_validate({**write(code), "class_names": ("a", "b")}))


@pytest.mark.parametrize("is_random", [False, True])
def test_images_that_are_others_each_time_are_named(write: Any, is_random: bool) -> None:
    noise = "random.randint(0, 255)" if is_random else "0"
    code = f"""
import random
class Augmented:
    classes = ["a", "b"]
    def __init__(self, split):
        self.seed = 0 if split == "train" else 1
    def __len__(self):
        return 6
    def __getitem__(self, row):
        image = pixels(6, self.seed)[row].copy()
        image.flat[:12] = [{noise} for _ in range(12)]
        return Image.fromarray(image), row % 2
def make(split):
    return Augmented(split)
"""
    data = python.load(Options.model_validate(write(code)))
    assert any("another image each time" in note for note in data.notes) == is_random
