"""Any map-style data set in Python, such as a torch Dataset, by its import path."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from transferscope.data.base import Description, ImageData, ImageSplit
from transferscope.data.opened_files import built, contents_fingerprint
from transferscope.data.problems import Problems
from transferscope.errors import BadInput
from transferscope.fingerprint import sources_fingerprint
from transferscope.options import FileOptions

if TYPE_CHECKING:
    import numpy as np

VERSION = 1
TEXT_KEY = "factory"

SPLITS = ("train", "test")
IMAGE_KEYS = ("image", "img", "pixel_values", "x")
LABEL_KEYS = ("label", "labels", "target", "y")
"""Where an item is a dict: what its image and its label may be called."""
MAX_TRIES = 10
"""So many images are tried to see what labels are like."""
SHAPE_HINT = (
    "an image is a PIL image, or an array or a tensor (h, w), (h, w, 1 or 3) or (1 or 3, h, w), of uint8 or of "
    "floats from 0 to 1"
)


class Options(FileOptions):
    """The options of a data set in Python. The code that is named is run."""

    dataset: Literal["python"] = "python"
    """Name of the data set."""
    factory: str = Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
    """package.module:factory. The factory is called with split="train" and split="test" and gives a data set for
    each, or, where it knows no such argument, is called once and gives the two. A data set has a length, and at
    each number an image and its label, or a dict of an `image` and a `label`. An image is a PIL image, or an array
    or a tensor of uint8 or of floats from 0 to 1; a label is a class's number, or 0 and 1 for each finding."""
    folder: Path | None = None
    """A folder to import from, besides those that Python knows."""
    class_names: tuple[str, ...] | None = None
    """Names of the classes or findings; by default the data set's `classes`, or else numbers, for which the data
    set needs `targets` or `labels`."""
    image_size_px: int = Field(default=224, ge=8, le=1024)
    """Side of the square images; images of this size are taken as they are."""
    resize: Literal["crop", "pad", "stretch", "evaluation"] = "crop"
    """As in the data set `imagefolder`."""
    max_train_size: int | None = Field(default=None, ge=2)
    """At most so many training images, drawn at random; all by default."""
    max_test_size: int | None = Field(default=None, ge=2)
    """At most so many test images, drawn at random; all by default."""
    seed: int = Field(default=0, ge=0)
    """Which images are drawn, and in which order they come."""
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
    return Description(
        class_names=_class_names(options, splits["train"]),
        image_size_px=options.image_size_px,
        multi_label=_is_vector(_first_label(options, splits["train"])),
        num_train=counts["train"],
        num_test=counts["test"],
    )


def load(options: Options) -> ImageData:
    """All images, in random order, one after the other; ids are numbers in the data set, as in "train/12".

    Raises:
        BadInput: as `describe`, or there are items that can't be used; see `FileOptions.on_bad`.
    """
    import numpy as np
    import torch

    from transferscope.data.load_list import clean_up

    splits = _splits(options)
    about = describe(options)
    problems = Problems()
    made = {}
    for name, maximum in (("train", options.max_train_size), ("test", options.max_test_size)):
        rows = np.random.Generator(np.random.PCG64(options.seed)).permutation(len(splits[name]))[:maximum]
        images = np.empty((len(rows), 3, options.image_size_px, options.image_size_px), dtype=np.uint8)
        labels: list[Any] = []
        ids: list[str] = []
        for row in rows.tolist():
            try:
                image, label = _item(splits[name], row)
                images[len(ids)] = _pixels(image, options)
            except Exception as error:  # the user's code may raise anything
                problems.add("undecodable", f"{name}/{row}", f"{type(error).__name__}: {error}"[:200])
                continue
            plain = _plain_label(label, about.num_classes, multi_label=about.multi_label)
            if plain is None:
                expected = _expected_label(label, about.num_classes, multi_label=about.multi_label)
                problems.add("bad_label", f"{name}/{row}", f"{label!r}"[:60] + f", expected {expected}")
                continue
            labels.append(plain)
            ids.append(f"{name}/{row}")
        dtype = torch.float32 if about.multi_label else torch.int64
        made[name] = ImageSplit(
            images=torch.from_numpy(images[: len(ids)]),
            labels=torch.tensor(labels, dtype=dtype),
            ids=tuple(ids),
        )
    return clean_up(ImageData(**made), options, Path(options.factory), problems, about.class_names)


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
    about = _described(options)
    changed, count = "", 0
    for name, split in _splits(options).items():
        listed = _plain_list(getattr(split, "targets", None)) or _plain_list(getattr(split, "labels", None))
        for id_, label in stored[name].items():
            row = int(id_.partition("/")[2])
            if (
                listed is not None
                and len(listed) == len(split)
                and row < len(listed)
                and listed[row] == label
            ):
                continue
            try:
                now = _plain_label(_item(split, row)[1], about.num_classes, multi_label=about.multi_label)
            except Exception as error:  # the user's code may raise anything
                now = f"{type(error).__name__}: {error}"
            if now != label:
                changed = changed or f"{id_} was {label} and is {now}"
                count += 1
    labels = "label differs" if count == 1 else "labels differ"
    return f"{count:,} {labels} from those of the stored results ({changed})" if count else ""


def _splits(options: Options) -> dict[str, Any]:
    """The data sets by split."""
    module_name, _, attribute = options.factory.partition(":")
    try:
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


