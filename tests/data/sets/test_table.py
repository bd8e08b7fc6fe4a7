"""Tables of images: columns, labels, splits, and pixels as a plain reading gives them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from transferscope.core.datasets import ImageData
from transferscope.core.errors import BadInput
from transferscope.data.sets import table
from transferscope.data.sets.table import Options
from transferscope.train.held_out import hold_out

SIDE = 8


def picture(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (SIDE, SIDE, 3), np.uint8)


def write(path: Path, number: int) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(number)).save(path)
    return path.name


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Ten images 0.png to 9.png; cats are even and dogs odd, patients have two images."""
    lines = ["file,label,split,patient_id"]
    for number in range(10):
        write(tmp_path / f"{number}.png", number)
        part = "test" if number >= 6 else "train"
        lines.append(f"{number}.png,{'cat' if number % 2 == 0 else 'dog'},{part},p{number // 2}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    return tmp_path


def load(path: Path, **fields: object) -> ImageData:
    return table.load(Options.model_validate({"path": path, "image_size_px": SIDE, **fields}))


def message(path: Path, **fields: object) -> str:
    with pytest.raises(BadInput) as caught:
        table.describe(Options.model_validate({"path": path, "image_size_px": SIDE, **fields}))
    return str(caught.value)


def by_id(data: ImageData) -> dict[str, tuple[str, int]]:
    return {
        id_: (name, int(label))
        for name, split in (("train", data.train), ("test", data.test))
        for id_, label in zip(split.ids, split.labels, strict=True)
    }


def test_usual_columns_are_found_and_pixels_are_those_of_the_files(root: Path) -> None:
    data = load(root / "labels.csv")
    expected = {
        f"group p{number // 2}: {number}.png": ("test" if number >= 6 else "train", number % 2)
        for number in range(10)
    }
    assert by_id(data) == expected
    for split in (data.train, data.test):
        for id_, image in zip(split.ids, split.images, strict=True):
            number = int(id_.split(": ")[1].removesuffix(".png"))
            assert (image.numpy() == picture(number).transpose(2, 0, 1)).all()
    assert table.cluster_of("group p3: 7.png") == "p3"
    assert table.cluster_of("7.png") == "7.png"


@pytest.mark.parametrize("kind", ["tsv", "csv.gz", "jsonl", "parquet", "semicolons.csv"])
def test_every_kind_of_table_gives_the_same(root: Path, kind: str) -> None:
    rows = pl.read_csv(root / "labels.csv")
    path = root / f"table.{kind}"
    if kind == "parquet":
        rows.write_parquet(path)
    elif kind == "jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows.to_dicts()))
    elif kind == "csv.gz":
        path.write_bytes(gzip.compress((root / "labels.csv").read_bytes()))
    else:
        rows.write_csv(path, separator="\t" if kind == "tsv" else ";")
    assert by_id(load(path)) == by_id(load(root / "labels.csv"))


@pytest.mark.parametrize("form", ["bytes", "struct"])
def test_bytes_in_parquet(root: Path, form: str) -> None:
    rows = pl.read_csv(root / "labels.csv")
    content = [(root / name).read_bytes() for name in rows["file"]]
    cells = content if form == "bytes" else [{"bytes": one, "path": "x.png"} for one in content]
    path = root / "images.parquet"
    rows.drop("file", "patient_id").with_columns(pl.Series("picture", cells)).write_parquet(path)
    data = load(path)
    assert set(data.test.ids) == {"row 6", "row 7", "row 8", "row 9"}
    for id_, image, label in zip(data.train.ids, data.train.images, data.train.labels, strict=True):
        number = int(id_.removeprefix("row "))
        assert (image.numpy() == picture(number).transpose(2, 0, 1)).all()
        assert int(label) == number % 2
    before = table.describe(Options(path=path, image_size_px=SIDE)).fingerprint
    rows.drop("file", "patient_id").with_columns(pl.Series("picture", cells[::-1])).write_parquet(path)
    assert table.describe(Options(path=path, image_size_px=SIDE)).fingerprint != before


def test_numbers_are_in_numerical_order(root: Path) -> None:
    rows = pl.read_csv(root / "labels.csv").with_columns(pl.Series("label", [10.0, 9.0] * 5))
    rows.write_csv(root / "numbers.csv")
    about = table.describe(Options(path=root / "numbers.csv", image_size_px=SIDE))
    assert about.class_names == ("9", "10")
    rows.with_columns(pl.Series("label", [1.5, 2.0] * 5)).write_csv(root / "numbers.csv")
    assert "holds fractions" in message(root / "numbers.csv")


def test_missing_files_empty_labels_and_rows_listed_twice_are_named(root: Path) -> None:
    more = "gone.png,cat,train,p9\n1.png,cat,train,p0\n0.png,cat,test,p0\n2.png,,train,p1\n../x.png,cat,train,p1\n"
    text = (root / "labels.csv").read_text() + "\n" + more
    (root / "labels.csv").write_text(
        text.replace("2.png,cat", "2.png,").replace("\n2.png,,train,p1\n", "\n", 1)
    )
    said = message(root / "labels.csv")
    for part in (
        "gone.png",
        "1.png (with another label)",
        "0.png (in both splits)",
        "there is no label",
        "../x.png",
    ):
        assert part in said, part
    assert len(load(root / "labels.csv", on_bad="skip").train) == 5


def test_a_share_keeps_patients_together_and_is_stated(root: Path) -> None:
    options = Options(path=root / "labels.csv", image_size_px=SIDE, test_share=0.4)
    data = table.load(options)
    patients = [{table.cluster_of(id_) for id_ in split.ids} for split in (data.train, data.test)]
    assert len(data.test) == 4
    assert not patients[0] & patients[1]
    assert any("column patient_id" in note for note in table.describe(options).notes)


def test_groups_in_both_splits_are_named(root: Path) -> None:
    text = (root / "labels.csv").read_text().replace("train,p2", "train,p3")
    (root / "labels.csv").write_text(text)
    about = table.describe(Options(path=root / "labels.csv", image_size_px=SIDE))
    assert any("1 of 2 groups of the test images" in note and "p3" in note for note in about.notes)


def test_a_split_without_test_rows_is_refused_with_what_there_is(root: Path) -> None:
    text = (root / "labels.csv").read_text().replace(",test,", ",val,")
    (root / "labels.csv").write_text(text)
    assert "There are: train, val" in message(root / "labels.csv")
    data = load(root / "labels.csv", test_split="val")
    assert len(data.test) == 4
    (root / "labels.csv").write_text(text.replace("5.png,dog,train", "5.png,dog,unused"))
    about = table.describe(Options(path=root / "labels.csv", image_size_px=SIDE, test_split="val"))
    assert about.num_train == 5
    assert any("left out: unused (1 rows)" in note for note in about.notes)


def test_a_table_and_a_list_of_test_images(root: Path) -> None:
    rows = pl.read_csv(root / "labels.csv").drop("split")
    rows[:6].write_csv(root / "a.csv")
    rows[6:].write_csv(root / "b.csv")
    whole = by_id(load(root / "labels.csv"))
    assert by_id(load(root / "a.csv", test_path=root / "b.csv")) == whole
    rows.write_csv(root / "all.csv")
    (root / "test.txt").write_text("6.png\n7.png\n8\n9.png\n")
    assert by_id(load(root / "all.csv", test_list=root / "test.txt")) == whole


def test_several_labels_and_missing_ones(root: Path) -> None:
    rows = pl.read_csv(root / "labels.csv").drop("label")
    labels = {"a": [1, 0] * 5, "b": [1, 1, 0, 0, 1, 0, 1, 0, 0, 1]}
    rows.with_columns(**{k: pl.Series(v) for k, v in labels.items()}).write_csv(root / "two.csv")
    data = load(root / "two.csv", label_columns=["b", "a"])
    for id_, row in zip(data.train.ids, data.train.labels.tolist(), strict=True):
        number = int(id_.split(": ")[1].removesuffix(".png"))
        assert row == [labels["b"][number], labels["a"][number]]
    text = (root / "two.csv").read_text().replace("0.png,train,p0,1,1", "0.png,train,p0,,-1")
    (root / "two.csv").write_text(text)
    assert "0.png (a)" in message(root / "two.csv", label_columns=["a", "b"])
    fields = {"label_columns": ["a", "b"], "missing_labels": "absent"}
    assert "uncertain_labels" in message(root / "two.csv", **fields)
    data = load(root / "two.csv", uncertain_labels="present", **fields)
    assert data.train.labels[data.train.ids.index("group p0: 0.png")].tolist() == [0, 1]
    about = table.describe(
        Options(path=root / "two.csv", image_size_px=SIDE, uncertain_labels="present", **fields)  # type: ignore[arg-type]
    )
    assert [note.partition(" rows")[0] for note in about.notes[1:3]] == ["1", "1"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"label_column": "lable"}, "no column 'lable'. Did you mean 'label'"),
        ({"image_column": "label"}, "not there: cat"),
        ({"file_pattern": "{flie}.png"}, "no column 'flie'. Did you mean 'file'"),
        ({"file_pattern": "{file.__class__}"}, "no column 'file.__class__'"),
        ({"file_pattern": "x.png"}, "names no column"),
        ({"join": "labels.txt"}, "labels.txt does not exist"),
    ],
)
def test_what_is_wrong_is_named(root: Path, fields: dict[str, object], said: str) -> None:
    assert said in message(root / "labels.csv", **fields)


