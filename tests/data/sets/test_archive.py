"""Images in zip and tar files: labels, splits, and pixels as a plain reading gives them."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from transferscope.core.errors import BadInput
from transferscope.data.files import archive_members
from transferscope.data.sets import archive
from transferscope.data.sets.archive import Options

SIDE = 8


def picture(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (SIDE, SIDE, 3), np.uint8)


def png(number: int) -> bytes:
    written = io.BytesIO()
    Image.fromarray(picture(number)).save(written, format="PNG")
    return written.getvalue()


def write(path: Path, files: Mapping[str, bytes]) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
            for name, content in files.items():
                opened.writestr(name, content)
        return path
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def labels_and_pixels(options: Options, number_of: Mapping[str, int]) -> dict[str, tuple[str, str]]:
    """id -> split and class, after comparing the pixels."""
    names, data = archive.describe(options).class_names, archive.load(options)
    found = {}
    for part, split in (("train", data.train), ("test", data.test)):
        for id_, image, label in zip(split.ids, split.images, split.labels.tolist(), strict=True):
            assert (image.permute(1, 2, 0).numpy() == picture(number_of[id_])).all()
            found[id_] = (part, names[label])
    return found


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_folders_of_classes_with_a_split(tmp_path: Path, suffix: str) -> None:
    names = [
        f"pets/{part}/{name}/{n}.png" for part in ("train", "val") for name in ("cat", "dog") for n in (1, 2)
    ]
    files = {name: png(number) for number, name in enumerate(names)}
    path = write(
        tmp_path / f"pets{suffix}", {**files, "pets/readme.txt": b"x", "pets/train/cat/._1.png": b"x"}
    )
    options = Options(path=str(path), image_size_px=SIDE)
    found = labels_and_pixels(options, {name: number for number, name in enumerate(names)})
    assert found == {name: ("test" if "/val/" in name else "train", name.split("/")[2]) for name in names}
    assert any("1 (.txt)" in note for note in archive.describe(options).notes)
    with pytest.raises(BadInput, match="a split of their own"):
        archive.describe(Options(path=str(path), test_share=0.2))


def test_folders_of_classes_without_a_split(tmp_path: Path) -> None:
    names = [f"{name}/p{n // 2}_{n}.png" for name in ("cat", "dog") for n in range(10)]
    path = write(tmp_path / "a.zip", {name: png(number) for number, name in enumerate(names)})
    options = Options(path=str(path), image_size_px=SIDE, test_share=0.4, group_pattern="(p[0-9]+)_")
    found = labels_and_pixels(options, {name: number for number, name in enumerate(names)})
    parts = {
        part: {id_.split("/")[1][:2] for id_, (of, _) in found.items() if of == part}
        for part in ("train", "test")
    }
    assert sum(part == "test" for part, _ in found.values()) == 8
    assert not parts["train"] & parts["test"]
    both = archive.load(options.model_copy(update={"test_share": "all"}))
    assert sorted(both.train.ids) == sorted(both.test.ids) == sorted(names)
    assert any("40 % of each class" in note for note in archive.describe(options).notes)


@pytest.mark.parametrize("form", ["cls", "json"])
def test_shards_of_webdataset(tmp_path: Path, form: str) -> None:
    number_of, expected = {}, {}
    for part, shards in (("train", 2), ("test", 1)):
        for shard in range(shards):
            files = {}
            for n in range(6):
                number = {"train": 0, "test": 50}[part] + 10 * shard + n
                label = ["cat", "dog", "10"][n % 3] if form == "json" else str([2, 10, 9][n % 3])
                files[f"{n:04d}.png"] = png(number)
                files[f"{n:04d}.{form}"] = (
                    json.dumps({"kind": label}).encode() if form == "json" else label.encode()
                )
                id_ = f"{part}-{shard:03d}.tar/{n:04d}.png"
                number_of[id_], expected[id_] = number, (part, label)
            write(tmp_path / f"{part}-{shard:03d}.tar", files)
    options = Options(
        path=str(tmp_path / "train-{000..001}.tar"),
        test_path=str(tmp_path / "test-*.tar"),
        label_key="kind",
        image_size_px=SIDE,
    )
    assert labels_and_pixels(options, number_of) == expected
    assert archive.describe(options).class_names == (
        ("10", "cat", "dog") if form == "json" else ("2", "9", "10")
    )


def test_what_can_not_be_used_is_named(tmp_path: Path) -> None:
    files = {f"{name}/{n}.png": png(10 * n + len(name)) for n in range(5) for name in ("cat", "horse")}
    path = write(tmp_path / "a.tar", {**files, "cat/bad.png": b"x", "loose.png": png(99)})
    with pytest.raises(BadInput, match=r"loose\.png \(there is no label\)"):
        archive.describe(Options(path=str(path), image_size_px=SIDE))
    data = archive.load(Options(path=str(path), image_size_px=SIDE, on_bad="skip"))
    assert data.left_out == {"bad_label": 1, "undecodable": 1}
    with pytest.raises(BadInput, match="no file fits"):
        archive.describe(Options(path=str(tmp_path / "*.zip")))
    with pytest.raises(BadInput, match="without compression first"):
        archive.describe(Options(path=str(write(tmp_path / "a.tar.gz", files))))
    with pytest.raises(BadInput, match="hold no images"):
        archive.describe(Options(path=str(write(tmp_path / "b.zip", {"a.txt": b""}))))
    (tmp_path / "c.tar").write_bytes(path.read_bytes()[:700])
    with pytest.raises(BadInput, match=r"can.t be read|are left"):
        archive.describe(Options(path=str(tmp_path / "c.tar"), image_size_px=SIDE))


def test_links_and_files_that_exhaust_the_memory_are_not_read(tmp_path: Path) -> None:
    files = {f"{name}/{n}.png": png(10 * n + len(name)) for n in range(4) for name in ("cat", "horse")}
    path = write(tmp_path / "a.tar", files)
    with tarfile.open(path, "a") as tar:
        link = tarfile.TarInfo("cat/link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    data = archive.load(Options(path=str(path), image_size_px=SIDE))
    assert "cat/link.png" not in data.train.ids + data.test.ids
    member = archive_members.Member(str(path), "x", 0, archive_members.MAX_MEMBER_BYTES + 1)
    with pytest.raises(ValueError, match="bytes"):
        archive_members.Archives().read(member)
    lying = archive_members.Member(str(path), "x", 0, 10**7)
    with pytest.raises(ValueError, match="are there"):
        archive_members.Archives().read(lying)
