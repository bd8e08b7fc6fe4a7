"""DomainNet (Peng et al. 2019): one of its six domains, as the paper takes it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from transferscope.core.datasets import ASSUMED, Description, ImageData
from transferscope.core.errors import BadInput
from transferscope.core.options import FileOptions
from transferscope.data.files.image_list import Entry, ImageFolder, Listing
from transferscope.data.files.list_file import lines_of
from transferscope.data.files.problems import Problems

VERSION = 1
TEXT_KEY = "root"

NUM_CLASSES = 345
OFFICIAL_SIZES = {
    "clipart": (33_525, 14_604),
    "infograph": (36_023, 15_582),
    "painting": (50_416, 21_850),
    "quickdraw": (120_750, 51_750),
    "real": (120_906, 52_041),
    "sketch": (48_212, 20_916),
}
"""Lines of each domain's training and test list, as published."""
LAYOUT = (
    "Expected: <root>/<domain>/<class>/<image> with the lists <root>/<domain>_train.txt and "
    "<root>/<domain>_test.txt, of lines like 'real/zebra/real_344_000001.jpg 344'."
)


class Options(FileOptions):
    """The options of DomainNet.

    Of the domains, `real` holds photographs, most like ImageNet, then `clipart`, then `quickdraw`.
    """

    dataset: Literal["domainnet"] = "domainnet"
    """Name of the data set."""
    root: Path
    """The folder that holds the domains' folders and lists."""
    domain: Literal["clipart", "infograph", "painting", "quickdraw", "real", "sketch"]
    """Which domain; the paper takes real, clipart and quickdraw."""
    image_size_px: int = Field(default=224, ge=8, le=1024)
    """Side of the square images: the short side is resized to 256/224 of this and the middle is kept."""
    max_train_size: int | None = Field(default=50_000, ge=2)
    """Maximum number of training images, chosen at random; null for all."""
    max_test_size: int | None = Field(default=50_000, ge=2)
    """Maximum number of test images, chosen at random; null for all. Only quickdraw and real have more."""
    subset_seed: int = Field(default=2020, ge=0, le=2**32 - 1)
    """Seed of both draws: the first max_train_size (max_test_size) of numpy's RandomState(subset_seed)
    .permutation(number of lines in the list), as in the paper's released code."""


def describe(options: Options) -> Description:
    """The classes are the labels in the training list, named by the folders of their images.

    Raises:
        BadInput: the lists can't be read, or name what can't be used; see `FileOptions.on_bad`.
    """
    return _list(options).description(options.image_size_px)


def assumed(options: Options) -> Description:
    """What the official lists hold, with numbers for the names of the classes."""
    num_train, num_test = OFFICIAL_SIZES[options.domain]
    return Description(
        class_names=tuple(f"class {number}" for number in range(NUM_CLASSES)),
        image_size_px=options.image_size_px,
        num_train=min(num_train, options.max_train_size or num_train),
        num_test=min(num_test, options.max_test_size or num_test),
        fingerprint=ASSUMED,
    )


def load(options: Options) -> ImageData:
    """Decode the images in the order drawn; ids are the paths of the lists.

    Raises:
        BadInput: as `describe`, or there are images that can't be used; see `FileOptions.on_bad`.

    Source: X. Peng et al., Moment Matching for Multi-Source Domain Adaptation, ICCV 2019.
    """
    from transferscope.data.files.decode import SquareDecoder
    from transferscope.data.files.load_list import load_list

    decode = SquareDecoder(options.image_size_px, "evaluation")
    return load_list(_list(options), decode, options.image_size_px, options, options.root)


def _list(options: Options) -> Listing:
    problems = Problems()
    lines = {split: _read(options, split) for split in ("train", "test")}
    names = _names(lines["train"])
    if len(names) < 2:
        raise BadInput(
            f"{_list_file(options, 'train')} lists images of {len(names)} classes; at least 2 are needed. {LAYOUT}"
        )
    numbers = {label: number for number, label in enumerate(sorted(names))}
    folder = ImageFolder(options.root, problems)
    entries: dict[str, tuple[Entry, ...]] = {}
    for split, maximum in (("train", options.max_train_size), ("test", options.max_test_size)):
        chosen = _drawn(lines[split], maximum, options.subset_seed)
        found = (_entry(line, names, numbers, folder, problems) for line in chosen)
        entries[split] = tuple(entry for entry in found if entry is not None)
    listing = Listing(
        class_names=tuple(names[label] for label in sorted(names)),
        train=entries["train"],
        test=entries["test"],
        problems=problems,
    )
    problems.settle(options.on_bad, options.root)
    listing.check(options.root)
    return listing


def _list_file(options: Options, split: str) -> Path:
    return options.root / f"{options.domain}_{split}.txt"


def _read(options: Options, split: str) -> list[tuple[str, str]]:
    """(path, label) of each line of a list, in its order."""
    file = _list_file(options, split)
    try:
        lines = [line.strip() for line in lines_of(file, "utf-8-sig")]
    except (OSError, ValueError) as error:
        raise BadInput(f"{file} can't be read ({error}). {LAYOUT}") from None
    pairs = [tuple(line.rsplit(maxsplit=1)) for line in lines if line]
    malformed = [number for number, pair in enumerate(pairs, 1) if len(pair) != 2]
    if malformed or not pairs:
        which = (
            f"{len(malformed)} lines without a label, first line {malformed[0]}" if malformed else "no line"
        )
        raise BadInput(f"{file} holds {which}. {LAYOUT}")
    return [(path, label) for path, label in pairs]


def _label(text: str) -> int | None:
    """The number that a list gives, or None where it can't be one."""
    plain = text.isascii() and text.isdecimal() and len(text) <= len(str(NUM_CLASSES))
    return int(text) if plain and int(text) < NUM_CLASSES else None


def _class_folder(path: str) -> str:
    return path.rpartition("/")[0].rpartition("/")[2]


def _names(lines: list[tuple[str, str]]) -> dict[int, str]:
    """The name of each label: the folder of its first image that is in no other class before."""
    names: dict[int, str] = {}
    taken: set[str] = set()
    for path, text in lines:
        label, name = _label(text), _class_folder(path)
        if label is not None and label not in names and name and name not in taken:
            names[label] = name
            taken.add(name)
    return names


def _drawn(lines: list[tuple[str, str]], maximum: int | None, seed: int) -> list[tuple[str, str]]:
    """In random order, where there are no more than the maximum too: the first ones stand for all.

    The released code draws with RandomState.choice without replacement, which is the same numbers.
    """
    import numpy as np

    order = np.random.RandomState(seed).permutation(len(lines))[:maximum]
    return [lines[row] for row in order]


def _entry(
    line: tuple[str, str],
    names: dict[int, str],
    numbers: dict[int, int],
    folder: ImageFolder,
    problems: Problems,
) -> Entry | None:
    path, text = line
    label, name = _label(text), _class_folder(path)
    entry = folder.entry(path, numbers.get(-1 if label is None else label, 0))
    if entry is None:
        return None
    if label is None:
        problems.add("bad_label", path, f"'{text}', expected 0 to {NUM_CLASSES - 1}")
    elif label not in names:
        problems.add("class_not_in_train", path, f"label {label}")
    elif names[label] != name:
        problems.add("bad_label", path, f"{label}, which is '{names[label]}' elsewhere in the lists")
    else:
        return entry
    return None
