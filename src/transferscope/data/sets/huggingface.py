"""Any image data set in the format of the library `datasets`: by its name on the hub, or on disk."""

from __future__ import annotations

import importlib
import io
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any, Literal

from pydantic import Field, field_validator

from transferscope.core.datasets import Description, ImageData
from transferscope.core.errors import BadInput, did_you_mean
from transferscope.core.options import SeveralLabels, later_option
from transferscope.data.files.file_heads import HEAD_BYTES, read_otherwise
from transferscope.data.files.image_list import Entry, Label, Listing, file_fingerprint
from transferscope.data.files.label_columns import chosen_labels
from transferscope.data.files.label_types import Numbered, number_labels
from transferscope.data.files.problems import Problems
from transferscope.data.files.split_share import divide, split_note

VERSION = 1
TEXT_KEY = "name"
MAX_HEADS = 64
"""Images of a split whose first bytes are looked at for the fingerprint."""

TEST_SPLITS = ("test", "validation", "valid", "val")
"""Where no split is named for testing: the first of these that there is."""


class Options(SeveralLabels):
    """The options of a data set in the format of the library `datasets` (pip install 'transferscope[huggingface]').

    No code of a data set is run. What is on the hub is fetched once into the library's cache; with
    HF_HUB_OFFLINE=1 nothing is fetched, and what isn't in the cache is an error.
    """

    dataset: Literal["huggingface"] = "huggingface"
    """Name of the data set."""
    name: str = Field(min_length=1)
    """Name on the hub, such as user/name, or a folder: of Parquet files, or what save_to_disk wrote."""
    config: str | None = None
    """Which of the data set's configurations, where it has several."""
    revision: str | None = None
    """Which version on the hub: a commit, a tag or a branch; the newest by default."""
    train_split: str = "train"
    """Name of the split to train on."""
    test_split: str | None = None
    """Name of the split to test on; by default test, or else validation."""
    image_column: str | None = None
    """Name of the column of images; by default the only one of that type."""
    label_column: str | None = None
    """Name of the column of labels; by default the only one of classes, or else the one named label."""
    image_size_px: int = Field(default=224, ge=8, le=1024)
    """Side of the square images."""
    resize: Literal["crop", "pad", "stretch", "evaluation"] = "crop"
    """As in the data set `imagefolder`."""
    max_train_size: int | None = Field(default=None, ge=2)
    """Maximum number of training images, chosen at random; default: all."""
    max_test_size: int | None = Field(default=None, ge=2)
    """Maximum number of test images, chosen at random; default: all."""
    seed: int = Field(default=0, ge=0)
    """Seed of the selection and of the order of the images."""
    test_share: float | None = later_option(gt=0, lt=1)
    """For data with one split alone: this share of each class of train_split is for testing; see
    `transferscope.data.files.split_share`."""
    split_seed: int | None = later_option(ge=0)
    """Seed of that split; default: 0."""
    group_column: str | None = later_option()
    """The column that names the patient or scene of an image. `test_share` puts all images of one into one split."""
    grey_range: tuple[float, float] | None = later_option()
    """As in the data set `imagefolder`."""

    @field_validator("name", mode="after")
    @classmethod
    def _home(cls, value: str) -> str:
        return os.path.expanduser(value)


def describe(options: Options) -> Description:
    """The classes are those of the label column's type, or else its different values in training.

    Raises:
        BadInput: the data set can't be had or used; see `FileOptions.on_bad`.
    """
    listing, splits = _list(options)
    return listing.description(options.image_size_px, fingerprint_=_fingerprint(options, splits))


def load(options: Options) -> ImageData:
    """Decode the images, in random order; ids are row numbers, as in "train/12".

    Raises:
        BadInput: as `describe`, or there are images that can't be used; see `FileOptions.on_bad`.
    """
    from transferscope.data.files.decode import SquareDecoder
    from transferscope.data.files.load_list import load_list

    listing, splits = _list(options)
    read = partial(_content, splits=splits, inside=_cache_and_root(options))
    decode = SquareDecoder(options.image_size_px, options.resize, options.grey_range, read)
    return load_list(listing, decode, options.image_size_px, options, Path(options.name))


