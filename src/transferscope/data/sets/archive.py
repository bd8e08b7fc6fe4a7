"""Images in tar or zip archives: folders of classes, or shards as webdataset writes them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import IO, Any, Literal

from pydantic import Field, field_validator, model_validator

from transferscope.core.datasets import Description, ImageData
from transferscope.core.errors import BadInput, is_text
from transferscope.core.options import FileOptions
from transferscope.data.files.archive_labels import ArchiveImage, labelled_images
from transferscope.data.files.archive_members import Archives, Member, archives_of, members_of
from transferscope.data.files.folder_options import one_group
from transferscope.data.files.image_list import Entry, Listing, file_fingerprint
from transferscope.data.files.problems import Problems
from transferscope.data.files.random_order import in_random_order
from transferscope.data.files.split_share import DEFAULT_SHARE, Share, divide, split_note
from transferscope.data.files.stored_size import refuse_stored_size
from transferscope.data.files.table_labels import BadCell, classes_of

VERSION = 1
TEXT_KEY = "path"


class Options(FileOptions):
    """The options of images in archives."""

    dataset: Literal["archive"] = "archive"
    """Name of the data set."""
    path: str = Field(min_length=1)
    """A .zip file, or a .tar file without compression, or several: "shards/train-*.tar", "train-{000..009}.tar"."""
    test_path: str | None = None
    """The archives of the test images, if they have archives of their own."""
    label_key: str = "label"
    """The key of the label in .json files beside the images."""
    test_share: Share | None = None
    """The share of each class that is for testing. Default: a fifth if neither test_path nor folders named train and
    test divide the images; see `transferscope.data.files.split_share`. all: as in the data set `imagefolder`."""
    split_seed: int = Field(default=0, ge=0)
    """Seed of that split."""
    group_pattern: str | None = None
    """As in the data set `imagefolder`."""
    image_size_px: int = Field(default=224, ge=8, le=1024)
    """Side of the square images."""
    channels: int = Field(default=3, ge=1, le=64)
    """As in the data set `imagefolder`."""
    resize: Literal["crop", "pad", "stretch", "evaluation"] = "crop"
    """As in the data set `imagefolder`."""
    stored_size_px: int | None = Field(default=None, ge=16, le=2048)
    """Side at which training images are stored besides, a multiple of image_size_px: augmentation then takes its crops
    from images of this side, so that a crop has details of its own. Default: crops are taken from images of
    image_size_px and enlarged."""
    max_train_size: int | None = Field(default=None, ge=2)
    """Maximum number of training images, chosen at random; default: all."""
    max_test_size: int | None = Field(default=None, ge=2)
    """Maximum number of test images, chosen at random; default: all."""
    seed: int = Field(default=0, ge=0)
    """Seed of the selection and of the order of the images."""
    grey_range: tuple[float, float] | None = None
    """As in the data set `imagefolder`."""

    @field_validator("group_pattern", mode="after")
    @classmethod
    def _one_group(cls, value: Any) -> Any:
        return one_group(value)

    @model_validator(mode="after")
    def _stored_size(self) -> Options:
        refuse_stored_size(self.stored_size_px, self.image_size_px)
        return self


def describe(options: Options) -> Description:
    """The classes are the folders, or the labels of the training images.

    Raises:
        BadInput: the archives can't be read or used; see `FileOptions.on_bad`.
    """
    listing, _, paths = _list(options)
    listing.problems.settle(options.on_bad, options.path)
    listing.check(Path(options.path))
    return listing.description(options.image_size_px, options.channels, file_fingerprint(paths))


def load(options: Options) -> ImageData:
    """Decode the images, in random order; ids are paths in the archives, behind the archive's name if it has several.

    Raises:
        BadInput: as `describe`, or there are images that can't be used; see `FileOptions.on_bad`.
    """
    from transferscope.data.files.decode import SquareDecoder
    from transferscope.data.files.load_list import load_list

    listing, members, _ = _list(options)
    archives = Archives()

    def read(key: str) -> IO[bytes]:
        return archives.read(members[int(key)])

    decode = SquareDecoder(options.image_size_px, options.resize, options.grey_range, read, options.channels)
    where = Path(options.path)
    return load_list(
        listing, decode, options.image_size_px, options, where, options.channels, options.stored_size_px
    )


def _list(options: Options) -> tuple[Listing, list[Member], list[Path]]:
    paths = {"train": archives_of(options.path, "path")}
    if options.test_path is not None:
        paths["test"] = archives_of(options.test_path, "test_path")
    images: list[ArchiveImage] = []
    split: list[str | None] = []
    notes: list[str] = []
    for name, archives in paths.items():
        found, said = labelled_images(members_of(archives), options.label_key)
        images += found
        split += [name] * len(found) if "test" in paths else [one.split for one in found]
        notes += said
    several = sum(map(len, paths.values())) > 1
    ids = [
        f"{Path(one.member.archive).name}/{one.member.name}" if several else one.member.name for one in images
    ]
    split, division = _divided(options, images, ids, split)
    labels = classes_of([one.label for one in images], [one != "test" for one in split], "of the archives")
    problems = Problems()
    entries: dict[str, list[Entry]] = {"train": [], "test": []}
    for row, (id_, label, part) in enumerate(zip(ids, labels.rows, split, strict=True)):
        if not is_text(id_):
            problems.add("bad_name", repr(id_)[1:-1])
        elif isinstance(label, BadCell):
            problems.add(label.kind, id_, label.reason)
        elif part is not None:
            for name in entries if part == "both" else (part,):
                entries[name].append(Entry(str(row), id_, label, 0, 0))
    sizes = {"train": options.max_train_size, "test": options.max_test_size}
    chosen = {name: in_random_order(entries[name], options.seed, sizes[name]) for name in entries}
    listing = Listing(
        class_names=labels.names,
        train=tuple(chosen["train"]),
        test=tuple(chosen["test"]),
        problems=problems,
        notes=tuple(notes),
        division=division,
    )
    return listing, [one.member for one in images], [Path(path) for one in paths.values() for path in one]


def _divided(
    options: Options, images: list[ArchiveImage], ids: list[str], split: list[str | None]
) -> tuple[list[str | None], str]:
    """The split of each image, stated or by share; and how the share was chosen."""
    stated = {one for one in split if one is not None}
    if stated and options.test_share is not None:
        raise BadInput(
            "test_share: the archives have a split of their own. Leave test_share out, or give archives without it."
        )
    if stated:
        if stated != {"train", "test"} or None in split:
            there = ", ".join(sorted(stated))
            raise BadInput(
                f"path: of folders named train and test, the archives have {there}, and "
                f"{sum(one is None for one in split):,} images elsewhere. Expected <train>/<class>/<image> and "
                "<test>/<class>/<image>, or <class>/<image>, or files .cls or .json beside the images."
            )
        return split, ""
    share = DEFAULT_SHARE if options.test_share is None else options.test_share
    pattern = options.group_pattern
    matches = [re.search(pattern, id_) if pattern is not None else None for id_ in ids]
    groups = [id_ if match is None else match[1] for id_, match in zip(ids, matches, strict=True)]
    train, test = map(set, divide([one.label for one in images], groups, share, options.split_seed))
    note = split_note(
        share, options.split_seed, "each class", f"`group_pattern` {pattern}" if pattern else ""
    )
    split = ["both" if row in train & test else "test" if row in test else "train" for row in range(len(ids))]
    return split, note