def _item(split: Any, row: int) -> tuple[Any, Any]:
    item = split[row]
    if isinstance(item, Mapping):
        images, labels = ([key for key in keys if key in item] for keys in (IMAGE_KEYS, LABEL_KEYS))
        if len(images) != 1 or len(labels) != 1:
            raise ValueError(
                f"a dict of {', '.join(map(repr, item))}; expected one of {', '.join(IMAGE_KEYS)} and one of "
                f"{', '.join(LABEL_KEYS)}"
            )
        return item[images[0]], item[labels[0]]
    if not isinstance(item, tuple | list) or len(item) != 2:
        came = f"{len(item)} values" if isinstance(item, tuple | list) else f"a {type(item).__name__}"
        raise ValueError(f"{came}; expected a pair of an image and its label, or a dict of the two")
    return item[0], item[1]


def _first_label(options: Options, split: Any) -> Any:
    """The label of the first image that can be had: of what type labels are."""
    reason = ""
    for row in range(min(len(split), MAX_TRIES)):
        try:
            return _item(split, row)[1]
        except Exception as error:  # the user's code may raise anything
            reason = f"{type(error).__name__}: {error}"
    raise BadInput(
        f"factory {options.factory}: none of the first {MAX_TRIES} images can be had ({reason}). Expected an image and "
        "its label at each number."
    )


def _class_names(options: Options, train: Any) -> tuple[str, ...]:
    names = options.class_names or getattr(train, "classes", None)
    if names is not None:
        return tuple(map(str, names))
    for attribute in ("targets", "labels"):
        largest = _largest(getattr(train, attribute, None))
        if largest is not None:
            return tuple(str(number) for number in range(largest + 1))
    if _is_vector(label := _first_label(options, train)):
        return tuple(str(number) for number in range(len(label)))
    raise BadInput(
        f"factory {options.factory}: how many classes are there? Give class_names, or let the data set have `classes`, "
        "`targets` or `labels`."
    )


def _plain_list(labels: Any) -> list[Any] | None:
    """A data set's list of labels as plain values; None if it has none."""
    plain = labels.tolist() if hasattr(labels, "tolist") else labels
    if not isinstance(plain, list | tuple) or not plain:
        return None
    return [one.item() if getattr(one, "shape", None) == () else one for one in plain]


def _largest(labels: Any) -> int | None:
    """The largest of a data set's labels; None if they are no numbers of classes."""
    numbers = _plain_list(labels)
    if numbers is None:
        return None
    whole = all(isinstance(one, int) and not isinstance(one, bool) for one in numbers)
    return max(numbers) if whole and max(numbers) >= 0 else None


def _is_vector(label: Any) -> bool:
    return len(getattr(label, "shape", ())) == 1 or isinstance(label, list | tuple)


def _plain_label(label: Any, num_classes: int, *, multi_label: bool) -> int | list[float] | None:
    """A label as plain numbers, or None where it can't be."""
    plain = label.tolist() if hasattr(label, "tolist") else label
    if multi_label:
        right = isinstance(plain, list | tuple) and len(plain) == num_classes
        return [float(one) for one in plain] if right and all(one in (0, 1) for one in plain) else None
    is_number = isinstance(plain, int) and not isinstance(plain, bool)
    return plain if is_number and 0 <= plain < num_classes else None


def _expected_label(label: Any, num_classes: int, *, multi_label: bool) -> str:
    if multi_label:
        alone = " or, for classes, the number itself" if len(label) == 1 else ""
        return f"{num_classes} of 0 and 1{alone}"
    plain = label.tolist() if hasattr(label, "tolist") else label
    return f"0 to {num_classes - 1}" + (", of the type int" if isinstance(plain, float | bool) else "")


def _pixels(image: Any, options: Options) -> np.ndarray:
    """(3, side, side) or (side, side), uint8."""
    import numpy as np
    from PIL import Image

    from transferscope.data.decode import square

    side = options.image_size_px
    if not isinstance(image, Image.Image):
        array = _as_uint8(np.asarray(image.detach().cpu() if hasattr(image, "detach") else image))
        if array.shape[:2] == (side, side):
            return array if array.ndim == 2 else array.transpose(2, 0, 1)
        image = Image.fromarray(array if array.ndim == 2 or array.shape[2] == 3 else array[:, :, 0])
    elif image.size == (side, side) and image.mode in ("L", "RGB"):
        array = np.asarray(image)
        return array if array.ndim == 2 else array.transpose(2, 0, 1)
    return square(image, side, options.resize).transpose(2, 0, 1)


def _as_uint8(array: np.ndarray) -> np.ndarray:
    """(h, w), (h, w, 1) or (h, w, 3), uint8."""
    import numpy as np

    if array.dtype.kind == "f":
        # a comparison with NaN is false
        if not ((array >= 0) & (array <= 1)).all():
            raise ValueError(
                f"floats from {array.min():g} to {array.max():g}; {SHAPE_HINT}: leave normalizing out, and divide "
                "what goes to 255"
            )
        array = np.rint(array.astype(np.float64) * 255).astype(np.uint8)
    if array.ndim == 3 and array.shape[2] not in (1, 3) and array.shape[0] in (1, 3):
        array = array.transpose(1, 2, 0)
    if array.dtype != np.uint8 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3))):
        raise ValueError(f"{array.dtype} of shape {array.shape}; {SHAPE_HINT}")
    return array
