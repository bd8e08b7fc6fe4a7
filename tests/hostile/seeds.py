"""Small honest files of each kind, for fuzzers to damage."""

from __future__ import annotations

import gzip
import io
import json
import struct
from collections.abc import Callable

import numpy as np
import tiny
import torch
import yaml
from PIL import Image
from safetensors.numpy import save as save_arrays
from safetensors.torch import save as save_tensors

ARRAYS = {
    **{
        f"{split}_images": np.arange(4 * 256, dtype=np.uint8).reshape(4, 16, 16)
        for split in ("train", "test")
    },
    **{f"{split}_labels": np.array([0, 1, 0, 1]) for split in ("train", "test")},
}
STATE = {"stem.conv.weight": torch.ones(4, 3, 3, 3), "head.bias": torch.zeros(10)}


def _study() -> bytes:
    return yaml.safe_dump(tiny.document()).encode()


def _torch(**options: bool) -> Callable[[], bytes]:
    def make() -> bytes:
        file = io.BytesIO()
        torch.save({"epoch": 3, "state_dict": STATE}, file, **options)
        return file.getvalue()

    return make


def _npz(compressed: bool) -> Callable[[], bytes]:
    def make() -> bytes:
        file = io.BytesIO()
        (np.savez_compressed if compressed else np.savez)(
            file, class_names=np.array(["cat", "dog"]), **ARRAYS
        )
        return file.getvalue()

    return make


def _picture(kind: str, **options: bool) -> Callable[[], bytes]:
    def make() -> bytes:
        file = io.BytesIO()
        Image.fromarray(np.arange(48 * 48, dtype=np.uint8).reshape(48, 48)).convert("RGB").save(
            file, kind, **options
        )
        return file.getvalue()

    return make


def _idx() -> bytes:
    return bytes([0, 0, 8, 2]) + struct.pack(">2I", 4, 5) + bytes(20)


FINDINGS = "Cardiomegaly,Edema,Consolidation,Atelectasis,Pleural Effusion"
SEEDS: dict[str, tuple[str, str, Callable[[], bytes]]] = {
    "study": ("study", "in.yaml", _study),
    "torch": ("checkpoint", "in.pt", _torch()),
    "old torch": ("checkpoint", "in.pt", _torch(_use_new_zipfile_serialization=False)),
    "safetensors": ("checkpoint", "in.safetensors", lambda: save_tensors(STATE)),
    "npz": ("array_data", "in.npz", _npz(False)),
    "packed npz": ("array_data", "in.npz", _npz(True)),
    "arrays": (
        "array_data",
        "in.safetensors",
        lambda: save_arrays(ARRAYS, metadata={"class_names": json.dumps(["cat", "dog"])}),
    ),
    "idx": ("idx", "in", _idx),
    "packed idx": ("idx", "in.gz", lambda: gzip.compress(_idx(), mtime=0)),
    "list": (
        "image_list",
        "real_train.txt",
        lambda: b"real/cat/1.png 0\nreal/dog/2.png 1\nreal/dog/3.png 1\n",
    ),
    "table": (
        "chest_list",
        "train.csv",
        lambda: (
            f"Path,Sex,Age,Frontal/Lateral,AP/PA,{FINDINGS}\ntrain/patient1/a.jpg,F,6,Frontal,AP,1.0,,0.0,-1.0,\n".encode()
        ),
    ),
    "png": ("image", "in.png", _picture("PNG")),
    "jpeg": ("image", "in.jpg", _picture("JPEG")),
    "progressive jpeg": ("image", "in.jpg", _picture("JPEG", progressive=True)),
    "webp": ("image", "in.webp", _picture("WEBP")),
    "bmp": ("image", "in.bmp", _picture("BMP")),
}
"""Reader, name of the file, and the file, by a name. The readers of lists are given its folder."""
FOLDERS = ("image_list", "chest_list")
"""Readers of folders."""
