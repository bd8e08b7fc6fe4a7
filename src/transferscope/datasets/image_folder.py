"""The user's own images in folders: root/train/<class>/*.png and root/test/<class>/*.png."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Literal

from pydantic import Field

from transferscope.data.base import Description, ImageData, ImageSplit
from transferscope.errors import BadInput, did_you_mean
from transferscope.options import DatasetOptions

VERSION = 1

EXTENSIONS = (".bmp", ".jpeg", ".jpg", ".png", ".webp")
LAYOUT = "Expected: <root>/train/<class>/<image> and <root>/test/<class>/<image>."
MAX_PROBLEMS = 20
"""So many problems are listed; the others are counted."""

Classes = dict[str, list[Path]]
"""The images of each class, both sorted by name."""


class Options(DatasetOptions):
    """The options of images in folders."""

    dataset: Literal["image_folder"] = "image_folder"
    """Name of the data set."""
    root: Path
    """The folder that holds `train` and `test`."""
    image_size_px: int = Field(default=224, ge=8, le=1024)
    """Side of the square images."""
    resize: Literal["crop", "pad"] = "crop"
    """crop: the short side is resized to image_size_px and the middle is kept. pad: the long side is, and the
    rest is filled with the image's mean colour, so that nothing is cut off."""
    max_train_size: int | None = Field(default=None, ge=2)
    """At most so many training images, as even over the classes as can be; all by default."""
    max_test_size: int | None = Field(default=None, ge=2)
    """At most so many test images, as even over the classes as can be; all by default."""
    seed: int = Field(default=0, ge=0)
    """Which images are taken where there are more than the maximum."""


def describe(options: Options) -> Description:
    """The classes are the folders in `train`, sorted by name; no image is opened.

    Raises:
        BadInput: the folders are not as expected; every problem that was found is listed.
    """
    train, test = _find(options)
    counts = {
        split: min(sum(map(len, classes.values())), maximum or sys.maxsize)
        for split, classes, maximum in (
            ("train", train, options.max_train_size),
            ("test", test, options.max_test_size),
        )
    }
    return Description(
        class_names=tuple(train),
        image_size_px=options.image_size_px,
        num_train=counts["train"],
        num_test=counts["test"],
        fingerprint=_fingerprint(options.root, train, test),
    )


def _fingerprint(root: Path, *splits: Classes) -> str:
    """Of the names, sizes and times of change of all images: replaced files are other data."""
    digest = hashlib.sha256()
    for classes in splits:
        for paths in classes.values():
            for path in paths:
                state = path.stat()
                entry = (path.relative_to(root).as_posix(), state.st_size, state.st_mtime_ns)
                digest.update(repr(entry).encode())
    return digest.hexdigest()


def load(options: Options) -> ImageData:
    """Decode the images to RGB; ids are paths relative to the root.

    Transparent pixels become white; grey images of 16 bits are scaled to 8.

    Raises:
        BadInput: as `describe`, or there are files that can't be decoded; all of them are named.
    """
    train, test = _find(options)
    class_numbers = {name: number for number, name in enumerate(train)}
    problems: list[str] = []
    data = ImageData(
        train=_load_split(
            _choose(train, options.max_train_size, options.seed), class_numbers, options, problems
        ),
        test=_load_split(
            _choose(test, options.max_test_size, options.seed), class_numbers, options, problems
        ),
    )
    if problems:
        raise BadInput(_shorten(problems))
    return data


def _load_split(
    chosen: list[tuple[str, Path]], class_numbers: dict[str, int], options: Options, problems: list[str]
) -> ImageSplit:
    import torch

    from transferscope.data.decode import decode_all

    paths = [path for _, path in chosen]
    images, failures = decode_all(paths, options.image_size_px, options.resize)
    problems += failures
    return ImageSplit(
        images=images,
        labels=torch.tensor([class_numbers[name] for name, _ in chosen]),
        ids=tuple(path.relative_to(options.root).as_posix() for path in paths),
    )


