"""Fashion-MNIST (Xiao, Rasul, Vollgraf 2017): real grey pictures of clothes, 28 x 28."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from transferscope.core.datasets import Description, ImageData, ImageSplit
from transferscope.core.errors import BadInput
from transferscope.core.options import FileOptions
from transferscope.data.files.idx_file import read_array, read_shape
from transferscope.data.files.image_list import file_fingerprint
from transferscope.data.files.problems import Problems

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

VERSION = 1
TEXT_KEY = "root"

CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
SIDE_PX = 28
FILES = {"train": "train", "test": "t10k"}
"""How the names of a split's files begin."""
HINT = (
    "Expected: train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and "
    "t10k-labels-idx1-ubyte, each with .gz or without. Debian's package dataset-fashion-mnist puts them into "
    "/usr/share/datasets/fashion-mnist."
)


class Options(FileOptions):
    """The options of Fashion-MNIST."""

    dataset: Literal["fashion_mnist"] = "fashion_mnist"
    """Name of the data set."""
    root: Path = Path("/usr/share/datasets/fashion-mnist")
    """The folder that holds the four IDX files, gzipped or not."""
    image_size_px: int = Field(default=32, ge=8, le=256)
    """Side of the square images; the originals have 28."""
    resize: Literal["pad", "interpolate"] = "pad"
    """pad: the original in the middle of an even border of 0, image_size_px at least 28. interpolate: bicubic."""
    channels: Literal[1, 3] = 3
    """3: the grey values fill three channels, as in the data sets that have colours."""
    train_size: int = Field(default=60_000, ge=50, le=60_000)
    """Number of training images, drawn from the 60,000 for training."""
    test_size: int = Field(default=10_000, ge=50, le=10_000)
    """Number of test images, drawn from the 10,000 for testing."""
    seed: int = Field(default=0, ge=0)
    """Which images are drawn, and in which order."""

    @model_validator(mode="after")
    def _originals_fit(self) -> Self:
        if self.resize == "pad" and self.image_size_px < SIDE_PX:
            raise ValueError(
                f"image_size_px {self.image_size_px} is less than {SIDE_PX}, the side of the originals, which are "
                "only padded. Give 28 or more, or resize: interpolate."
            )
        return self


def describe(options: Options) -> Description:
    """10 kinds of clothes.

    Raises:
        BadInput: the files are not there, or are none of Fashion-MNIST.
    """
    files = {
        (split, kind): _file(options.root, split, kind) for split in FILES for kind in ("images", "labels")
    }
    for split, size in (("train", options.train_size), ("test", options.test_size)):
        images, labels = (read_shape(files[split, kind]) for kind in ("images", "labels"))
        if len(images) != 3 or images[1:] != (SIDE_PX, SIDE_PX) or labels != images[:1]:
            raise BadInput(
                f"{files[split, 'images']} holds an array of {images} and {files[split, 'labels'].name} one of "
                f"{labels}; expected (n, {SIDE_PX}, {SIDE_PX}) and (n,)."
            )
        if size > images[0]:
            raise BadInput(
                f"{files[split, 'images']} holds {images[0]:,} images; {split}_size is {size:,}. Lower it."
            )
    return Description(
        class_names=CLASS_NAMES,
        image_size_px=options.image_size_px,
        channels=options.channels,
        num_train=options.train_size,
        num_test=options.test_size,
        fingerprint=file_fingerprint(list(files.values())),
    )


def load(options: Options) -> ImageData:
    """The images drawn; ids are rows of the files, as in "train/12".

    Raises:
        BadInput: as `describe`, or there are images that can't be used; see `FileOptions.on_bad`.

    Source: H. Xiao, K. Rasul, R. Vollgraf, Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine
    Learning Algorithms, arXiv:1708.07747.
    """
    import torch

    from transferscope.data.files.load_list import clean_up

    describe(options)
    problems = Problems()
    splits = {}
    for split, size in (("train", options.train_size), ("test", options.test_size)):
        images, labels = (read_array(_file(options.root, split, kind)) for kind in ("images", "labels"))
        rows = _drawn(labels, size, split, options.seed, problems)
        splits[split] = ImageSplit(
            images=_squares(torch.from_numpy(images[rows]), options),
            labels=torch.from_numpy(labels[rows]).long(),
            ids=tuple(f"{split}/{row}" for row in rows.tolist()),
        )
    return clean_up(ImageData(**splits), options, options.root, problems, CLASS_NAMES)


def _file(root: Path, split: str, kind: str) -> Path:
    name = f"{FILES[split]}-{kind}-idx{3 if kind == 'images' else 1}-ubyte"
    for path in (root / name, root / f"{name}.gz"):
        if path.is_file():
            return path
    raise BadInput(f"{root} holds neither {name} nor {name}.gz. {HINT}")


def _drawn(labels: np.ndarray, size: int, split: str, seed: int, problems: Problems) -> np.ndarray:
    """The rows drawn, in random order; those with a label that can't be are noted and left out."""
    import numpy as np

    rows = np.random.Generator(np.random.PCG64(seed)).permutation(len(labels))[:size]
    for row in rows[labels[rows] >= len(CLASS_NAMES)].tolist():
        problems.add("bad_label", f"{split}/{row}", f"{labels[row]}, expected 0 to {len(CLASS_NAMES) - 1}")
    return rows[labels[rows] < len(CLASS_NAMES)]


def _squares(originals: Tensor, options: Options) -> Tensor:
    """(n, 28, 28) uint8 to (n, channels, image_size_px, image_size_px) uint8."""
    import torch
    from torch.nn.functional import interpolate

    side = options.image_size_px
    squares = torch.zeros(len(originals), options.channels, side, side, dtype=torch.uint8)
    if options.resize == "pad":
        before = (side - SIDE_PX) // 2
        squares[:, :, before : before + SIDE_PX, before : before + SIDE_PX] = originals[:, None]
        return squares
    for place, chunk in zip(squares.split(1024), originals.split(1024), strict=True):
        resized = interpolate(
            chunk[:, None].float(), size=(side, side), mode="bicubic", align_corners=False, antialias=True
        )
        place.copy_(resized.clamp_(0, 255).round_())
    return squares
