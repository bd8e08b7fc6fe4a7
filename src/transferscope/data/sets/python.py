"""Any map-style data set in Python, such as a torch Dataset, by its import path."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from transferscope.core.class_order import new_numbers
from transferscope.core.datasets import Description, ImageData, ImageSplit
from transferscope.core.errors import BadInput
from transferscope.core.fingerprint import sources_fingerprint
from transferscope.core.options import SeveralLabels, later_option, with_current_directory
from transferscope.data.files.opened_files import built, contents_fingerprint
from transferscope.data.files.problems import Problems
from transferscope.data.files.python_items import ItemPixels, first_label, item_of
from transferscope.data.files.python_labels import (
    SPLITS,
    BadLabel,
    Labelling,
    is_vector,
    listed_labels,
    numbering,
    plain_label,
)

if TYPE_CHECKING:
    import numpy as np

VERSION = 2
TEXT_KEY = "factory"
VARYING_TRIED = 2
"""Images of each split that are read twice more, to see whether they are the same each time."""


class Options(SeveralLabels):
    """The options of a data set in Python. The code that is named is run."""

    dataset: Literal["python"] = "python"
    """Name of the data set."""
    factory: str = Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
    """package.module:factory. The factory is called with split="train" and split="test" and gives a data set for
    each, or, where it knows no such argument, is called once and gives the two. A data set has a length, and at
    each number an image and its label, or a dict of an `image` and a `label`. An image is a PIL image, or an array
    or a tensor of uint8 or of floats from 0 to 1; a label is a class's number, or 0 and 1 for each label."""
    folder: Path | None = None
    """A folder to import from, besides the current one and those that Python knows."""
    class_names: tuple[str, ...] | None = None
    """Names of the classes or labels, by their numbers in training; by default the training data set's
    `class_to_idx` or `classes` (also of a data set within it, as in torch's Subset), or else numbers, for which it
    needs `targets` or `labels`. Where the test data set has such names too, its labels go by name."""
    image_size_px: int = Field(default=224, ge=8, le=1024)
    """Side of the square images; images of this size are taken as they are."""
    resize: Literal["crop", "pad", "stretch", "evaluation"] = "crop"
    """As in the data set `imagefolder`."""
    max_train_size: int | None = Field(default=None, ge=2)
    """Maximum number of training images, chosen at random; default: all."""
    max_test_size: int | None = Field(default=None, ge=2)
    """Maximum number of test images, chosen at random; default: all."""
    seed: int = Field(default=0, ge=0)
    """Seed of the selection and of the order of the images."""
    grey_range: tuple[float, float] | None = later_option()
    """The values that become black and white in PIL images of the modes I;16, I and F. By default the whole range
    that fits the training images (F: 1, 255 or 65535; I: 255 or 65535; I;16: 65535), or their lowest and highest
    value where they use only a small part of it."""
    data_version: str = ""
    """Change it when the data change and no file does that the code reads while the data set is built, such as with a
    database or an address on the web. Where it is set, `run` doesn't compare the labels with the stored ones."""


def describe(options: Options) -> Description:
    """What the data sets say of themselves; the type of labels is seen from the first one.

    Raises:
        BadInput: the code can't be imported or fails, or gives no data sets.
    """
    about, read = built(options.factory, lambda: _described(options))
    sources = sources_fingerprint(options.factory.partition(":")[0])
    of_files = contents_fingerprint(read)
    both = hashlib.sha256(f"{sources} {of_files}".encode()).hexdigest() if of_files else sources
    return replace(about, fingerprint=both)


def _described(options: Options) -> Description:
    splits = _splits(options)
    sizes = {"train": options.max_train_size, "test": options.max_test_size}
    counts = {name: min(len(splits[name]), sizes[name] or sys.maxsize) for name in SPLITS}
    names, kept, _ = numbering(options, options.class_names, splits, _where(options))
    multi_label = is_vector(first_label(splits["train"], _where(options)))
    if options.leave_out_labels and not multi_label:
        raise BadInput(
            "leave_out_labels: each image has one class; the option is for several labels an image."
        )
    return Description(
        class_names=tuple(names[column] for column in kept),
        image_size_px=options.image_size_px,
        multi_label=multi_label,
        num_train=counts["train"],
        num_test=counts["test"],
    )


