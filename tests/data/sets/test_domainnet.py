"""DomainNet's lists: the paper's subset, names of classes, and what is said when they can't be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from transferscope.core.errors import BadInput
from transferscope.data.sets import domainnet
from transferscope.data.sets.domainnet import Options

CLASSES = ("ant", "bee", "cow")


def write_image(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.Generator(np.random.PCG64(seed)).integers(0, 256, (12, 14, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for split, count, first in (("train", 20, 0), ("test", 8, 1000)):
        lines = []
        for label, name in enumerate(CLASSES):
            for number in range(count):
                path = f"real/{name}/{split}_{number:03d}.png"
                write_image(tmp_path / path, first + 100 * label + number)
                lines.append(f"{path} {label}")
        (tmp_path / f"real_{split}.txt").write_text("\n".join(lines) + "\n")
    return tmp_path


def options(root: Path, **fields: object) -> Options:
    return Options.model_validate({"root": root, "domain": "real", "image_size_px": 8, **fields})


def problems(root: Path, *, decode: bool = False, **fields: object) -> str:
    with pytest.raises(BadInput) as caught:
        (domainnet.load if decode else domainnet.describe)(options(root, **fields))
    return str(caught.value)


def lines_of(root: Path, split: str = "train") -> list[str]:
    return (root / f"real_{split}.txt").read_text().splitlines()


def change(root: Path, lines: list[str], split: str = "train") -> None:
    (root / f"real_{split}.txt").write_text("\n".join(lines) + "\n")


def test_the_subset_is_the_released_codes(root: Path) -> None:
    """numpy's choice without replacement, of all lines of the list, seed 2020: written out as it is there."""
    rng = np.random.RandomState(seed=2020)
    chosen = np.array([text.split()[0] for text in lines_of(root)])[rng.choice(60, size=25, replace=False)]
    data = domainnet.load(options(root, max_train_size=25))
    assert data.train.ids == tuple(chosen)
    assert len(data.test) == 24
    labels = dict(text.split() for text in lines_of(root))
    assert data.train.labels.tolist() == [int(labels[name]) for name in data.train.ids]


def test_the_defaults_are_the_papers() -> None:
    defaults = Options(root=Path(), domain="real")
    assert (defaults.max_train_size, defaults.max_test_size, defaults.subset_seed) == (50_000, 50_000, 2020)
    assert defaults.image_size_px == 224
    assert domainnet._drawn([(str(n), "0") for n in range(120_906)], 50_000, 2020) == [
        (str(n), "0") for n in np.random.RandomState(2020).choice(120_906, size=50_000, replace=False)
    ]


def test_another_seed_gives_another_subset(root: Path) -> None:
    one, other = (domainnet.load(options(root, max_train_size=25, subset_seed=seed)) for seed in (2020, 1))
    assert set(one.train.ids) != set(other.train.ids)


def test_classes_are_named_by_folders_in_the_order_of_labels(root: Path) -> None:
    change(root, [text.replace(" 0", " 9") for text in lines_of(root)])
    change(root, [text.replace(" 0", " 9") for text in lines_of(root, "test")], "test")
    assert domainnet.describe(options(root)).class_names == ("bee", "cow", "ant")
    assert set(domainnet.load(options(root)).test.labels.tolist()) == {0, 1, 2}


def test_a_path_may_hold_spaces(root: Path) -> None:
    write_image(root / "real/ant/a b.png", 7)
    change(root, [*lines_of(root), "real/ant/a b.png 0"])
    assert domainnet.describe(options(root)).num_train == 61


def test_problems_are_named_and_counted(root: Path) -> None:
    bad = [
        "../../etc/passwd 0",
        "/etc/passwd 0",
        "real/bee/train_000.png 345",
        "real/bee/train_001.png -1",
        "real/bee/train_002.png 0",
        "real/bee/nothing.png 1",
        "real/cow/half.png 2",
    ]
    write_image(root / "real/cow/half.png", 5)
    (root / "real/cow/half.png").write_bytes((root / "real/cow/half.png").read_bytes()[:100])
    write_image(root / "real/dog/new.png", 6)
    change(root, lines_of(root) + bad)
    change(root, [*lines_of(root, "test"), "real/dog/new.png 3"], "test")
    message = problems(root)
    assert "2 path(s) that lead out of the root: " in message
    assert "../../etc/passwd (a path must be relative and without '..')" in message
    assert "1 listed image(s) that are not there: real/bee/nothing.png" in message
    assert "3 image(s) with a label that can't be: " in message
    assert "real/bee/train_000.png ('345', expected 0 to 344)" in message
    assert "real/bee/train_001.png ('-1', expected 0 to 344)" in message
    assert "real/bee/train_002.png (0, which is 'ant' elsewhere in the lists)" in message
    assert "1 test image(s) of classes without training images: real/dog/new.png (label 3)" in message
    data = domainnet.load(options(root, on_bad="skip"))
    expected = {"outside": 2, "missing": 1, "bad_label": 3, "class_not_in_train": 1, "undecodable": 1}
    assert data.left_out == expected
    assert len(data.train) == 60


def test_lists_that_an_editor_on_windows_saved(root: Path) -> None:
    before = domainnet.describe(options(root))
    for split in ("train", "test"):
        text = "\ufeff" + "\r\n".join(lines_of(root, split)) + "\r\n"
        (root / f"real_{split}.txt").write_bytes(text.encode())
    assert domainnet.describe(options(root)) == before


def test_a_class_that_the_subset_leaves_out(root: Path) -> None:
    assert "no training image is there of " in problems(root, max_train_size=2)


def test_lists_that_cannot_be_used(root: Path) -> None:
    content = lines_of(root)
    change(root, [*content, "real/ant/train_000.png"])
    assert "1 lines without a label, first line 61" in problems(root)
    change(root, [])
    assert "real_train.txt holds no line" in problems(root)
    change(root, content[:20])
    assert "lists images of 1 classes; at least 2" in problems(root)
    (root / "real_train.txt").unlink()
    assert "real_train.txt can't be read" in problems(root)
