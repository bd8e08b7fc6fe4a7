"""What a file or folder is that holds no weights this package reads, and what to do with it."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

from transferscope.core.errors import shortened

SAVE = 'safetensors.torch.save_model(model, "weights.safetensors")'
IN_TORCH = f"Load it into the PyTorch network, and save that: {SAVE}."
LFS_POINTER = b"version https://git-lfs"
"""How the small text files begin that stand for large ones in a clone without them."""
WEIGHT_FILES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".tar")
INDEX_BYTES = 2**24
"""Longest index of a sharded checkpoint that is looked at."""
SIGNATURES = {
    LFS_POINTER: "is a pointer of Git LFS, not the weights themselves. Fetch them with: git lfs pull.",
    b"\x89HDF\r\n\x1a\n": f"is an HDF5 file, as Keras and TensorFlow write them. {IN_TORCH}",
    b"GGUF": "is a GGUF file, whose weights are usually quantized. Give the weights before the conversion.",
    b"\x93NUMPY": f"is a NumPy array. {IN_TORCH}",
    b"\x1f\x8b": "is compressed with gzip. Unpack it first.",
    b"7z\xbc\xaf": "is compressed with 7-Zip. Unpack it first.",
    b"\xfd7zXZ": "is compressed with xz. Unpack it first.",
    b"\x89PNG": "is an image.",
    b"\xff\xd8\xff": "is an image.",
}
"""How other files begin, and what they are."""
SUFFIXES = {
    ".onnx": f"is an ONNX network. {IN_TORCH}",
    ".msgpack": f"is a Flax checkpoint. {IN_TORCH}",
    ".h5": f"is a Keras or TensorFlow file. {IN_TORCH}",
    ".keras": f"is a Keras file. {IN_TORCH}",
    ".pb": f"is a TensorFlow graph. {IN_TORCH}",
    ".tflite": f"is a TensorFlow Lite network. {IN_TORCH}",
    ".index": f"is a part of a TensorFlow checkpoint. {IN_TORCH}",
    ".npz": f"is an archive of NumPy arrays. {IN_TORCH}",
    ".gguf": "is a GGUF file, whose weights are usually quantized. Give the weights before the conversion.",
}
"""What files are by their names, where their content has no signature."""
EXPORTED = (
    "is a program of torch.export. Load it with torch.export.load(path) if you trust it, and save its state dict: "
    'torch.save(loaded.state_dict, "weights.pt").'
)
MEMBERS = {
    "constants.pkl": "is a TorchScript archive, which holds a program. Load it with torch.jit.load(path) if you trust "
    'it, and save its state dict: torch.save(loaded.state_dict(), "weights.pt").',
    "serialized_exported_program.json": EXPORTED,
    "archive_format": EXPORTED,
    ".npy": f"is an archive of NumPy arrays. {IN_TORCH}",
    "model.weights.h5": f"is a Keras file. {IN_TORCH}",
}
"""Files in a zip archive that tell what it is."""
MERGE = (
    "Merge it into its base network: in PEFT model = AutoPeftModel.from_pretrained(folder).merge_and_unload() with the "
    f"class for your task; then {SAVE}."
)
JOIN = (
    "Load it with the library that wrote it (in transformers from_pretrained(folder)), and save it as one file: "
    f"{SAVE}."
)

SHARD = re.compile(r"-\d{5}-of-(\d{5})\.(?:safetensors|bin|pt|pth)$")
"""How transformers names the files of a sharded checkpoint."""


def folder_problem(folder: Path) -> str:
    """What a folder holds instead of being a file of weights, and which file to give."""
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError as error:
        return f"{folder} can't be read: {error.strerror or error}."
    if "adapter_config.json" in names:
        return f"{folder} holds an adapter of PEFT, which is no network by itself. {MERGE}"
    if any(name.endswith(".index.json") for name in names):
        return f"{folder} holds a sharded checkpoint, and weights are read from one file. {JOIN}"
    if "saved_model.pb" in names or any(name.endswith(".index") for name in names):
        return f"{folder} holds a TensorFlow checkpoint. {IN_TORCH}"
    if any(name.endswith(".distcp") for name in names):
        return (
            f"{folder} holds a distributed checkpoint. Make one file of it: python -m "
            "torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER weights.pt."
        )
    weights = [
        name
        for name in names
        if name.endswith(WEIGHT_FILES) and not name.startswith(("optim", "rng", "sched", "training_args"))
    ]
    inside = f" Give a file in it: {', '.join(shortened(name) for name in weights[:5])}." if weights else ""
    return f"{folder} is a folder.{inside or ' Give a file of weights.'}"


def partial_file_problem(path: Path) -> str | None:
    """What is wrong with an adapter's file, or with one of several files of a network; None for others."""
    if (shard := SHARD.search(path.name)) and int(shard[1]) > 1:
        return f"{path} is one of {int(shard[1])} files of a sharded checkpoint, and weights are read from one. {JOIN}"
    if path.name in ("adapter_model.safetensors", "adapter_model.bin"):
        return f"{path} is an adapter of PEFT, which is no network by itself. {MERGE}"
    return None


def format_problem(path: Path, start: bytes, *, is_archive: bool) -> str | None:
    """What a file is that holds no weights this package reads, and what to do; None if it may hold some.

    Args:
        path: the file.
        start: its first bytes.
        is_archive: whether it is a zip archive.
    """
    for signature, text in SIGNATURES.items():
        if start.startswith(signature):
            return f"{path} {text}"
    if is_archive:
        return _archive_problem(path)
    if start.lstrip()[:1] in (b"{", b"[") and path.suffix == ".json":
        return _json_problem(path)
    if ".data-0" in path.name:
        return f"{path} is a part of a TensorFlow checkpoint. {IN_TORCH}"
    text = SUFFIXES.get(path.suffix.lower())
    return None if text is None else f"{path} {text}"


def _archive_problem(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return None
    if any(name.endswith("/data.pkl") and name.count("/") == 1 for name in names) and not any(
        name.endswith("/constants.pkl") for name in names
    ):
        return None
    for ending, text in MEMBERS.items():
        if any(name.endswith(ending) for name in names):
            return f"{path} {text}"
    return None


def _json_problem(path: Path) -> str:
    what = f"{path} is a JSON file, not the weights."
    try:
        if path.stat().st_size > INDEX_BYTES:
            return what
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return what
    if isinstance(content, dict) and "weight_map" in content:
        return f"{path} is the index of a sharded checkpoint, and weights are read from one file. {JOIN}"
    return what
