"""CheXpert's lists: labels, splits, views, repeats, and what is said when they can't be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from transferscope.core.errors import BadInput
from transferscope.data.drawn.chest_film import prepare
from transferscope.data.sets import chexpert
from transferscope.data.sets.chexpert import FINDINGS, Options

ALL = (
    *("No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema"),
    *("Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other"),
    *("Fracture", "Support Devices"),
)
HEADER = "Path,Sex,Age,Frontal/Lateral,AP/PA," + ",".join(ALL)
PREFIX = "CheXpert-v1.0-small"


def path_of(patient: int, view: int = 1, kind: str = "frontal") -> str:
    return f"train/patient{patient:05d}/study1/view{view}_{kind}.jpg"


def line(path: str, findings: dict[str, str], view: str = "Frontal") -> str:
    return f"{PREFIX}/{path},Male,70,{view},AP," + ",".join(findings.get(name, "") for name in ALL)


def write_image(path: Path, seed: int, size: tuple[int, int] = (30, 24)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.Generator(np.random.PCG64(seed)).integers(0, 256, size, dtype=np.uint8)
    Image.fromarray(pixels).save(path, quality=95)


def write_lists(root: Path, lines: list[str], name: str = "train") -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / f"{name}.csv").write_text("\n".join([HEADER, *lines]) + "\n")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """20 patients with two frontal images and a lateral one each."""
    root = tmp_path / PREFIX
    rng = np.random.Generator(np.random.PCG64(0))
    lines = []
    for patient in range(20):
        for view, kind in ((1, "frontal"), (2, "frontal"), (3, "lateral")):
            path = path_of(patient, view, kind)
            write_image(root / path, 10 * patient + view)
            values = dict(zip(ALL, rng.choice(["1.0", "0.0", "-1.0", ""], size=14).tolist(), strict=True))
            lines.append(line(path, values, kind.capitalize()))
    write_lists(root, lines)
    return root


def options(root: Path, **fields: object) -> Options:
    return Options.model_validate(
        {"root": root, "image_size_px": 16, "train_size": 20, "test_size": 20, **fields}
    )


def problems(root: Path, *, decode: bool = False, **fields: object) -> str:
    with pytest.raises(BadInput) as caught:
        (chexpert.load if decode else chexpert.describe)(options(root, **fields))
    return str(caught.value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1.0", (1, 1, 1, 1, 1)),
        ("0.0", (0, 0, 0, 0, 0)),
        ("", (0, 0, 0, 0, 0)),
        # Cardiomegaly, Edema, Consolidation, Atelectasis, Pleural Effusion
        ("-1.0", (0, 1, 0, 1, 0)),
        ("-1", (0, 1, 0, 1, 0)),
        ("2.0", (None,) * 5),
        ("nan", (None,) * 5),
        ("yes", (None,) * 5),
    ],
)
def test_the_label_policy(value: str, expected: tuple[int | None, ...]) -> None:
    assert tuple(chexpert._label(finding, value) for finding in FINDINGS) == expected


def test_labels_are_read_from_the_columns_of_their_names(root: Path) -> None:
    data = chexpert.load(options(root, train_size=30, test_size=30, repeat_rare=0))
    lines = (root / "train.csv").read_text().splitlines()
    by_path = {text.split(",")[0].partition("/")[2]: text.split(",") for text in lines[1:]}
    columns = [HEADER.split(",").index(name) for name in FINDINGS]
    for split in (data.train, data.test):
        for name, labels in zip(split.ids, split.labels.tolist(), strict=True):
            expected = [
                float({"1.0": 1, "-1.0": column in (columns[1], columns[3])}.get(by_path[name][column], 0))
                for column in columns
            ]
            assert labels == expected, name


def test_the_draw_is_the_released_codes(root: Path) -> None:
    listed = [text.split(",")[0].partition("/")[2] for text in (root / "train.csv").read_text().splitlines()]
    drawn = np.random.RandomState(1234).permutation(np.array(listed[1:]))
    data = chexpert.load(options(root, train_size=25, test_size=30, repeat_rare=0))
    assert data.train.ids == tuple(drawn[:25])
    assert data.test.ids == tuple(drawn[25:55])


def test_no_patient_is_in_both_where_patients_are_drawn(root: Path) -> None:
    data = chexpert.load(options(root, split_by="patient", repeat_rare=0))
    assert len(data.train) == len(data.test) == 20
    patients = [{name.split("/")[1] for name in split.ids} for split in (data.train, data.test)]
    assert not patients[0] & patients[1]
    assert chexpert.notes(options(root, split_by="patient")) == [
        "no patient has images in both training and test"
    ]
    assert "of patients who have training images too" in chexpert.notes(options(root))[0]
    assert "only 27 are left of other patients" in problems(
        root, split_by="patient", train_size=32, test_size=28
    )


@pytest.mark.parametrize(("views", "count"), [("frontal", 40), ("lateral", 20), ("both", 60)])
def test_views(root: Path, views: str, count: int) -> None:
    half = count // 2
    data = chexpert.load(options(root, views=views, train_size=half, test_size=half, repeat_rare=0))
    kinds = {name.rpartition("_")[2] for name in data.train.ids + data.test.ids}
    assert kinds == ({"frontal.jpg", "lateral.jpg"} if views == "both" else {f"{views}.jpg"})
    assert f"lists {count} " in problems(root, views=views, train_size=half, test_size=half + 1)


def test_images_with_a_rare_finding_are_listed_twice_in_training(root: Path) -> None:
    once = chexpert.load(options(root, repeat_rare=0))
    twice = chexpert.load(options(root))
    rare = (once.train.labels[:, [0, 2]] == 1).any(dim=1)
    assert 0 < int(rare.sum()) < 20
    expected = [i for i, is_rare in enumerate(rare.tolist()) for _ in range(1 + is_rare)]
    assert torch.equal(twice.train.images, once.train.images[expected])
    assert torch.equal(twice.train.labels, once.train.labels[expected])
    assert [name.partition("#")[0] for name in twice.train.ids] == [once.train.ids[i] for i in expected]
    assert torch.equal(twice.test.images, once.test.images)
    assert len(chexpert.load(options(root, repeat_rare=2)).train) == 20 + 2 * int(rare.sum())
    assert chexpert.describe(options(root)).num_train == len(expected)


def test_images_are_prepared_and_grey(root: Path) -> None:
    # no side is longer than the square, so that nothing is made smaller beforehand
    data = chexpert.load(options(root, image_size_px=32))
    with Image.open(root / data.test.ids[3]) as file:
        expected = prepare(np.asarray(file.convert("L")), 32)
    assert np.array_equal(data.test.images[3].numpy(), np.broadcast_to(expected, (3, 32, 32)))
    grey = chexpert.load(options(root, image_size_px=32, channels=1))
    assert torch.equal(grey.test.images, data.test.images[:, :1])


def test_test_images_from_valid(root: Path) -> None:
    lines = []
    for patient in range(100, 106):
        path = path_of(patient).replace("train", "valid")
        write_image(root / path, 1000 + patient)
        lines.append(line(path, dict.fromkeys(FINDINGS, f"{patient % 2}.0")))
    write_lists(root, lines, "valid")
    data = chexpert.load(options(root, test_from="valid", train_size=60))
    assert sorted(data.test.ids) == [
        f"valid/patient{n:05d}/study1/view1_frontal.jpg" for n in range(100, 106)
    ]


def test_the_first_part_of_the_paths_may_be_the_root_or_a_folder_in_it(root: Path, tmp_path: Path) -> None:
    (root / "train.csv").rename(tmp_path / "train.csv")
    inside = chexpert.load(options(tmp_path, repeat_rare=0))
    (tmp_path / "train.csv").rename(root / "train.csv")
    moved = root.rename(tmp_path / "films")
    assert torch.equal(chexpert.load(options(moved, repeat_rare=0)).test.images, inside.test.images)


def test_problems_are_named_and_counted(root: Path) -> None:
    text = (root / "train.csv").read_text().splitlines()
    text.append(line("../secret.jpg", {}))
    text.append(line("/etc/passwd", {}).replace(f"{PREFIX}/", ""))
    text.append(line(path_of(0), {"Edema": "7"}))
    (root / "train.csv").write_text("\n".join(text) + "\n")
    (root / path_of(1)).unlink()
    (root / path_of(2)).write_bytes((root / path_of(2)).read_bytes()[:200])
    sizes = {"train_size": 32, "test_size": 31}
    message = problems(root, **sizes)
    assert "2 path(s) that lead out of the root: " in message
    assert "../secret.jpg (a path must be relative and without '..')" in message
    assert "/etc/passwd (a path" in message
    assert f"1 listed image(s) that are not there: {path_of(1)} (No such file" in message
    assert f"1 image(s) with a label that can't be: {path_of(0)} (Edema is '7', expected 1.0" in message
    data = chexpert.load(options(root, on_bad="skip", **sizes))
    assert data.left_out == {"outside": 2, "missing": 1, "bad_label": 1, "undecodable": 1}


def test_a_list_without_the_columns(root: Path) -> None:
    content = (root / "train.csv").read_text()
    (root / "train.csv").write_text(content.replace("Edema", "Oedema"))
    assert "lacks the column(s) Edema. Expected: <root>/train.csv" in problems(root)
    (root / "train.csv").write_text(content + "a,b\n")
    assert "train.csv, line 62, has 2 fields; expected 19" in problems(root)
    (root / "train.csv").unlink()
    assert "train.csv can't be read" in problems(root)


def test_a_finding_that_is_always_there(root: Path) -> None:
    write_lists(root, [line(path_of(p, v), {"Edema": "1.0"}) for p in range(20) for v in (1, 2)])
    assert "all train images have the same label for Cardiomegaly, Edema, Consol" in problems(root)


def test_images_of_more_than_8_bits_are_refused(root: Path) -> None:
    pixels = np.random.Generator(np.random.PCG64(0)).integers(0, 4096, (30, 24)).astype(np.uint16)
    Image.fromarray(pixels).save(root / path_of(0), format="PNG")
    with pytest.raises(BadInput, match="it has more than 8 bits"):
        chexpert.load(Options(root=root, image_size_px=16, train_size=20, test_size=20, on_bad="stop"))
