"""State dicts from files of others, read without running anything that stands in them."""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from transferscope.data.safetensors_header import check_header
from transferscope.errors import BadInput, shortened
from transferscope.models.weight_limits import check_archive, check_file, check_tensors, is_archive

ENTRIES = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "module",
    "net",
    "network",
    "weights",
    "params",
)
"""Where training scripts put the state dict."""
AVERAGED = ("state_dict_ema", "model_ema", "ema_state_dict", "ema")
"""Where they put the average over the training; taken only where there is no other."""
SAFE_CLASSES: list[Any] = [argparse.Namespace]
"""Plain holders of values that many training scripts save beside the weights."""
LFS_POINTER = b"version https://git-lfs"
"""How the small text files begin that stand for large ones in a clone without them."""
HOW_TO_CONVERT = (
    "Where you trust the file, load it with the code that wrote it, and save the state dict alone: "
    'safetensors.torch.save_model(model, "weights.safetensors").'
)


def read_state_dict(path: Path, entry: str | None = None) -> dict[str, Tensor]:
    """The tensors of a file by name, on the CPU.

    Args:
        path: a safetensors file, or one that torch.save wrote; told apart by their content.
        entry: which of its entries holds the state dict, dotted; found by its usual names by default.

    Raises:
        BadInput: not such a file; one that needs more than tensors and plain values, which could run code;
            no tensors in it.
    """
    check_file(path)
    content = _read(path)
    if entry is not None:
        for step in entry.split("."):
            if not isinstance(content, Mapping) or step not in content:
                raise BadInput(f"{path} has no entry '{entry}'. {_what_is_there(content)}")
            content = content[step]
    found = _state_dict_in(content)
    if not found:
        raise BadInput(f"{path} has no state dict of named tensors. {_what_is_there(content)}")
    check_tensors(found, path)
    return found


def _read(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            start = file.read(len(LFS_POINTER))
    except OSError as error:
        raise BadInput(f"{path} can't be read: {error.strerror or error}.") from None
    if not start:
        raise BadInput(f"{path} is empty. Save or copy it again.")
    if start == LFS_POINTER:
        raise BadInput(
            f"{path} is a pointer of Git LFS, not the weights themselves. Fetch them with: git lfs pull."
        )
    if start[8:9] == b"{" and not is_archive(path):
        try:
            check_header(path)
            return load_file(path)
        except (SafetensorError, OSError, ValueError, RuntimeError, MemoryError) as error:
            raise BadInput(
                f"{path} begins as a safetensors file does but can't be read as one: {error}."
            ) from None
    check_archive(path)
    try:
        with torch.serialization.safe_globals(SAFE_CLASSES):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise BadInput(
            f"{path} was not loaded: it asks for more than tensors and plain values, and a file that does can run any "
            f"code ({_first_sentence(error)}). {HOW_TO_CONVERT}"
        ) from None
    except Exception as error:  # torch raises what the damage leads to
        raise BadInput(
            f"{path} is neither a safetensors file nor one that torch.save wrote with plain weights "
            f"({type(error).__name__}: {_first_sentence(error)}). {HOW_TO_CONVERT}"
        ) from None


def _first_sentence(error: Exception) -> str:
    """torch's messages go on for paragraphs, with the advice to load the file unsafely."""
    lines = [line.strip() for line in str(error).splitlines() if "unsupported" in line.lower()]
    text = lines[0] if lines else (str(error).strip().splitlines() or ["no reason given"])[0]
    return text.partition(". ")[0].partition(", do those steps")[0][:300]


def _state_dict_in(content: Any) -> dict[str, Tensor]:
    if not isinstance(content, Mapping):
        return {}
    tensors = {
        str(name): value
        for name, value in content.items()
        if isinstance(name, str | int) and isinstance(value, Tensor)
    }
    nested = [name for name in (*ENTRIES, *AVERAGED) if isinstance(content.get(name), Mapping)]
    # a checkpoint may hold a few tensors of its own, such as the state of a random generator
    for name in nested:
        found = _state_dict_in(content[name])
        if len(found) > len(tensors):
            return found
    return tensors


def _what_is_there(content: Any) -> str:
    if not isinstance(content, Mapping):
        return f"It holds a {type(content).__name__}."
    names = ", ".join(
        f"'{shortened(name)}'" if isinstance(name, str | int) else "..." for name in list(content)[:8]
    )
    return f"There are {len(content)} entries{': ' + names if names else ''}. Name one with source.weights.entry."