def load(options: Options) -> ImageData:
    """All images, in random order, one after the other; ids are numbers in the data set, as in "train/12".

    Raises:
        BadInput: as `describe`, or there are items that can't be used; see `FileOptions.on_bad`.
    """
    import torch

    from transferscope.data.files.grey_levels import GreyLevels
    from transferscope.data.files.load_list import clean_up
    from transferscope.data.files.squares import Originals

    splits = _splits(options)
    about = describe(options)
    labelling = Labelling(
        options, options.class_names, splits, _where(options), multi_label=about.multi_label
    )
    problems = Problems()
    levels, originals = GreyLevels(options.grey_range), Originals(options.image_size_px, options.resize)
    rows = {
        "train": _drawn(len(splits["train"]), options.max_train_size, options.seed),
        "test": _drawn(len(splits["test"]), options.max_test_size, options.seed),
    }
    reader = ItemPixels(levels, originals, splits["train"], rows["train"])
    made = {}
    num_relabelled = 0
    for name in SPLITS:
        images = new_images(len(rows[name]), options.image_size_px)
        beside = None if about.multi_label else listed_labels(splits[name])
        labels: list[Any] = []
        ids: list[str] = []
        for row in rows[name]:
            where = f"{name}/{row}"
            try:
                image, label = item_of(splits[name], row)
                images[len(ids)] = reader.pixels(image)
            except Exception as error:  # the user's code may raise anything
                problems.add("undecodable", where, f"{type(error).__name__}: {error}"[:300])
                continue
            try:
                labels.append(labelling.number(label, name, row))
            except BadLabel as bad:
                problems.add(bad.kind, where, bad.reason)
                continue
            ids.append(where)
            given = None if beside is None else beside[row]
            num_relabelled += isinstance(given, int) and given != plain_label(label)
        dtype = torch.float32 if about.multi_label else torch.int64
        made[name] = ImageSplit(
            images=torch.from_numpy(images[: len(ids)]),
            labels=torch.tensor(labels, dtype=dtype),
            ids=tuple(ids),
        )
    data = ImageData(
        **made,
        shown=(*originals.notes(), *levels.notes()),
        notes=(
            *originals.warnings(),
            *levels.warnings(),
            *labelling.notes(),
            *_relabelled(num_relabelled),
            *_varying(splits, rows),
        ),
    )
    return clean_up(data, options, Path(options.factory), problems, about.class_names)


def _varying(splits: Mapping[str, Any], rows: Mapping[str, Sequence[int]]) -> list[str]:
    """A note if images differ from one reading to the next, as random augmentation makes them."""
    import numpy as np

    for name in SPLITS:
        for row in rows[name][:VARYING_TRIED]:
            try:
                once, again = (np.asarray(item_of(splits[name], row)[0]) for _ in range(2))
            except Exception:  # counted where all are read
                continue
            if once.shape != again.shape or once.tobytes() != again.tobytes():
                return [
                    f"{name}/{row} is another image each time it is read, as with random augmentation: one reading is "
                    "kept as the image. Give the data set without random transforms; `training.augmentation` adds them"
                ]
    return []


def _relabelled(count: int) -> list[str]:
    if not count:
        return []
    return [
        f"{count:,} labels differ from those that the data set lists in `targets` or `labels`, as a target_transform "
        "makes them: those of the items are taken. Check that the names of the classes fit them"
    ]


def _drawn(count: int, maximum: int | None, seed: int) -> list[int]:
    import numpy as np

    return np.random.Generator(np.random.PCG64(seed)).permutation(count)[:maximum].tolist()


