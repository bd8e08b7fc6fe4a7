"""CheXpert (Irvin et al. 2019): chest radiographs with the five findings of the paper."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from functools import lru_cache
from operator import itemgetter
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

from pydantic import Field

from transferscope.core.datasets import ASSUMED, Description, ImageData
from transferscope.core.errors import BadInput
from transferscope.core.options import FileOptions
from transferscope.data.files.image_list import Entry, ImageFolder, Listing
from transferscope.data.files.list_file import lines_of
from transferscope.data.files.problems import Problems

T = TypeVar("T")

VERSION = 1
TEXT_KEY = "root"

FINDINGS = ("Cardiomegaly", "Edema", "Consolidation", "Atelectasis", "Pleural Effusion")
UNCERTAIN_IS_ONE = ("Edema", "Atelectasis")
"""Findings of which "uncertain" (-1) counts as 1; of the others it counts as 0."""
RARE = ("Cardiomegaly", "Consolidation")
"""Findings whose positive images are listed more often in training."""
OFFICIAL_SIZES = {"frontal": 191_027, "lateral": 32_387, "both": 223_414}
"""Rows of train.csv by view."""
OFFICIAL_TEST_SIZES = {"frontal": 202, "lateral": 32, "both": 234}
"""Rows of valid.csv by view."""
VIEW_COLUMN = "Frontal/Lateral"
PREFIX = "CheXpert-v1.0"
LAYOUT = (
    f"Expected: <root>/train.csv and <root>/valid.csv with the columns Path, {VIEW_COLUMN}, {', '.join(FINDINGS)}, "
    "and the images at the paths that they list. Give the folder that holds train.csv."
)


class Options(FileOptions):
    """The options of CheXpert."""

    dataset: Literal["chexpert"] = "chexpert"
    """Name of the data set."""
    root: Path
    """The folder that holds train.csv, valid.csv and the images. The first part of the paths in the lists,
    CheXpert-v1.0 or CheXpert-v1.0-small, may be this folder, or a folder in it."""
    image_size_px: int = Field(default=224, ge=8, le=1024)
    """Side of the square images; the long side of the radiograph is resized to it."""
    channels: Literal[1, 3] = 3
    """3: the grey values fill three channels, as a network pre-trained on colour images needs."""
    views: Literal["frontal", "lateral", "both"] = "both"
    """Which radiographs; the paper takes both."""
    train_size: int = Field(default=50_000, ge=2)
    """Number of training images, drawn from train.csv."""
    test_size: int = Field(default=50_000, ge=2)
    """Number of test images, drawn from the rest of train.csv."""
    subset_seed: int = Field(default=1234, ge=0, le=2**32 - 1)
    """Seed of both draws, given to numpy's RandomState."""
    split_by: Literal["image", "patient"] = "image"
    """image: of RandomState(subset_seed).permutation(rows of train.csv) the first train_size are for training
    and the next test_size for testing, as in the paper's released code, so that most test images are of
    patients who have training images. patient: patients are drawn instead, and none is in both."""
    test_from: Literal["train", "valid"] = "train"
    """train: as above. valid: the images of valid.csv (234, labelled by radiologists) are the test images
    instead, and test_size has no effect."""
    repeat_rare: int = Field(default=1, ge=0, le=10)
    """So many times more are images with Cardiomegaly or Consolidation listed in training; 1: twice in all."""


class _Row(NamedTuple):
    """One line of a list, its labels not yet read."""

    path: str
    values: tuple[str, ...]


def describe(options: Options) -> Description:
    """The classes are the five findings of the paper; no image is opened.

    Raises:
        BadInput: the lists can't be read, or name what can't be used; see `FileOptions.on_bad`.
    """
    return _list(options).description(options.image_size_px, options.channels)


def assumed(options: Options) -> Description:
    """What the official lists hold; without the images that are listed again, which only their labels tell.

    Raises:
        BadInput: more images are asked for than there are.
    """
    num_test = options.test_size
    if options.test_from == "valid":
        num_test = OFFICIAL_TEST_SIZES[options.views]
    _refuse_too_many(options, OFFICIAL_SIZES[options.views])
    return Description(
        class_names=FINDINGS,
        image_size_px=options.image_size_px,
        multi_label=True,
        channels=options.channels,
        num_train=options.train_size,
        num_test=num_test,
        fingerprint=ASSUMED,
    )


def load(options: Options) -> ImageData:
    """Decode and prepare the radiographs (see `transferscope.data.drawn.chest_film`), in the order drawn.

    Ids are paths relative to the root, with "#2" and so on for those that are listed again.

    Raises:
        BadInput: as `describe`, or there are images that can't be used; see `FileOptions.on_bad`.

    Source: J. Irvin et al., CheXpert: A Large Chest Radiograph Dataset with Uncertainty Labels and Expert
    Comparison, AAAI 2019; the choices of Neyshabur, Sedghi, Zhang 2020 and of their released code.
    """
    from transferscope.data.drawn.chest_film import radiograph_decoder
    from transferscope.data.files.load_list import load_list

    size_px = options.image_size_px
    decode = radiograph_decoder(size_px)
    return load_list(_list(options), decode, size_px, options, options.root, options.channels)


def notes(options: Options) -> list[str]:
    """What one should know of the split before one trusts its numbers."""
    listing = _list(options)
    known = {cluster_of(entry.id) for entry in listing.train}
    shared = sum(cluster_of(entry.id) in known for entry in listing.test)
    if not shared:
        return ["no patient has images in both training and test"]
    return [
        f"{shared:,} of {len(listing.test):,} test images are of patients who have training images too, as in "
        "the paper's released code; `split_by: patient` keeps them apart"
    ]


