"""The user's own images in one file of arrays: NumPy's .npz, or .safetensors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from transferscope.data.array_file import HOW_TO_SAVE, Header, read_array, read_class_names, read_headers
from transferscope.data.base import Description, ImageData, ImageSplit
from transferscope.data.image_list import check_labels, file_fingerprint
from transferscope.data.one_hot import one_finding_each
from transferscope.data.problems import Problems
from transferscope.errors import BadInput
from transferscope.options import FileOptions

if TYPE_CHECKING:
    from torch import Tensor

VERSION = 2
TEXT_KEY = "path"

SPLITS = ("train", "test")
REQUIRED = ("train_images", "train_labels", "test_images", "test_labels")
CHANNELS = (1, 3)
MIN_SIDE_PX = 8
IMAGE_SHAPES = "(n, size, size), (n, size, size, channels) or (n, channels, size, size) with 1 or 3 channels"
LABEL_SHAPES = "(n,) whole numbers from 0, or (n, k) of 0 and 1 for k findings"


class Options(FileOptions):
    """The options of images in a file of arrays."""

    dataset: Literal["arrays"] = "arrays"
    """Name of the data set."""
    path: Path
    """A .npz or .safetensors file with train_images, train_labels, test_images, test_labels and perhaps class_names.

    Images: uint8 and square, (n, size, size), (n, size, size, channels) or (n, channels, size, size); grey
    ones fill all three channels. Labels: (n,) whole numbers from 0, or (n, k) of 0 and 1 for k findings of
    which several may hold at once. class_names: (k,) strings; in a .safetensors file a JSON list in the metadata.
    """
    order_seed: int = Field(default=0, ge=0)
    """Seed of the random order in which the images come: the first ones stand for all."""


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What a file that can be used holds, but for the images."""

    description: Description
    labels: dict[str, np.ndarray]
    """All of them, by split."""
    rows: dict[str, np.ndarray]
    """Those that can be used, in random order, by split."""
    problems: Problems


def describe(options: Options) -> Description:
    """The classes are `class_names`, or the numbers from 0 to the largest label; no image is read.

    Raises:
        BadInput: the file can't be used; all problems that were found are listed.
    """
    return _check(options).description


def load(options: Options) -> ImageData:
    """Read the images; ids are row numbers, as in "train/12".

    Raises:
        BadInput: as `describe`, or an array is damaged, or an image can't be used; see `FileOptions.on_bad`.
    """
    import torch

    from transferscope.data.load_list import clean_up

    checked = _check(options)
    dtype = torch.float32 if checked.description.multi_label else torch.int64
    splits = {}
    for split in SPLITS:
        rows = checked.rows[split]
        splits[split] = ImageSplit(
            images=_channels_first(read_array(options.path, f"{split}_images"), rows),
            labels=torch.from_numpy(checked.labels[split][rows].astype(np.int64)).to(dtype),
            ids=tuple(f"{split}/{row}" for row in rows.tolist()),
        )
    names = checked.description.class_names
    return clean_up(ImageData(**splits), options, options.path, checked.problems, names)


def _channels_first(pixels: np.ndarray, rows: np.ndarray) -> Tensor:
    """Rows of images of any of the allowed shapes as (n, 3, size, size)."""
    import torch

    images = pixels[:, None] if pixels.ndim == 3 else pixels
    if pixels.ndim == 4 and pixels.shape[3] in CHANNELS:
        images = np.moveaxis(pixels, 3, 1)
    chosen = np.empty((len(rows), 3, *images.shape[2:]), dtype=np.uint8)
    for place, row in enumerate(rows.tolist()):
        chosen[place] = images[row]
    return torch.from_numpy(chosen)


def _check(options: Options) -> Checked:
    path = options.path
    headers = read_headers(path)
    missing = [name for name in REQUIRED if name not in headers]
    if missing:
        raise BadInput(
            f"{path} lacks {', '.join(missing)}; it holds: {', '.join(sorted(headers)) or 'nothing'}. "
            f"Needed: {', '.join(REQUIRED)}. {HOW_TO_SAVE}"
        )
    wrong = [problem for split in SPLITS for problem in _header_problems(split, headers)]
    _refuse(path, wrong or _agreement_problems(headers))
    labels = {split: read_array(path, f"{split}_labels") for split in SPLITS}
    multi_label = labels["train"].ndim == 2
    names = _class_names(path, labels["train"])
    wrong = _name_problems(names, labels["train"], multi_label=multi_label)
    if len(set(names)) != len(names):
        wrong.append(f"class_names holds a name twice: {', '.join(names)}. Give each class its own.")
    _refuse(path, wrong)
    problems = Problems()
    generator = np.random.Generator(np.random.PCG64(options.order_seed))
    rows = {
        split: generator.permutation(_usable_rows(split, labels[split], len(names), problems))
        for split in SPLITS
    }
    problems.settle(options.on_bad, path)
    chosen = {split: labels[split][rows[split]] for split in SPLITS}
    plain = {split: list(map(tuple, one)) if multi_label else one.tolist() for split, one in chosen.items()}
    check_labels(names, plain, path, problems)
    description = Description(
        class_names=names,
        image_size_px=headers["train_images"].shape[2],
        multi_label=multi_label,
        one_finding_each=multi_label and one_finding_each(*plain.values()),
        num_train=len(rows["train"]),
        num_test=len(rows["test"]),
        fingerprint=file_fingerprint([path]),
        left_out=problems.counts,
    )
    return Checked(description=description, labels=labels, rows=rows, problems=problems)


def _class_names(path: Path, train_labels: np.ndarray) -> tuple[str, ...]:
    names = read_class_names(path)
    if names is not None:
        return names
    if train_labels.ndim == 2:
        return tuple(map(str, range(train_labels.shape[1])))
    # Each class has a training image, so there are no more classes than images: a label that is out of
    # all proportion is refused later and makes no list of names here.
    sensible = train_labels[train_labels < len(train_labels)]
    return tuple(map(str, range(max(int(sensible.max(initial=0)) + 1, 1))))


def _name_problems(names: tuple[str, ...], train_labels: np.ndarray, *, multi_label: bool) -> list[str]:
    if multi_label and (len(names) != train_labels.shape[1] or not names):
        return [
            f"class_names holds {len(names)} names and train_labels {train_labels.shape[1]} columns; expected one "
            "name for each column, and at least one."
        ]
    if not multi_label and len(names) < 2:
        return ["there is only one class; at least 2 are needed. Add images of another class."]
    return []


def _usable_rows(split: str, labels: np.ndarray, num_classes: int, problems: Problems) -> np.ndarray:
    """The rows whose label can be; the others are noted."""
    if labels.ndim == 2:
        good, expected = np.isin(labels, (0, 1)).all(axis=1), "0 or 1 for each finding"
        if labels.shape[1] == 1:
            expected += "; classes are numbers of the shape (n,), as labels.ravel() gives"
    else:
        good, expected = (labels >= 0) & (labels < num_classes), f"0 to {num_classes - 1}"
    for row in np.flatnonzero(~good).tolist():
        problems.add("bad_label", f"{split}/{row}", f"{labels[row].tolist()}, expected {expected}")
    return np.flatnonzero(good)


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
