"""The user's own images in one NumPy file (.npz)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from transferscope.data.base import Description, ImageData, ImageSplit
from transferscope.data.npz_file import HOW_TO_SAVE, Header, read_array, read_headers
from transferscope.errors import BadInput
from transferscope.options import DatasetOptions

if TYPE_CHECKING:
    from torch import Tensor

VERSION = 1

SPLITS = ("train", "test")
REQUIRED = ("train_images", "train_labels", "test_images", "test_labels")
CHANNELS = (1, 3)
MIN_SIDE_PX = 8
IMAGE_SHAPES = "(n, size, size), (n, size, size, channels) or (n, channels, size, size) with 1 or 3 channels"
LABEL_SHAPES = "(n,) whole numbers from 0, or (n, k) of 0 and 1 for k findings"


class Options(DatasetOptions):
    """The options of images in a NumPy file."""

    dataset: Literal["arrays"] = "arrays"
    """Name of the data set."""
    path: Path
    """An .npz file with train_images, train_labels, test_images, test_labels and perhaps class_names.

    Images: uint8 and square, (n, size, size), (n, size, size, channels) or (n, channels, size, size); grey
    ones fill all three channels. Labels: (n,) whole numbers from 0, or (n, k) of 0 and 1 for k findings of
    which several may hold at once. class_names: (k,) strings.
    """


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What a file that can be used holds, but for the images."""

    description: Description
    labels: dict[str, np.ndarray]
    """By split."""


def describe(options: Options) -> Description:
    """The classes are `class_names`, or the numbers from 0 to the largest label; no image is read.

    Raises:
        BadInput: the file can't be used; all problems that were found are listed.
    """
    return _check(options.path).description


def load(options: Options) -> ImageData:
    """Read the images; ids are row numbers, as in "train/12".

    Raises:
        BadInput: as `describe`, or an array is damaged.
    """
    import torch

    checked = _check(options.path)
    dtype = torch.float32 if checked.description.multi_label else torch.int64
    splits = {}
    for split in SPLITS:
        labels = torch.from_numpy(checked.labels[split].astype(np.int64)).to(dtype)
        splits[split] = ImageSplit(
            images=_channels_first(read_array(options.path, f"{split}_images")),
            labels=labels,
            ids=tuple(f"{split}/{row}" for row in range(len(labels))),
        )
    return ImageData(**splits)


def _channels_first(pixels: np.ndarray) -> Tensor:
    """Images of any of the allowed shapes as (n, 3, size, size)."""
    import torch

    images = torch.from_numpy(np.ascontiguousarray(pixels))
    if images.ndim == 3:
        images = images[:, None]
    elif images.shape[3] in CHANNELS:
        images = images.permute(0, 3, 1, 2)
    return images.expand(-1, 3, -1, -1).contiguous()


def _check(path: Path) -> Checked:
    headers = read_headers(path)
    missing = [name for name in REQUIRED if name not in headers]
    if missing:
        raise BadInput(
            f"{path} lacks {', '.join(missing)}; it holds: {', '.join(sorted(headers)) or 'nothing'}. "
            f"Needed: {', '.join(REQUIRED)}. {HOW_TO_SAVE}"
        )
    problems = [problem for split in SPLITS for problem in _header_problems(split, headers)]
    _refuse(path, problems or _agreement_problems(headers))
    labels = {split: read_array(path, f"{split}_labels") for split in SPLITS}
    multi_label = labels["train"].ndim == 2
    names = _class_names(path, labels["train"], given="class_names" in headers)
    problems = _finding_problems(labels, names) if multi_label else _class_problems(labels, names)
    if len(set(names)) != len(names):
        problems.append(f"class_names holds a name twice: {', '.join(names)}. Give each class its own.")
    _refuse(path, problems)
    side = headers["train_images"].shape[2]
    state = path.stat()
    description = Description(
        class_names=names,
        image_size_px=side,
        multi_label=multi_label,
        num_train=len(labels["train"]),
        num_test=len(labels["test"]),
        fingerprint=f"{state.st_size}-{state.st_mtime_ns}",
    )
    return Checked(description=description, labels=labels)


def _class_names(path: Path, train_labels: np.ndarray, *, given: bool) -> tuple[str, ...]:
    if given:
        return tuple(map(str, read_array(path, "class_names").astype(str).ravel()))
    if train_labels.ndim == 2:
        return tuple(map(str, range(train_labels.shape[1])))
    # Each class has a training image, so there are no more classes than images: a label that is out of
    # all proportion is refused later and makes no list of names here.
    return tuple(map(str, range(min(max(int(train_labels.max()) + 1, 1), len(train_labels)))))