def _list(options: Options) -> tuple[Listing, dict[str, Any]]:
    """The images, and the library's data sets of train and test with one column `image` of bytes."""
    import numpy as np

    found = _open(options)
    names = {"train": options.train_split}
    if options.test_share is None:
        names["test"] = options.test_split or _test_split(found)
    for name in names.values():
        if name not in found:
            raise BadInput(f"{options.name} has no split '{name}'.{did_you_mean(name, found)}")
    image = _image_column(options, found[names["train"]].features)
    label = _label_column(options, found[names["train"]].features)
    for name in names.values():
        if missing := [column for column in (image, label) if column not in found[name].features]:
            raise BadInput(f"{options.name}: the split '{name}' has no column '{missing[0]}', as train has.")
    labels = {split: list(found[name][label][:]) for split, name in names.items()}
    problems = Problems()
    numbered = number_labels(
        {split: found[name].features[label] for split, name in names.items()}, labels, problems
    )
    rows = {split: range(len(known)) for split, known in numbered.rows.items()}
    if options.test_share is not None:
        train, test = _divided(options, found[names["train"]], numbered.rows["train"])
        rows = {"train": train, "test": test}
    entries: dict[str, list[Entry]] = {}
    for split, maximum in (("train", options.max_train_size), ("test", options.max_test_size)):
        source = split if split in names else "train"
        order = np.random.Generator(np.random.PCG64(options.seed)).permutation(len(rows[split]))[:maximum]
        entries[split] = [
            Entry(f"{source}/{row}", f"{source}/{row}", known, 0, 0)
            for row in (rows[split][place] for place in order.tolist())
            if (known := numbered.rows[source][row]) is not None
        ]
    class_names = numbered.names
    if numbered.multi_label:
        class_names = chosen_labels(class_names, entries, options, problems)
    splits = {split: _undecoded(found[name], image) for split, name in names.items()}
    listing = Listing(
        class_names=class_names,
        train=tuple(entries["train"]),
        test=tuple(entries["test"]),
        problems=problems,
        multi_label=numbered.multi_label,
        notes=tuple(_notes(numbered)),
        division=_division(options),
        reading=" ".join(("labels-by-name" if numbered.by_name else "", *_marks(splits))).strip(),
    )
    problems.settle(options.on_bad, options.name)
    listing.check(Path(options.name))
    return listing, splits


def _divided(options: Options, rows: Any, labels: Sequence[Label | None]) -> tuple[list[int], list[int]]:
    """Rows for training and testing; rows without a usable label are a class of their own."""
    assert options.test_share is not None
    groups = list(map(str, range(len(labels))))
    if options.group_column is not None:
        if options.group_column not in rows.features:
            known = did_you_mean(options.group_column, rows.features)
            raise BadInput(f"group_column: there is no column '{options.group_column}'.{known}")
        groups = list(map(str, rows[options.group_column][:]))
    return divide(
        [-1 if one is None else one for one in labels], groups, options.test_share, options.split_seed or 0
    )


def _notes(numbered: Numbered) -> list[str]:
    notes = []
    if numbered.by_name:
        notes.append(
            "the test split numbers its classes otherwise than the training split: labels go by their names"
        )
    return notes


def _division(options: Options) -> str:
    """How the test images were chosen; empty if there is a split for them."""
    if options.test_share is None:
        return ""
    groups = "" if options.group_column is None else f"`group_column` {options.group_column}"
    of = f"each class of '{options.train_split}'"
    return split_note(options.test_share, options.split_seed or 0, of, groups)


def _undecoded(split: Any, image: str) -> Any:
    """The library's data set with one column `image` of bytes."""
    import datasets

    undecoded = split.select_columns([image]).cast_column(image, datasets.Image(decode=False))
    return undecoded.rename_column(image, "image") if image != "image" else undecoded