def _list(options: Options) -> Listing:
    problems = Problems()
    rows = list(_read(options, "train"))
    train_rows, test_rows = _split(options, rows)
    if options.test_from == "valid":
        test_rows = _in_random_order(list(_read(options, "valid")), options.subset_seed)
    folder = ImageFolder(options.root, problems)
    # The first part of the paths is the root itself, unless there is such a folder in it.
    strip = not (options.root / rows[0].path.partition("/")[0]).is_dir()
    train = [entry for row in train_rows if (entry := _entry(row, folder, problems, strip=strip))]
    test = [entry for row in test_rows if (entry := _entry(row, folder, problems, strip=strip))]
    listing = Listing(
        class_names=FINDINGS,
        train=tuple(_with_repeats(train, options.repeat_rare)),
        test=tuple(test),
        problems=problems,
        multi_label=True,
    )
    problems.settle(options.on_bad, options.root)
    listing.check(options.root)
    return listing


def _read(options: Options, name: str) -> Iterator[_Row]:
    """The lines of a list that are of the chosen views."""
    file = options.root / f"{name}.csv"
    view = options.views.capitalize()
    try:
        lines = csv.reader(lines_of(file, "utf-8-sig"))
        header = next(lines, [])
        missing = [column for column in ("Path", VIEW_COLUMN, *FINDINGS) if column not in header]
        if missing:
            raise BadInput(f"{file} lacks the column(s) {', '.join(missing)}. {LAYOUT}")
        path, views = header.index("Path"), header.index(VIEW_COLUMN)
        values = itemgetter(*(header.index(finding) for finding in FINDINGS))
        for number, line in enumerate(lines, start=2):
            if len(line) != len(header):
                raise BadInput(
                    f"{file}, line {number}, has {len(line)} fields; expected {len(header)} as in the header."
                )
            if options.views == "both" or line[views].strip() == view:
                yield _Row(line[path], values(line))
    except (OSError, ValueError, csv.Error) as error:
        raise BadInput(f"{file} can't be read ({error}). {LAYOUT}") from None


def _split(options: Options, rows: list[_Row]) -> tuple[list[_Row], list[_Row]]:
    """Training and test rows of train.csv, in random order."""
    wanted = _refuse_too_many(options, len(rows))
    num_test = wanted - options.train_size
    if options.split_by == "image":
        drawn = _in_random_order(rows, options.subset_seed)[:wanted]
        return drawn[: options.train_size], drawn[options.train_size :]
    by_patient: dict[str, list[_Row]] = {}
    for row in rows:
        by_patient.setdefault(cluster_of(row.path), []).append(row)
    train: list[_Row] = []
    test: list[_Row] = []
    for patient in _in_random_order(list(by_patient), options.subset_seed):
        if len(train) < options.train_size:
            train += by_patient[patient]  # what goes beyond the size is cut off below, and is in neither
        else:
            test += by_patient[patient]
    if len(test) < num_test:
        raise BadInput(
            f"{options.root / 'train.csv'}: with {options.train_size:,} training images only {len(test):,} are left "
            f"of other patients; test_size is {num_test:,}. Lower one of them, or give split_by: image."
        )
    return train[: options.train_size], test[:num_test]


def _refuse_too_many(options: Options, num_rows: int) -> int:
    """Images wanted of the rows of train.csv; raises BadInput where there are fewer."""
    num_test = options.test_size if options.test_from == "train" else 0
    wanted = options.train_size + num_test
    if wanted > num_rows:
        views = "" if options.views == "both" else f"{options.views} "
        raise BadInput(
            f"{options.root / 'train.csv'} lists {num_rows:,} {views}images; train_size {options.train_size:,} "
            f"and test_size {num_test:,} are {wanted:,}. Lower them."
        )
    return wanted


def _in_random_order(items: list[T], seed: int) -> list[T]:
    import numpy as np

    return [items[number] for number in np.random.RandomState(seed).permutation(len(items))]


def cluster_of(path: str) -> str:
    """The patient of an image, by its path."""
    found = re.search(r"patient\w+", path)
    return found[0] if found else path


def _entry(row: _Row, folder: ImageFolder, problems: Problems, *, strip: bool) -> Entry | None:
    path = row.path
    first, _, rest = path.partition("/")
    if strip and first.startswith(PREFIX):
        path = rest
    labels = _labels(row.values)
    if None in labels:
        which = labels.index(None)
        reason = f"{FINDINGS[which]} is '{row.values[which]}', expected 1.0, 0.0, -1.0 or empty"
        problems.add("bad_label", path, reason)
        return None
    return folder.entry(path, labels)  # type: ignore[arg-type]


@lru_cache(maxsize=4096)
def _labels(values: tuple[str, ...]) -> tuple[int | None, ...]:
    """Of the five findings; see `_label`. Few combinations are different, and the list is long."""
    return tuple(_label(finding, value) for finding, value in zip(FINDINGS, values, strict=True))


def _label(finding: str, text: str) -> int | None:
    """1 or 0, or None where the list says neither of 1.0 (there), 0.0 (not there), -1.0 (uncertain), or nothing."""
    text = text.strip()
    if not text:
        return 0
    try:
        value = float(text)
    except ValueError:
        return None
    return {1.0: 1, 0.0: 0, -1.0: int(finding in UNCERTAIN_IS_ONE)}.get(value)


def _with_repeats(entries: list[Entry], times: int) -> Iterator[Entry]:
    """Images with a rare finding are repeated `times` more times."""
    rare = [FINDINGS.index(finding) for finding in RARE]
    for entry in entries:
        yield entry
        assert isinstance(entry.label, tuple)
        if any(entry.label[column] for column in rare):
            for time in range(times):
                yield entry._replace(id=f"{entry.id}#{time + 2}")
