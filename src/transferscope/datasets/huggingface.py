"""Any image data set in the format of the library `datasets`: by its name on the hub, or on disk."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from transferscope.data.base import Description, ImageData
from transferscope.data.image_list import Entry, Label, Listing, file_fingerprint
from transferscope.data.problems import Problems
from transferscope.errors import BadInput, did_you_mean
from transferscope.options import FileOptions

if TYPE_CHECKING:
    import numpy as np

VERSION = 1
TEXT_KEY = "name"

TEST_SPLITS = ("test", "validation", "valid", "val")
"""Where no split is named for testing: the first of these that there is."""


class Options(FileOptions):
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
    """At most so many training images, drawn at random; all by default."""
    max_test_size: int | None = Field(default=None, ge=2)
    """At most so many test images, drawn at random; all by default."""
    seed: int = Field(default=0, ge=0)
    """Which images are drawn, and in which order they come."""


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
    from transferscope.data.load_list import load_list

    listing, splits = _list(options)
    decode = partial(_decode, splits=splits, options=options, inside=_cache_and_root(options))
    return load_list(listing, decode, options.image_size_px, options, Path(options.name))


def _list(options: Options) -> tuple[Listing, dict[str, Any]]:
    """The images, and the library's data sets of train and test with one column `image` of bytes."""
    import numpy as np

    found = _open(options)
    names = {"train": options.train_split, "test": options.test_split or _test_split(found)}
    for name in names.values():
        if name not in found:
            raise BadInput(f"{options.name} has no split '{name}'.{did_you_mean(name, found)}")
    image = _image_column(options, found[names["train"]].features)
    label = _label_column(options, found[names["train"]].features)
    labels = {split: list(found[name][label][:]) for split, name in names.items()}
    feature = found[names["train"]].features[label]
    problems = Problems()
    class_names, numbered, multi_label = _numbered(feature, labels, problems)
    entries = {}
    for split, maximum in (("train", options.max_train_size), ("test", options.max_test_size)):
        rows = np.random.Generator(np.random.PCG64(options.seed)).permutation(len(numbered[split]))[:maximum]
        entries[split] = tuple(
            Entry(f"{split}/{row}", f"{split}/{row}", known, 0, 0)
            for row in rows.tolist()
            if (known := numbered[split][row]) is not None
        )
    listing = Listing(class_names=class_names, **entries, problems=problems, multi_label=multi_label)
    problems.settle(options.on_bad, options.name)
    listing.check(Path(options.name))
    splits = {}
    for split, name in names.items():
        undecoded = type(found[name].features[image])(decode=False)
        splits[split] = found[name].select_columns([image]).cast_column(image, undecoded)
        splits[split] = splits[split].rename_column(image, "image") if image != "image" else splits[split]
    return listing, splits


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
    if (where / "state.json").is_file():
        raise BadInput(
            f"{options.name} holds a single data set; expected one with splits to train and to test on. Divide it "
            "with the library's train_test_split, and save what that gives with save_to_disk."
        )
    try:
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
        f"no split to test on; there are: {', '.join(found)}. Give test_split, or divide "
        "one with the library's train_test_split and save_to_disk."
    )


def _image_column(options: Options, features: Any) -> str:
    import datasets

    return _column(
        "image_column", options.image_column, features, lambda one: isinstance(one, datasets.Image), "image"
    )


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


def _numbered(
    feature: Any, labels: dict[str, list[Any]], problems: Problems
) -> tuple[tuple[str, ...], dict[str, Sequence[Label | None]], bool]:
    """Names of the classes, and each image's label; None, and noted, where it can't be."""
    import datasets

    inner = getattr(feature, "feature", None)
    multi_label = isinstance(inner, datasets.ClassLabel)
    if isinstance(feature, datasets.ClassLabel) or multi_label:
        names = tuple((inner if multi_label else feature).names)
        known: dict[Any, int] = {number: number for number in range(len(names))}
    else:
        values = {one for one in labels["train"] if isinstance(one, int | str)}
        if not values:
            raise BadInput(
                f"label_column: its labels are {feature}; expected ClassLabel, whole numbers or text, or for several "
                "findings lists of ClassLabel. Convert it with the library's cast_column or map, and save_to_disk."
            )
        ordered = sorted(values, key=lambda one: (isinstance(one, str), one))
        names, known = tuple(map(str, ordered)), {one: number for number, one in enumerate(ordered)}
    numbered: dict[str, Sequence[Label | None]] = {}
    for split, found in labels.items():
        result: list[Label | None] = []
        for row, one in enumerate(found):
            several = one if multi_label and isinstance(one, list) else [one]
            good = all(isinstance(part, int | str) and part in known for part in several)
            if not good:
                problems.add(
                    "bad_label", f"{split}/{row}", f"{one!r}"[:60] + f", expected one of {len(names)} classes"
                )
                result.append(None)
            elif multi_label:
                there = {known[part] for part in several}
                result.append(tuple(int(number in there) for number in range(len(names))))
            else:
                result.append(known[one])
        numbered[split] = result
    return names, numbered, multi_label


def _decode(key: str, splits: dict[str, Any], options: Options, inside: tuple[str, ...]) -> np.ndarray:
    """The pixels of an image: its bytes are in the row, or in a file that the row names."""
    from transferscope.data.decode import decode_bytes

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
    return decode_bytes(content, path, options.image_size_px, options.resize)


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