def changed_labels(options: Options, stored: Mapping[str, Mapping[str, Any]]) -> str:
    """Compare the labels that the data sets give now with those of a stored result.

    What the fingerprint doesn't cover, such as a database, may have changed. Where `data_version` is set, that says
    which data these are, and nothing is read.

    Args:
        options: the data set.
        stored: split -> id -> label, as plain numbers.

    Returns:
        What changed, in words; empty if nothing did.
    """
    if options.data_version:
        return ""
    about, splits = _described(options), _splits(options)
    labelling = Labelling(
        options, options.class_names, splits, _where(options), multi_label=about.multi_label
    )
    stated = None if options.classes is None else new_numbers(labelling.kept_names, options.classes)
    changed, count = "", 0
    for name, split in splits.items():
        listed = listed_labels(split)
        for id_, label in stored[name].items():
            row = int(id_.partition("/")[2])
            now: Any = None
            if listed is not None:
                now = _label_now(lambda listed=listed, row=row: listed[row], labelling, name, row, stated)
            if now != label:  # the items' labels may differ from the list, as by a target_transform
                now = _label_now(
                    lambda split=split, row=row: item_of(split, row)[1], labelling, name, row, stated
                )
            if now != label:
                changed = changed or f"{id_} was {label} and is {now}"
                count += 1
    labels = "label differs" if count == 1 else "labels differ"
    return f"{count:,} {labels} from those of the stored results ({changed})" if count else ""


def _label_now(
    read: Callable[[], Any], labelling: Labelling, split: str, row: int, stated: list[int] | None
) -> Any:
    """A label as it would be stored, or in words why there is none."""
    try:
        now = labelling.number(read(), split, row)
        return now if stated is None else _in_stated_order(now, stated)
    except BadLabel as bad:
        return f"{bad.kind} {bad.reason}"
    except Exception as error:  # the user's code may raise anything
        return f"{type(error).__name__}: {error}"


def _in_stated_order(label: int | list[float], numbers: list[int]) -> int | list[float]:
    if isinstance(label, int):
        return numbers[label]
    return [label[numbers.index(place)] for place in range(len(numbers))]


def _where(options: Options) -> str:
    return f"factory {options.factory}"


def _splits(options: Options) -> dict[str, Any]:
    """The data sets by split."""
    module_name, _, attribute = options.factory.partition(":")
    try:
        with_current_directory()
        if options.folder is not None and (place := str(options.folder.resolve())) not in sys.path:
            sys.path.insert(0, place)  # for good: the code may import more when it is called
            importlib.invalidate_caches()
        found: Any = importlib.import_module(module_name)
        made = _called(getattr(found, attribute))
        sizes = [len(one) for one in made]
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        raise BadInput(
            f"factory {options.factory}: {type(error).__name__}: {error}. Expected package.module:factory, called with "
            'split="train" and split="test", or without arguments and giving two data sets. `folder` adds a folder '
            "to import from."
        ) from None
    if len(made) != 2 or not all(sizes):
        raise BadInput(
            f"factory {options.factory} gives {len(made)} data sets of {sizes[:4]} images; expected two, "
            "train and test, each with images."
        )
    return dict(zip(SPLITS, made, strict=True))


def _called(factory: Callable[..., Any]) -> tuple[Any, ...]:
    parameters = inspect.signature(factory).parameters.values()
    knows_split = any(one.name == "split" or one.kind is one.VAR_KEYWORD for one in parameters)
    if knows_split:
        return tuple(factory(split=name) for name in SPLITS)
    made = factory()
    if isinstance(made, Mapping) and set(SPLITS) <= set(made):
        return tuple(made[name] for name in SPLITS)
    if not isinstance(made, tuple | list):  # one data set would be taken apart image by image
        raise TypeError(f"called without arguments it gives one {type(made).__name__}, and no pair")
    return tuple(made)


def new_images(count: int, side: int) -> np.ndarray:
    """(count, 3, side, side) uint8, to be filled."""
    from transferscope.data.files.spool import new_array

    return new_array((count, 3, side, side))
