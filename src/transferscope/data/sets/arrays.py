"""The user's own images in one file of arrays: NumPy's .npz, or .safetensors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from transferscope.core.datasets import Description, ImageData, ImageSplit
from transferscope.core.errors import BadInput
from transferscope.core.options import SeveralLabels, later_option
from transferscope.data.files.array_file import (
    HOW_TO_SAVE,
    Header,
    read_array,
    read_class_names,
    read_headers,
)
from transferscope.data.files.image_list import absent_notes, check_labels, file_fingerprint, one_finding_each
from transferscope.data.files.label_columns import kept_columns, without_constant
from transferscope.data.files.problems import Problems

if TYPE_CHECKING:
    from torch import Tensor

    from transferscope.data.files.squares import Originals

VERSION = 2
TEXT_KEY = "path"

SPLITS = ("train", "test")
CHANNELS = (1, 3)
MIN_SIDE_PX = 8
IMAGE_SHAPES = "(n, size, size), (n, size, size, channels) or (n, channels, size, size) with 1 or 3 channels"
LABEL_SHAPES = "(n,) whole numbers from 0, or (n, k) of 0 and 1 for k findings"


class Options(SeveralLabels):
    """The options of images in a file of arrays."""

    dataset: Literal["arrays"] = "arrays"
    """Name of the data set."""
    path: Path
    """A .npz or .safetensors file with train_images, train_labels, test_images, test_labels and perhaps class_names.

    Images: uint8, (n, size, size), (n, size, size, channels) or (n, channels, size, size), square unless image_size_px
    is given; grey ones fill all three channels. Labels: (n,) or (n, 1) whole numbers from 0, or (n, k) of 0 and 1 for k
    labels of which several may hold at once. class_names: (k,) strings; in a .safetensors file a JSON list
    in the metadata.
    """
    order_seed: int = Field(default=0, ge=0)
    """Seed of the random order in which the images come: the first ones stand for all."""
    image_size_px: int | None = later_option(ge=8, le=1024)
    """Side of the square images; by default that of the arrays, which are then square and of one size."""
    resize: Literal["crop", "pad", "stretch", "evaluation"] = later_option("crop")
    """As in the data set `imagefolder`, where image_size_px is given and the arrays have another size."""
    test_split: str = later_option("test")
    """First part of the names of the test arrays: val takes val_images and val_labels."""


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

    from transferscope.data.files.load_list import clean_up
    from transferscope.data.files.squares import Originals

    checked = _check(options)
    dtype = torch.float32 if checked.description.multi_label else torch.int64
    originals = Originals(checked.description.image_size_px, options.resize)
    splits = {}
    for split, name in _array_names(options).items():
        rows = checked.rows[split]
        splits[split] = ImageSplit(
            images=_channels_first(read_array(options.path, f"{name}_images"), rows, originals),
            labels=torch.from_numpy(checked.labels[split][rows].astype(np.int64)).to(dtype),
            ids=tuple(f"{split}/{row}" for row in rows.tolist()),
        )
    data = ImageData(**splits, shown=tuple(originals.notes()), notes=tuple(originals.warnings()))
    return clean_up(data, options, options.path, checked.problems, checked.description.class_names)


def _array_names(options: Options) -> dict[str, str]:
    return {"train": "train", "test": options.test_split}


def _channels_first(pixels: np.ndarray, rows: np.ndarray, originals: Originals) -> Tensor:
    """Rows of images of any of the allowed shapes as (n, 3, size, size)."""
    import torch
    from PIL import Image

    from transferscope.data.files.squares import square

    images = pixels[:, None] if pixels.ndim == 3 else pixels
    if pixels.ndim == 4 and pixels.shape[3] in CHANNELS:
        images = np.moveaxis(pixels, 3, 1)
    height, width = images.shape[2:]
    side = originals.size_px
    originals.sizes[width, height] += len(rows)
    chosen = np.empty((len(rows), 3, side, side), dtype=np.uint8)
    for place, row in enumerate(rows.tolist()):
        if (height, width) == (side, side):
            chosen[place] = images[row]
        else:
            rgb = np.broadcast_to(images[row], (3, height, width)).transpose(1, 2, 0)
            chosen[place] = square(Image.fromarray(rgb), side, originals.resize).transpose(2, 0, 1)
    originals.add_square(chosen)
    return torch.from_numpy(chosen)


def _check(options: Options) -> Checked:
    path = options.path
    arrays = _array_names(options)
    headers = read_headers(path)
    required = [f"{name}_{kind}" for name in arrays.values() for kind in ("images", "labels")]
    missing = [name for name in required if name not in headers]
    if missing:
        other = next((name for name in ("val", "valid", "validation") if f"{name}_images" in headers), None)
        how = f" `test_split: {other}` takes {other}_images for testing." if other else ""
        raise BadInput(
            f"{path} lacks {', '.join(missing)}; it holds: {', '.join(sorted(headers)) or 'nothing'}. "
            f"Needed: {', '.join(required)}.{how} {HOW_TO_SAVE}"
        )
    any_size = options.image_size_px is not None
    wrong = [
        problem for name in arrays.values() for problem in _header_problems(name, headers, any_size=any_size)
    ]
    _refuse(path, wrong or _agreement_problems(arrays, headers, any_size=any_size))
    labels = {split: read_array(path, f"{name}_labels") for split, name in arrays.items()}
    notes, reading = [], ""
    if _is_column_of_classes(labels):
        labels = {
            split: column[:, 0] for split, column in labels.items()
        }  # perhaps floats: NaN is refused below
        notes, reading = (
            ["the labels are a column of the shape (n, 1), and taken as numbers of classes"],
            "column-labels",
        )
    multi_label = labels["train"].ndim == 2
    if not multi_label:
        _refuse(path, _numbering_problems(labels["train"], read_class_names(path)))
    names = _class_names(path, labels["train"])
    wrong = _name_problems(names, labels["train"], multi_label=multi_label)
    if len(set(names)) != len(names):
        wrong.append(f"class_names holds a name twice: {', '.join(names)}. Give each class its own.")
    if options.leave_out_labels and not multi_label:
        wrong.append("leave_out_labels: each image has one class; the option is for several labels an image.")
    _refuse(path, wrong)
    problems = Problems()
    if multi_label:
        names, labels = _without_labels(kept_columns(names, options), names, labels)
        if options.missing_labels == "absent":
            count = sum(int(_missing(one).sum()) for one in labels.values())
            labels = {split: np.where(_missing(one), 0, one) for split, one in labels.items()}
            notes += [f"{count:,} labels are missing (NaN), and count as absent"] if count else []
    generator = np.random.Generator(np.random.PCG64(options.order_seed))
    rows = {
        split: generator.permutation(_usable_rows(split, labels[split], len(names), problems))
        for split in SPLITS
    }
    if multi_label:
        usable = {split: list(map(tuple, labels[split][rows[split]])) for split in SPLITS}
        names, labels = _without_labels(without_constant(names, usable, options, problems), names, labels)
    problems.settle(options.on_bad, path)
    chosen = {split: labels[split][rows[split]].astype(np.int64) for split in SPLITS}
    plain = {split: list(map(tuple, one)) if multi_label else one.tolist() for split, one in chosen.items()}
    check_labels(names, plain, path, problems)
    description = Description(
        class_names=names,
        image_size_px=options.image_size_px or headers["train_images"].shape[2],
        multi_label=multi_label,
        one_finding_each=multi_label and one_finding_each(*plain.values()),
        num_train=len(rows["train"]),
        num_test=len(rows["test"]),
        fingerprint=" ".join(filter(None, (file_fingerprint([path]), reading))),
        left_out=problems.counts,
        notes=(*notes, *absent_notes(names, plain)),
    )
    return Checked(description=description, labels=labels, rows=rows, problems=problems)


def _is_column_of_classes(labels: dict[str, np.ndarray]) -> bool:
    """True for labels of the shape (n, 1) that are whole numbers or NaN, and not all of them 0 and 1."""
    if any(one.ndim != 2 or one.shape[1] != 1 for one in labels.values()):
        return False
    values = np.concatenate([one[:, 0].astype(np.float64) for one in labels.values()])
    values = values[~np.isnan(values)]
    return bool((values == np.rint(values)).all() and not np.isin(values, (0, 1)).all())


def _without_labels(
    kept: list[int], names: tuple[str, ...], labels: dict[str, np.ndarray]
) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    if len(kept) == len(names):
        return names, labels
    return tuple(names[column] for column in kept), {split: one[:, kept] for split, one in labels.items()}


def _missing(labels: np.ndarray) -> np.ndarray:
    return np.isnan(labels) if labels.dtype.kind == "f" else np.zeros(labels.shape, dtype=bool)


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


def _numbering_problems(train_labels: np.ndarray, names: tuple[str, ...] | None) -> list[str]:
    """Labels that are codes, such as 1000 and 2000, and not the numbers of classes from 0 on.

    A few of them may be mistakes, or stand for missing labels: these are refused one by one.
    """
    values = np.unique(train_labels[train_labels >= 0])
    codes = int((values >= len(names or values)).sum())
    if len(values) < 2 or 2 * codes <= len(values):
        return []
    shown = ", ".join(map(str, values[:5].tolist())) + (", ..." if len(values) > 5 else "")
    return [
        f"train_labels holds {len(values)} different numbers ({shown}); expected classes numbered from "
        f"0 to {len(values) - 1}. Number them in order, and save the codes as names: codes = "
        "numpy.unique(train_labels); train_labels = numpy.searchsorted(codes, train_labels), the same for test_labels, "
        "and class_names=codes.astype(str)."
    ]


def _usable_rows(split: str, labels: np.ndarray, num_classes: int, problems: Problems) -> np.ndarray:
    """The rows whose label can be; the others are noted."""
    if labels.ndim == 2:
        missing = _missing(labels).any(axis=1)
        for row in np.flatnonzero(missing).tolist():
            problems.add("missing_label", f"{split}/{row}")
        usable, expected = np.isin(labels, (0, 1)).all(axis=1), "0 or 1 for each label"
        good = usable | missing
        if labels.shape[1] == 1:
            expected += "; classes are numbers of the shape (n,), as labels.ravel() gives"
    else:
        good, expected = (labels >= 0) & (labels < num_classes), f"0 to {num_classes - 1}"
        usable = good
    for row in np.flatnonzero(~good).tolist():
        problems.add("bad_label", f"{split}/{row}", f"{labels[row].tolist()}, expected {expected}")
    return np.flatnonzero(usable)


def _refuse(path: Path, problems: list[str]) -> None:
    if problems:
        raise BadInput([f"{path}: {problem}" for problem in problems])


def _header_problems(split: str, headers: dict[str, Header], *, any_size: bool) -> list[str]:
    """What can be said against a split's arrays without reading them."""
    images, labels = headers[f"{split}_images"], headers[f"{split}_labels"]
    problems = []
    if images.dtype != np.uint8:
        problems.append(
            f"{split}_images is {images.dtype}; expected uint8, 0 to 255. Scale and round the images, then "
            "use .astype(numpy.uint8)."
        )
    if not _are_images(images.shape, any_size=any_size):
        problems.append(
            f"{split}_images has the shape {images.shape}; expected {IMAGE_SHAPES}, square and of at "
            f"least {MIN_SIDE_PX} px. `image_size_px: 32` with `resize: crop`, pad or stretch makes squares of others, "
            "unless both ends may be the channels."
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


def _are_images(shape: tuple[int, ...], *, any_size: bool) -> bool:
    if len(shape) == 3:
        side = shape[1:]
    elif len(shape) == 4 and shape[1] in CHANNELS and shape[3] in CHANNELS:
        return False  # either may be the channels
    elif len(shape) == 4 and shape[3] in CHANNELS:
        side = shape[1:3]
    elif len(shape) == 4 and shape[1] in CHANNELS:
        side = shape[2:]
    else:
        return False
    return min(side) > 0 if any_size else side[0] == side[1] >= MIN_SIDE_PX


def _agreement_problems(arrays: dict[str, str], headers: dict[str, Header], *, any_size: bool) -> list[str]:
    """What can be said against train and test together without reading them."""
    problems = []
    train_side, test_side = (headers[f"{name}_images"].shape[2] for name in arrays.values())
    if train_side != test_side and not any_size:
        problems.append(
            f"train_images are {train_side} px wide and test_images {test_side} px; expected the same side. "
            "Give image_size_px, the side that both are resized to."
        )
    train_labels, test_labels = (headers[f"{name}_labels"].shape[1:] for name in arrays.values())
    if train_labels != test_labels:
        problems.append(
            f"the rows of train_labels have the shape {train_labels} and those of test_labels {test_labels}; "
            f"expected the same kind of label in both: {LABEL_SHAPES}."
        )
    return problems