def _refuse(path: Path, problems: list[str]) -> None:
    if problems:
        raise BadInput([f"{path}: {problem}" for problem in problems])


def _header_problems(split: str, headers: dict[str, Header]) -> list[str]:
    """What can be said against a split's arrays without reading them."""
    images, labels = headers[f"{split}_images"], headers[f"{split}_labels"]
    problems = []
    if images.dtype != np.uint8:
        problems.append(
            f"{split}_images is {images.dtype}; expected uint8, 0 to 255. Scale and round the images, then "
            "use .astype(numpy.uint8)."
        )
    if not _are_square_images(images.shape):
        problems.append(
            f"{split}_images has the shape {images.shape}; expected {IMAGE_SHAPES}, square and of at "
            f"least {MIN_SIDE_PX} px. Crop or pad the images."
        )
    if labels.dtype.kind not in {1: "biu", 2: "biuf"}.get(len(labels.shape), ""):
        problems.append(
            f"{split}_labels is {labels.dtype} of the shape {labels.shape}; expected {LABEL_SHAPES}. Number "
            "the classes and give their names in class_names."
        )
    if images.shape[:1] != labels.shape[:1] or images.shape[:1] in ((), (0,)):
        problems.append(
            f"{split}_images has the shape {images.shape} and {split}_labels {labels.shape}; expected one "
            "label (row) for each image, and at least one image."
        )
    return problems


def _are_square_images(shape: tuple[int, ...]) -> bool:
    if len(shape) == 3:
        side = shape[1:]
    elif len(shape) == 4 and shape[3] in CHANNELS:
        side = shape[1:3]
    elif len(shape) == 4 and shape[1] in CHANNELS:
        side = shape[2:]
    else:
        return False
    return side[0] == side[1] >= MIN_SIDE_PX


def _agreement_problems(headers: dict[str, Header]) -> list[str]:
    """What can be said against train and test together without reading them."""
    problems = []
    train_side, test_side = (headers[f"{split}_images"].shape[2] for split in SPLITS)
    if train_side != test_side:
        problems.append(
            f"train_images are {train_side} px wide and test_images {test_side} px; expected the same side. "
            "Resize one of them."
        )
    train_labels, test_labels = (headers[f"{split}_labels"].shape[1:] for split in SPLITS)
    if train_labels != test_labels:
        problems.append(
            f"the rows of train_labels have the shape {train_labels} and those of test_labels {test_labels}; "
            f"expected the same kind of label in both: {LABEL_SHAPES}."
        )
    return problems


def _class_problems(labels: dict[str, np.ndarray], names: tuple[str, ...]) -> list[str]:
    """What can be said against labels that are one class each."""
    problems = []
    for split in SPLITS:
        wrong = np.unique(labels[split][(labels[split] < 0) | (labels[split] >= len(names))])
        if wrong.size:
            problems.append(
                f"{split}_labels holds {_list(wrong)}; expected whole numbers from 0 to {len(names) - 1}, "
                f"one for each of the {len(names)} classes. Number the classes from 0, or mend class_names."
            )
    if len(names) < 2 and not problems:
        problems.append("there is only one class; at least 2 are needed. Add images of another class.")
    absent = np.setdiff1d(np.arange(len(names)), labels["train"])
    if absent.size and not problems:
        problems.append(
            f"train_labels holds no image of the classes {_list(absent)}; expected every class from 0 to "
            f"{len(names) - 1}. Leave no gaps in the numbers, and no class without training images."
        )
    return problems


def _finding_problems(labels: dict[str, np.ndarray], names: tuple[str, ...]) -> list[str]:
    """What can be said against labels of several findings each."""
    num_findings = labels["train"].shape[1]
    if len(names) != num_findings or not num_findings:
        return [
            f"class_names holds {len(names)} names and train_labels {num_findings} columns; expected one "
            "name for each column, and at least one."
        ]
    problems = []
    for split in SPLITS:
        if not np.isin(labels[split], (0, 1)).all():
            wrong = np.setdiff1d(labels[split], (0, 1))
            problems.append(
                f"{split}_labels holds {_list(wrong)}; expected only 0 and 1. Decide what an uncertain or "
                "missing label counts as."
            )
            continue
        share = labels[split].mean(axis=0)
        constant = [name for name, mean in zip(names, share, strict=True) if mean in (0, 1)]
        if constant:
            problems.append(
                f"in {split}_labels all images have the same label for {', '.join(constant)}; expected both "
                "0 and 1, or its AUC is not defined. Add images or leave the finding out."
            )
    return problems


def _list(numbers: np.ndarray, most: int = 5) -> str:
    shown = ", ".join(map(str, numbers[:most].tolist()))
    return shown if len(numbers) <= most else f"{shown} and {len(numbers) - most} others"
