"""Images in folders, one a class: the options and the listing that data sets of this layout share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field

from transferscope.data.image_list import EXTENSIONS, Entry, ImageFolder, Listing
from transferscope.data.problems import Problems
from transferscope.errors import BadInput, did_you_mean
from transferscope.options import FileOptions

OTHER_IMAGES = (".avif", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".pbm", ".pgm", ".ppm", ".tif", ".tiff")
"""Images of other formats: beside those that are read they are said, rather than passed over."""
_ONLY_READ = f"only {', '.join(EXTENSIONS)} are read"
Classes = dict[str, list[Entry]]
"""The images of each class, both sorted by name; labels are set later."""


class FolderOptions(FileOptions):
    """The options of images in folders."""

    root: Path
    """The folder that holds those of the splits."""
    image_size_px: int = Field(default=224, ge=8, le=1024)
    """Side of the square images."""
    resize: Literal["crop", "pad", "stretch", "evaluation"] = "crop"
    """crop: the short side is resized to image_size_px and the middle is kept. pad: the long side is, and the
    rest is filled with the image's mean colour, so that nothing is cut off. stretch: both sides are, whatever the
    proportions, as torchvision's Resize((side, side)) does. evaluation: the short side is resized to 256/224 of
    image_size_px and the middle is kept, as ImageNet networks are evaluated."""
    max_train_size: int | None = Field(default=None, ge=2)
    """At most so many training images, as even over the classes as can be; all by default."""
    max_test_size: int | None = Field(default=None, ge=2)
    """At most so many test images, as even over the classes as can be; all by default."""
    seed: int = Field(default=0, ge=0)
    """Which images are taken where there are more than the maximum, and in which order they come."""


def layout(test_folder: str) -> str:
    """What is expected, for messages."""
    return f"Expected: <root>/train/<class>/<image> and <root>/{test_folder}/<class>/<image>."


def list_folders(options: FolderOptions, test_folder: str) -> Listing:
    """The images of both splits; labels are those of the classes in train, sorted by name.

    Args:
        options: where they are, and how many to take.
        test_folder: name of the folder with the test images.

    Raises:
        BadInput: the folders are not as expected.
    """
    root, expected = options.root, layout(test_folder)
    if not root.is_dir():
        came = "is not a folder" if root.exists() else "does not exist"
        raise BadInput(f"the root of the images, {root}, {came}. {expected} Give the folder that holds both.")
    problems = Problems()
    try:
        missing = [split for split in ("train", test_folder) if not (root / split).is_dir()]
        if missing:
            folders = sorted(path.name for path in root.iterdir() if path.is_dir())
            raise BadInput(
                f"{root} has no folder named {' and none named '.join(missing)}; its folders: "
                f"{', '.join(folders) or 'none'}. {expected}"
            )
        folder = ImageFolder(root, problems)
        train, test = (_classes(root, split, folder, problems) for split in ("train", test_folder))
    except (OSError, RuntimeError) as error:  # RuntimeError: links that lead in a circle
        raise BadInput(f"{root} can't be read ({error}). Mend its permissions and links.") from None
    for name in [name for name in test if name not in train]:
        for entry in test.pop(name):
            problems.add("class_not_in_train", entry.id, f"'{name}'.{did_you_mean(name, train)}")
    names = tuple(train)
    _refuse_too_little(options, test_folder, names, test, problems)
    return Listing(
        class_names=names,
        train=_choose(train, names, options.max_train_size, options.seed),
        test=_choose(test, names, options.max_test_size, options.seed),
        problems=problems,
    )


def _refuse_too_little(
    options: FolderOptions, test_folder: str, names: tuple[str, ...], test: Classes, problems: Problems
) -> None:
    wrong, expected = [], layout(test_folder)
    if len(names) < 2:
        wrong.append(
            f"{options.root / 'train'} has {len(names)} class folders with images; at least 2 are needed. {expected}"
        )
    if not test:
        wrong.append(f"{options.root / test_folder} has no class folders; test images are needed. {expected}")
    if options.max_train_size is not None and options.max_train_size < len(names):
        wrong.append(
            f"max_train_size is {options.max_train_size} and there are {len(names)} classes: each needs an "
            f"image to train on. Give {len(names)} or more."
        )
    if wrong:
        raise BadInput([*wrong, *(f"{options.root}: {line}" for line in problems.lines())])


def _classes(root: Path, split: str, folder: ImageFolder, problems: Problems) -> Classes:
    """The images of each class folder of a split; what can't be used is noted."""
    classes = {}
    for name in sorted(os.listdir(root / split)):
        if name.startswith(".") or not (root / split / name).is_dir():
            continue
        there = sorted(file for file in os.listdir(root / split / name) if not file.startswith("."))
        files = [file for file in there if file.lower().endswith(EXTENSIONS)]
        for file in there if files else ():
            if file.lower().endswith(OTHER_IMAGES):
                problems.add("undecodable", f"{split}/{name}/{file}", _ONLY_READ)
        entries = [entry for file in files if (entry := folder.entry(f"{split}/{name}/{file}", 0))]
        if entries:
            classes[name] = entries
        elif not files:
            problems.add("empty_class", f"{split}/{name}", _ONLY_READ)
    return classes


def _choose(classes: Classes, names: tuple[str, ...], maximum: int | None, seed: int) -> tuple[Entry, ...]:
    """The images to take, in random order: the first ones stand for all."""
    import numpy as np

    generator = np.random.Generator(np.random.PCG64(seed))
    turns = [
        (turn, name, entries[i])
        for name, entries in classes.items()
        for turn, i in enumerate(generator.permutation(len(entries)))
    ]
    # One image of each class in turn: small classes are taken whole, and large ones evenly.
    chosen = sorted((name, entry) for _, name, entry in sorted(turns)[:maximum])
    numbers = {name: number for number, name in enumerate(names)}
    order = generator.permutation(len(chosen))
    return tuple(entry._replace(label=numbers[name]) for name, entry in (chosen[i] for i in order))