def test_images_that_are_elsewhere_are_found_for_the_message(root: Path) -> None:
    (root / "images").mkdir()
    for path in root.glob("*.png"):
        path.rename(root / "images" / path.name)
    assert f"give `root: {root / 'images'}`" in message(root / "labels.csv")
    assert len(load(root / "labels.csv", root=root / "images").train) == 6
    text = (root / "labels.csv").read_text().replace(".png,", ",")
    (root / "labels.csv").write_text(text)
    assert '`file_pattern: "images/{COLUMN}.png"`' in message(root / "labels.csv")
    assert len(load(root / "labels.csv", file_pattern="images/{file}.png").train) == 6


def test_options_that_exclude_each_other(root: Path) -> None:
    for fields in (
        {"label_column": "a", "label_columns": ["b"]},
        {"test_share": 0.2, "test_list": "x"},
        {"one_hot": True},
        {"no_label": "none"},
        {"image_column": "a", "file_pattern": "{a}"},
    ):
        with pytest.raises(ValueError, match=r"give one of them|needs label"):
            Options.model_validate({"path": root / "labels.csv", **fields})


def test_all_images_in_both_splits(root: Path) -> None:
    pl.read_csv(root / "labels.csv").drop("split").write_csv(root / "all.csv")
    data = load(root / "all.csv", test_share="all")
    assert sorted(data.train.ids) == sorted(data.test.ids)
    assert len(data.test) == 10


def test_whole_patients_are_held_out_from_training(root: Path) -> None:
    train = load(root / "labels.csv").train
    kept, held = hold_out(train, 0.34)
    patients = [set(map(table.cluster_of, part.ids)) for part in (kept, held)]
    assert (len(kept), len(held)) == (4, 2)
    assert not patients[0] & patients[1]