def _find(options: Options) -> tuple[Classes, Classes]:
    """The images of train and test; raises BadInput with all that is wrong with the folders."""
    root = options.root
    if not root.is_dir():
        came = "is not a folder" if root.exists() else "does not exist"
        raise BadInput(f"the root of the images, {root}, {came}. {LAYOUT} Give the folder that holds both.")
    missing = [split for split in ("train", "test") if not (root / split).is_dir()]
    problems: list[str] = []
    try:
        if missing:
            folders = sorted(path.name for path in root.iterdir() if path.is_dir())
            raise BadInput(
                f"{root} has no folder named {' and none named '.join(missing)}; its folders: "
                f"{', '.join(folders) or 'none'}. {LAYOUT}"
            )
        train, test = _classes(root, "train", problems), _classes(root, "test", problems)
    except (OSError, RuntimeError) as error:  # RuntimeError: links that lead in a circle
        raise BadInput(f"{root} can't be read ({error}). Mend its permissions and links.") from None
    problems += _class_problems(train, test, options)
    if problems:
        raise BadInput(_shorten(problems))
    return train, test


def _class_problems(train: Classes, test: Classes, options: Options) -> list[str]:
    problems = []
    if len(train) < 2:
        problems.append(
            f"{options.root / 'train'} has {len(train)} class folders; at least 2 are needed. {LAYOUT}"
        )
    if not test:
        problems.append(f"{options.root / 'test'} has no class folders; test images are needed. {LAYOUT}")
    for name in test.keys() - train.keys():
        problems.append(
            f"the class '{name}' is in test but not in train.{did_you_mean(name, train)} Add train/{name}, "
            f"or rename or remove test/{name}."
        )
    if options.max_train_size is not None and options.max_train_size < len(train):
        problems.append(
            f"max_train_size is {options.max_train_size} and there are {len(train)} classes: each needs an "
            f"image to train on. Give {len(train)} or more."
        )
    return sorted(problems)


def _classes(root: Path, split: str, problems: list[str]) -> Classes:
    """The images of each class folder of a split; what is wrong is added to `problems`."""
    inside = root.resolve()
    classes = {}
    for folder in sorted((root / split).iterdir()):
        if folder.name.startswith(".") or not folder.is_dir():
            continue
        classes[folder.name] = paths = sorted(
            path
            for path in folder.iterdir()
            if path.suffix.lower() in EXTENSIONS and not path.name.startswith(".")
        )
        if not folder.resolve().is_relative_to(inside):
            problems.append(f"{folder} is a link that leads out of {root}. Copy the folder to its place.")
            continue
        for path in paths:
            if not path.resolve().is_relative_to(inside):
                problems.append(f"{path} is a link that leads out of {root}. Copy the image to its place.")
            elif not path.is_file():
                problems.append(f"{path} is not a file. Remove it or mend the link.")
        if not paths:
            problems.append(
                f"{folder} holds no images. Put some directly in it ({', '.join(EXTENSIONS)}) or remove it."
            )
    return classes


def _choose(classes: Classes, maximum: int | None, seed: int) -> list[tuple[str, Path]]:
    """(class, path) of the images to take, in the order of classes and paths."""
    import numpy as np

    generator = np.random.Generator(np.random.PCG64(seed))
    turns = [
        (turn, name, paths[i])
        for name, paths in classes.items()
        for turn, i in enumerate(generator.permutation(len(paths)))
    ]
    # One image of each class in turn: small classes are taken whole, and large ones evenly.
    return sorted((name, path) for _, name, path in sorted(turns)[:maximum])


def _shorten(problems: list[str]) -> list[str]:
    more = len(problems) - MAX_PROBLEMS
    return (
        problems if more <= 0 else [*problems[:MAX_PROBLEMS], f"... and {more} more problems of this kind."]
    )
