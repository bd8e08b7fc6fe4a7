"""Files made to do harm are refused in words: quickly, in little memory, and nothing but reading is done."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

Refused = Callable[..., str]
IMAGES = np.zeros((4, 16, 16), dtype=np.uint8)
ARRAYS = {
    f"{split}_{kind}": IMAGES if kind == "images" else np.arange(4) % 2
    for split in ("train", "test")
    for kind in ("images", "labels")
}


def safetensors(header: dict[str, Any] | bytes, body: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


def tensor(shape: list[int], begin: int, end: int) -> dict[str, Any]:
    return {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}


def saved(content: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def by_torch(pickled: bytes) -> bytes:
    """An archive as torch.save writes it, with a pickle made by hand."""
    return zipped({"p/data.pkl": pickled, "p/version": b"3\n", "p/byteorder": b"little"})


def tuples_of_tuples(depth: int) -> bytes:
    """A mapping whose key is a tuple of 2**depth parts, each written once."""
    twice = b"".join(
        b"h" + bytes([one]) + b"h" + bytes([one]) + b"\x86q" + bytes([one + 1]) for one in range(depth)
    )
    return b"\x80\x02})q\x00" + twice + b"K\x01s."


def npy(header: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode()


class Payload:
    def __reduce__(self) -> Any:
        return os.mkdir, ("it-ran",)


STUDIES = {
    "aliases": (
        b"a: &a [x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\n"
        + b"".join(
            f"{c}: &{c} [*{p},*{p},*{p},*{p},*{p},*{p},*{p},*{p}]\n".encode()
            for p, c in zip("bcdefgh", "cdefghi", strict=True)
        ),
        "too large once its aliases are followed",
    ),
    "merge key": (b"a: &a {b: 1}\nc: {<<: *a}", "merging with << is not supported"),
    "tag": (b"a: !!python/object/apply:os.mkdir [it-ran]", "leave tags out"),
    "10,000 levels": (b"a: " + b"[" * 10_000, "nested more than 24 levels"),
    "10,000 block levels": (b"- " * 10_000, "nested more than 24 levels"),
    "large": (b"#" * 2**20, "larger than 256 KiB"),
    "binary": (bytes(range(256)), "not"),
    "NUL": (b"name: \0", "U+0000 is not allowed"),
    "key twice": (b"name: a\nname: b", "stands here again"),
    "huge number": (b"seeds: [" + b"9" * 5000 + b"]", "a whole number beyond"),
    "NaN": (b"name: .nan\nseeds: [.inf]", "expected text, got nan"),
    "UTF-16": ("name: ü".encode("utf-16"), "not UTF-8"),
    "alias in itself": (b"a: &a [*a]", "too large once its aliases are followed"),
}


@pytest.mark.parametrize("name", STUDIES)
def test_study_files(refused: Refused, name: str) -> None:
    content, said = STUDIES[name]
    assert said in refused("study", content)


CHECKPOINTS = {
    "payload": (lambda: pickle.dumps(Payload()), "was not loaded"),
    "payload in an archive": (lambda: saved({"state_dict": Payload()}), "was not loaded"),
    "terabytes": (lambda: safetensors({"a": tensor([2**40], 0, 2**42)}), "can't be read as one"),
    "overflow": (lambda: safetensors({"a": tensor([2**62, 4], 0, 0)}), "can't be read as one"),
    "overlap": (
        lambda: safetensors({"a": tensor([2], 0, 8), "b": tensor([2], 4, 12)}, b"\0" * 12),
        "can't be read",
    ),
    "header of 1 GB": (lambda: safetensors({}, b"", 2**30), "header has 1,073,741,824 bytes"),
    "header of all tensors": (lambda: safetensors(b"{" + b" " * (9 * 2**20)), "header has"),
    "deep header": (lambda: safetensors(b'{"a":' + b"[" * 100_000), "can't be read as one"),
    "half": (lambda: saved({"a": torch.zeros(9)})[:700], "is neither"),
    "shown again and again": (
        lambda: saved({"a": torch.zeros(1).expand(10**6, 10**6)}),
        r"Save the tensors with",
    ),
    "sparse": (lambda: saved({"a": torch.eye(3).to_sparse()}), "aren't plain numbers"),
    "without content": (lambda: saved({"a": torch.zeros(3, device="meta")}), "aren't plain numbers"),
    "complex": (lambda: saved({"a": torch.zeros(3, dtype=torch.complex64)}), "aren't plain numbers"),
    "on many disks": (
        lambda: bytes(99) + b"PK\x06\x07" + struct.pack("<LQL", 0, 0, 7) + b"PK\x05\x06" + bytes(18),
        "was not loaded",
    ),
    "long name": (lambda: saved({"x" * 10**6: 1}), "more characters"),
    "tuples of tuples": (lambda: by_torch(tuples_of_tuples(60)), "a tuple of more than 10,000 parts"),
    "2 GB by one call": (
        lambda: by_torch(
            b"\x80\x02cbuiltins\nbytearray\n\x8a\x05" + (2 * 10**9).to_bytes(5, "little") + b"\x85R."
        ),
        "weights don't need",
    ),
    "compressed": (
        lambda: zipped({"p/data.pkl": b"\x80\x02}.", "p/data/0": bytes(2**24)}, zipfile.ZIP_DEFLATED),
        "unpacks to more than itself",
    ),
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_checkpoints(refused: Refused, name: str) -> None:
    make, said = CHECKPOINTS[name]
    assert said in refused("checkpoint", make())


def npz(**replaced: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **{**ARRAYS, **replaced})
    return file.getvalue()


def header(shape: str) -> bytes:
    return zipped({"train_images.npy": npy(f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}")})


ARRAY_FILES = {
    "terabytes": lambda: header("(1000000000000,)"),
    "more than any number": lambda: header(f"({2**70},)"),
    "nested header": lambda: zipped({"train_images.npy": npy("(" * 9000)}),
    "deep header": lambda: zipped({"train_images.npy": npy("-" * 9000 + "1")}),
    "no mapping": lambda: zipped({"train_images.npy": npy("{[]:1}")}),
    "bomb": lambda: zipped({"train_images.npy": bytes(2**27)}, zipfile.ZIP_DEFLATED),
    "paths in names": lambda: zipped({"../../it-ran.npy": npy("{}")}),
    "names that are no text": lambda: npz(class_names=np.array([b"\xff", b"a"])),
    "halves of characters": lambda: npz(class_names=np.array(["\ud800", "a"])),
    "a name without end": lambda: npz(class_names=np.array(["x" * 10**6, "a"])),
    "a million classes": lambda: npz(class_names=np.zeros(10**6, dtype=np.int8)),
    "objects": lambda: npz(train_labels=np.array([Payload()] * 4)),
}


@pytest.mark.parametrize("name", ARRAY_FILES)
def test_files_of_arrays(refused: Refused, name: str) -> None:
    assert refused("array_data", ARRAY_FILES[name](), ".npz")


def test_idx_files(refused: Refused) -> None:
    huge = bytes([0, 0, 8, 2]) + struct.pack(">2I", 2**16, 2**16)
    assert "too large to be true" in refused("idx", gzip.compress(huge + bytes(2**20)), ".gz")
    empty = bytes([0, 0, 8, 4]) + struct.pack(">4I", 0, 2**31, 2**31, 2**31)
    assert "too large to be true" in refused("idx", empty)
    assert "holds more bytes" in refused(
        "idx", gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, 2]) + bytes(2**27), 1), ".gz"
    )


def picture(mode: str, size: tuple[int, int], kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.new(mode, size).save(file, kind, **options)
    return file.getvalue()


def scans(count: int) -> bytes:
    content = picture("RGB", (64, 64), "JPEG", progressive=True)
    last = content[content.rindex(b"\xff\xda") : -2]
    return content[:-2] + last * count + b"\xff\xd9"


@pytest.mark.parametrize(
    ("suffix", "make", "said"),
    [
        (".png", lambda: picture("1", (9000, 9000), "PNG"), "too_many_pixels: more than 33,554,432"),
        (".webp", lambda: picture("RGB", (6000, 6000), "WEBP", quality=0, method=0), "too_many_pixels"),
        (".jpg", lambda: scans(500), "times over"),
        (".png", lambda: picture("P", (9, 9), "GIF"), "not an image of the kinds"),
        (".png", lambda: picture("L", (9, 9), "TIFF"), "not an image of the kinds"),
        (".jpg", lambda: picture("L", (99, 99), "JPEG")[:300], "undecodable: Truncated"),
        (".png", lambda: b"", "not an image"),
        (".png", lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
    ],
)
def test_images(refused: Refused, suffix: str, make: Callable[[], bytes], said: str) -> None:
    assert said in refused("image", make(), suffix)


LISTS = {
    "out of the root": b"../secret/a.png 0\n/etc/hostname 1\nreal/a/\0.png 0\nreal/b/1.png 1\n",
    "a line without end": b"x" * 10**6,
    "no text": b"\xff\xfe\0\0",
    "not there": b"real/a/1.png 0\nreal/b/1.png 1\n",
}


@pytest.mark.parametrize("name", LISTS)
def test_lists(refused: Refused, tmp_path: Path, name: str) -> None:
    for split in ("train", "test"):
        (tmp_path / f"real_{split}.txt").write_bytes(LISTS[name])
    assert refused("image_list", tmp_path)


@pytest.mark.parametrize("content", [b"," * 10**7, b"Path\n" + b"x" * 10**6, b'"' + b"\n" * 10**6, b""])
def test_tables(refused: Refused, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "train.csv").write_bytes(content)
    assert refused("chest_list", tmp_path)


def test_pipes_and_devices_are_not_waited_for(refused: Refused, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "real_train.txt")
    assert "no plain file" in refused("image_list", tmp_path)
    os.mkfifo(tmp_path / "train.csv")
    assert "no plain file" in refused("chest_list", tmp_path)
    os.mkfifo(tmp_path / "p.pt")
    assert "no plain file" in refused("checkpoint", tmp_path / "p.pt")
    assert "larger than 256 KiB" in refused("study", Path("/dev/zero"))
    folder = tmp_path / "photos"
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            (folder / split / name).mkdir(parents=True)
            os.mkfifo(folder / split / name / "1.png")
    assert "not a file" in refused("class_folders", folder)
