"""State dicts from files of others, read without running anything that stands in them."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from transferscope.core.errors import BadInput, shortened
from transferscope.data.files.file_heads import check_header
from transferscope.metrics.inputs.state_dicts import (
    SeveralStateDicts,
    check_plain,
    find_state_dict,
    taken_text,
)
from transferscope.models.weights.formats import folder_problem, format_problem, partial_file_problem
from transferscope.models.weights.limits import check_archive, check_file, check_tensors, is_archive

START_BYTES = 32
"""What is looked at to tell files apart."""
PLAIN_CLASSES = (
    "argparse.Namespace",
    "collections.defaultdict",
    "datetime.date",
    "datetime.datetime",
    "datetime.timedelta",
    "easydict.EasyDict",
    "fastcore.foundation.L",
    "lightning.fabric.utilities.data.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict",
    "lightning.pytorch.utilities.parsing.AttributeDict",
    "pytorch_lightning.utilities.parsing.AttributeDict",
    "numpy.core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
    "numpy.ndarray",
    *(f"numpy.dtypes.{kind}DType" for kind in ("Bool", "Str", "Bytes", "Float16", "Float32", "Float64")),
    *(f"numpy.dtypes.{sign}{bits}DType" for sign in ("Int", "UInt") for bits in (8, 16, 32, 64)),
    "omegaconf.base.ContainerMetadata",
    "omegaconf.base.Metadata",
    "omegaconf.dictconfig.DictConfig",
    "omegaconf.listconfig.ListConfig",
    *(
        f"omegaconf.nodes.{kind}Node"
        for kind in ("Any", "Boolean", "Bytes", "Float", "Integer", "Path", "String")
    ),
    *(
        f"{module}.{kind}"
        for module in ("pathlib", "pathlib._local")
        for kind in ("PosixPath", "PurePosixPath")
    ),
    *(
        f"{module}.{kind}"
        for module in ("pathlib", "pathlib._local")
        for kind in ("WindowsPath", "PureWindowsPath")
    ),
    "typing.Any",
    "uuid.UUID",
    *(f"builtins.{kind}" for kind in ("bool", "dict", "float", "int", "list", "str", "tuple")),
)
"""Classes of plain values that training scripts save beside the weights. None of them is imported or called."""
HOW_TO_CONVERT = (
    "Where you trust the file, load it with the code that wrote it, and save the state dict alone: "
    'safetensors.torch.save_model(model, "weights.safetensors").'
)
_LOG = logging.getLogger(__name__)


class _PlainValue:
    """Stands for a value of one of `PLAIN_CLASSES`, of which nothing is kept: neither its class nor its content."""

    def __new__(cls, *_: object) -> _PlainValue:
        return super().__new__(cls)

    def __init__(self, *_: object) -> None:
        """Takes what the class in its place would take."""

    def __setstate__(self, _: object) -> None:
        """Takes what the class in its place would take."""


def read_state_dict(
    path: Path, entry: str | None = None, setting: str = "source.weights"
) -> dict[str, Tensor]:
    """The tensors of a file by name, on the CPU.

    Args:
        path: a safetensors file, or one that torch.save wrote; told apart by their content.
        entry: which of its entries holds the state dict, dotted; found by its usual names by default.
        setting: the key in a study that says what the weights are.

    Raises:
        BadInput: not such a file; one that needs more than tensors and plain values, which could run code;
            no tensors in it; several state dicts without a usual name; adapters or quantized weights.
    """
    if path.is_dir():
        raise BadInput(folder_problem(path))
    check_file(path)
    content = _read(path)
    if entry is not None:
        for step in entry.split("."):
            if not isinstance(content, Mapping) or step not in content:
                raise BadInput(f"{path} has no entry '{entry}'. {_what_is_there(content, setting)}")
            content = content[step]
    how = f"Name another with {setting}.entry={{entry}} (on the command line after --set, in Python in overrides)."
    try:
        found = find_state_dict(content) if isinstance(content, Mapping) else None
    except SeveralStateDicts as error:
        raise BadInput(
            f"{path} holds several state dicts, in the entries {', '.join(error.entries[:8])}. "
            f"{how.format(entry=error.entries[0]).replace('another', 'one')}"
        ) from None
    if found is None:
        raise BadInput(f"{path} has no state dict of named tensors. {_what_is_there(content, setting)}")
    check_plain(found.content, str(path))
    check_tensors(found.tensors, path)
    if found.others:
        _LOG.warning("%s", taken_text(found, path.name, how))
    return found.tensors


def _read(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            start = file.read(START_BYTES)
    except OSError as error:
        raise BadInput(f"{path} can't be read: {error.strerror or error}.") from None
    if not start:
        raise BadInput(f"{path} is empty. Save or copy it again.")
    zipped = is_archive(path)
    problem = format_problem(path, start, is_archive=zipped) or partial_file_problem(path)
    if problem is not None:
        raise BadInput(problem)
    if start[8:9] == b"{" and not zipped:
        return _read_safetensors(path)
    check_archive(path)
    try:
        with torch.serialization.safe_globals([(_PlainValue, name) for name in PLAIN_CLASSES]):
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


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors, also under names that save_model left out because of tied weights: its metadata lists them."""
    try:
        check_header(path)
        tensors = load_file(path)
        with safe_open(path, "pt") as file:
            tied: Mapping[str, str] = file.metadata() or {}
    except (SafetensorError, OSError, ValueError, RuntimeError, MemoryError) as error:
        raise BadInput(
            f"{path} begins as a safetensors file does but can't be read as one: {error}."
        ) from None
    twins = {name: tensors[kept] for name, kept in tied.items() if kept in tensors and name not in tensors}
    return {**tensors, **twins}


def _first_sentence(error: Exception) -> str:
    """torch's messages go on for paragraphs, with the advice to load the file unsafely."""
    lines = [line.strip() for line in str(error).splitlines() if "unsupported" in line.lower()]
    text = lines[0] if lines else (str(error).strip().splitlines() or ["no reason given"])[0]
    return text.partition(". ")[0].partition(", do those steps")[0][:300]


def _what_is_there(content: Any, setting: str) -> str:
    if not isinstance(content, Mapping):
        return f"It holds a {type(content).__name__}."
    names = ", ".join(
        f"'{shortened(name)}'" if isinstance(name, str | int) else "..." for name in list(content)[:8]
    )
    return f"There are {len(content)} entries{': ' + names if names else ''}. Name one with {setting}.entry."