def _marks(splits: dict[str, Any]) -> list[str]:
    """See `read_otherwise`; of some images of each split, spread over it."""
    heads = []
    for split in splits.values():
        for row in range(0, len(split), len(split) // MAX_HEADS + 1):
            cell = split[row]["image"]
            if cell is not None and cell["bytes"] is not None:
                heads.append((cell["path"] or "", cell["bytes"][:HEAD_BYTES]))
    return read_otherwise(heads)


def _open(options: Options) -> Any:
    """The library's DatasetDict."""
    try:
        import datasets
    except ImportError:
        raise BadInput(
            "the data set 'huggingface' needs the library 'datasets': pip install 'transferscope[huggingface]'."
        ) from None
    where = Path(options.name)
    datasets.disable_progress_bars()
    single = (where / "state.json").is_file()
    if single and options.test_share is None:
        raise BadInput(
            f"{options.name} holds a single data set; expected one with splits to train and to test on. "
            "`test_share: 0.2` divides it; or use the library's train_test_split, and save what that gives with "
            "save_to_disk."
        )
    try:
        if single:
            return {options.train_split: datasets.load_from_disk(options.name)}
        if (where / "dataset_dict.json").is_file():
            return datasets.load_from_disk(options.name)
        return datasets.load_dataset(options.name, options.config, revision=options.revision)
    except Exception as error:  # the library and those below it raise nearly any kind
        reason = " ".join(str(error).split())[:400]
        kind = f"the folder {options.name}" if where.exists() else f"'{options.name}', no folder here,"
        raise BadInput(
            f"{kind} can't be opened as a data set ({type(error).__name__}: {reason}). Give a folder, or a name on "
            "the hub; without a network, one that is in the library's cache already."
        ) from None


def _test_split(found: Any) -> str:
    for name in TEST_SPLITS:
        if name in found:
            return name
    raise BadInput(
        f"no split to test on; there are: {', '.join(found)}. Give test_split, or `test_share: 0.2` to take a fifth "
        "of each class of the training split."
    )


def _image_column(options: Options, features: Any) -> str:
    import datasets

    of_bytes = [name for name, feature in features.items() if _holds_files(feature)]
    if not any(isinstance(feature, datasets.Image) for feature in features.values()) and of_bytes:
        return _column("image_column", options.image_column, features, _holds_files, "image")
    return _column(
        "image_column", options.image_column, features, lambda one: isinstance(one, datasets.Image), "image"
    )


def _holds_files(feature: Any) -> bool:
    """True for a column of the bytes of image files, as pandas writes them: alone, or with a path."""
    content = feature.get("bytes") if isinstance(feature, dict) else feature
    return getattr(content, "dtype", None) in ("binary", "large_binary")


def _label_column(options: Options, features: Any) -> str:
    import datasets

    def is_class(feature: Any) -> bool:
        return isinstance(getattr(feature, "feature", feature), datasets.ClassLabel)

    if options.label_column is None and not any(map(is_class, features.values())) and "label" in features:
        return "label"
    return _column("label_column", options.label_column, features, is_class, "label", any_type=True)


def _column(
    option: str, given: str | None, features: Any, fits: Any, usual: str, *, any_type: bool = False
) -> str:
    """The name of a column: the given one, the only one that fits, or of several the one with the usual name."""
    fitting = [name for name, feature in features.items() if fits(feature)]
    if given is not None:
        if given not in features:
            raise BadInput(f"{option}: there is no column '{given}'.{did_you_mean(given, features)}")
        if given not in fitting and not any_type:
            raise BadInput(
                f"{option}: '{given}' is {features[given]}. Fitting: {', '.join(fitting) or 'none'}."
            )
        return given
    if len(fitting) == 1 or usual in fitting:
        return usual if usual in fitting else fitting[0]
    columns = ", ".join(f"{name} ({type(feature).__name__})" for name, feature in features.items())
    raise BadInput(f"{len(fitting)} columns fit {option}: give its name. There are: {columns}.")


def _content(key: str, splits: dict[str, Any], inside: tuple[str, ...]) -> IO[bytes]:
    """The file of an image: its bytes are in the row, or in a file that the row names."""
    split, _, row = key.partition("/")
    cell = splits[split][int(row)]["image"]
    if cell is None:
        raise ValueError("there is none in the row")
    content, path = cell["bytes"], cell["path"] or ""
    if content is None:
        real = os.path.realpath(path)
        if not real.startswith(inside):
            raise ValueError(f"the row names a file out of the data set: {path}")
        content = Path(real).read_bytes()
    return io.BytesIO(content)


def _cache_and_root(options: Options) -> tuple[str, ...]:
    """Where files of images may be: in the library's cache, and in the data set's own folder."""
    config = importlib.import_module("datasets.config")
    places = [str(config.HF_CACHE_HOME), str(config.HF_DATASETS_CACHE)]
    if Path(options.name).exists():
        places.append(options.name)
    return tuple(os.path.join(os.path.realpath(place), "") for place in places)


def _fingerprint(options: Options, splits: dict[str, Any]) -> str:
    """Of the files on disk; of what is on the hub, the names of the files in the cache, which hold their version."""
    folder = Path(options.name)
    if folder.exists():
        files = (
            [path for path in sorted(folder.rglob("*")) if path.is_file()] if folder.is_dir() else [folder]
        )
        return file_fingerprint(files)
    cached = sorted(
        "/".join(Path(one["filename"]).parts[-4:]) for split in splits.values() for one in split.cache_files
    )
    return " ".join(cached)
