"""Any map-style data set in Python, such as a torch Dataset, by its import path."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from transferscope.data.base import Description, ImageData, ImageSplit
from transferscope.data.class_order import listed, new_numbers, numbers_by_name, refuse_repeated
from transferscope.data.label_columns import is_missing, kept_columns
from transferscope.data.opened_files import built, contents_fingerprint
from transferscope.data.own_classes import Names, Stretch, all_names, class_stretches, refuse_unnamed
from transferscope.data.problems import Kind, Problems
from transferscope.errors import BadInput
from transferscope.fingerprint import sources_fingerprint
from transferscope.options import SeveralLabels, later_option, with_current_directory

if TYPE_CHECKING:
    import numpy as np

VERSION = 2
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


class Options(SeveralLabels):
    """The options of a data set in Python. The code that is named is run."""

    dataset: Literal["python"] = "python"
    """Name of the data set."""
    factory: str = Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
    """package.module:factory. The factory is called with split="train" and split="test" and gives a data set for
    each, or, where it knows no such argument, is called once and gives the two. A data set has a length, and at
    each number an image and its label, or a dict of an `image` and a `label`. An image is a PIL image, or an array
    or a tensor of uint8 or of floats from 0 to 1; a label is a class's number, or 0 and 1 for each finding."""
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
    """At most so many training images, drawn at random; all by default."""
    max_test_size: int | None = Field(default=None, ge=2)
    """At most so many test images, drawn at random; all by default."""
    seed: int = Field(default=0, ge=0)
    """Which images are drawn, and in which order they come."""
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
    names, kept, _ = _numbering(options, splits)
    multi_label = _is_vector(_first_label(options, splits["train"]))
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

    from transferscope.data.grey_levels import GreyLevels
    from transferscope.data.load_list import clean_up
    from transferscope.data.squares import Originals

    splits = _splits(options)
    about = describe(options)
    labelling = _Labelling(options, splits, multi_label=about.multi_label)
    problems = Problems()
    levels, originals = GreyLevels(options.grey_range), Originals(options.image_size_px, options.resize)
    rows = {
        "train": _drawn(len(splits["train"]), options.max_train_size, options.seed),
        "test": _drawn(len(splits["test"]), options.max_test_size, options.seed),
    }
    reader = _Reader(options, levels, originals, splits["train"], rows["train"])
    made = {}
    num_relabelled = 0
    for name in SPLITS:
        images = new_images(len(rows[name]), options.image_size_px)
        listed_labels = None if about.multi_label else _listed_labels(splits[name])
        labels: list[Any] = []
        ids: list[str] = []
        for row in rows[name]:
            where = f"{name}/{row}"
            try:
                image, label = _item(splits[name], row)
                images[len(ids)] = reader.pixels(image)
            except Exception as error:  # the user's code may raise anything
                problems.add("undecodable", where, f"{type(error).__name__}: {error}"[:300])
                continue
            try:
                labels.append(labelling.number(label, name, row))
            except _BadLabel as bad:
                problems.add(bad.kind, where, bad.reason)
                continue
            ids.append(where)
            given = None if listed_labels is None else listed_labels[row]
            num_relabelled += isinstance(given, int) and given != _plain(label)
        dtype = torch.float32 if about.multi_label else torch.int64
        made[name] = ImageSplit(
            images=torch.from_numpy(images[: len(ids)]),
            labels=torch.tensor(labels, dtype=dtype),
            ids=tuple(ids),
        )
    data = ImageData(
        **made,
        shown=(*originals.notes(), *levels.notes()),
        notes=(*originals.warnings(), *levels.warnings(), *labelling.notes(), *_relabelled(num_relabelled)),
    )
    return clean_up(data, options, Path(options.factory), problems, about.class_names)


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


Numbers = Callable[[int], Mapping[int, int | str] | None]
"""From a row to the number of each of its data set's classes, or the name of a class that train lacks; None: the same
numbers as in training."""


def _numbering(
    options: Options, splits: dict[str, Any]
) -> tuple[tuple[str, ...], list[int], dict[str, Numbers]]:
    """Names of the classes, which of the labels are kept, and how each split's numbers become the data set's.

    Raises:
        BadInput: the names of the splits can't be brought together.
    """
    stretches = {name: class_stretches(splits[name]) for name in SPLITS}
    own = {name: all_names(of_split) for name, of_split in stretches.items()}
    if own["train"] is None and options.class_names is None:
        refuse_unnamed(own["train"], own["test"], f"factory {options.factory}")
    by_name = own["train"] or options.class_names
    shown = _class_names(options, splits["train"], own["train"])
    if own["train"] is not None and len(shown) != len(own["train"]):
        raise BadInput(
            f"class_names: {len(shown)} names; the training data set has {len(own['train'])} classes: "
            f"{listed(own['train'])}. Give a name for each, in this order."
        )
    if own["train"] is None and own["test"] is not None and None in numbers_by_name(own["test"], shown):
        refuse_unnamed(None, own["test"], f"factory {options.factory}")
    refuse_repeated(shown, f"factory {options.factory}")
    return shown, kept_columns(shown, options), {name: _numbers(stretches[name], by_name) for name in SPLITS}


def _numbers(stretches: list[Stretch], names: Sequence[str] | None) -> Numbers:
    maps: dict[Names | None, Mapping[int, int | str] | None] = {None: None}
    for _, _, known in stretches:
        if known is not None and names is not None and known not in maps:
            new = numbers_by_name([name for _, name in known], names)
            numbered = zip(known, new, strict=True)
            maps[known] = {number: name if to is None else to for (number, name), to in numbered}
            if maps[known] == {number: number for number in range(len(names))}:
                maps[known] = None
    starts = [first for first, _, _ in stretches]
    return lambda row: maps[stretches[bisect_right(starts, row) - 1][2]] if names is not None else None


class _BadLabel(Exception):
    """A label that can't be used."""

    def __init__(self, kind: Kind, reason: str = "") -> None:
        super().__init__(kind, reason)
        self.kind: Kind = kind
        self.reason = reason


class _Labelling:
    """From the labels that the data sets give to those of the training data's numbers."""

    def __init__(self, options: Options, splits: dict[str, Any], *, multi_label: bool) -> None:
        self.names, self._kept, self._numbers = _numbering(options, splits)
        self._missing_is_absent = options.missing_labels == "absent"
        self._multi_label = multi_label
        self._num_missing = 0

    @property
    def kept_names(self) -> tuple[str, ...]:
        """The names of the labels that are not left out."""
        return tuple(self.names[column] for column in self._kept)

    def number(self, label: Any, split: str, row: int) -> int | list[float]:
        """The number of a class, or 0 and 1 for each label that is kept. Raises _BadLabel where it can't be used."""
        if self._multi_label and any(map(is_missing, values := _values(label))):
            if not self._missing_is_absent:
                raise _BadLabel("missing_label")
            self._num_missing += 1
            label = [0 if is_missing(one) else one for one in values]
        plain = _plain_label(label, len(self.names), multi_label=self._multi_label)
        if plain is None:
            expected = _expected_label(label, len(self.names), multi_label=self._multi_label)
            raise _BadLabel("bad_label", f"{label!r}"[:60] + f", expected {expected}")
        numbers = self._numbers[split](row)
        if isinstance(plain, list):
            ordered = plain if numbers is None else self._columns(plain, numbers)
            return [ordered[column] for column in self._kept]
        if numbers is None:
            return plain
        number = numbers.get(plain)
        if number is None:
            raise _BadLabel("bad_label", f"{plain}, which has no name among the data set's classes")
        if isinstance(number, str):
            raise _BadLabel("class_not_in_train", f"'{number}'")
        return number

    def notes(self) -> list[str]:
        """What was done about missing labels."""
        count = self._num_missing
        return [f"{count:,} images have missing labels, which count as absent"] if count else []

    def _columns(self, label: list[float], numbers: Mapping[int, int | str]) -> list[float]:
        if sorted(one for one in numbers.values() if isinstance(one, int)) != list(range(len(self.names))):
            raise _BadLabel("bad_label", "its data set has other labels than the training data set")
        ordered = [0.0] * len(self.names)
        for number, to in numbers.items():
            ordered[int(to)] = label[number]
        return ordered


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
    labelling = _Labelling(options, splits, multi_label=about.multi_label)
    stated = None if options.classes is None else new_numbers(labelling.kept_names, options.classes)
    changed, count = "", 0
    for name, split in splits.items():
        listed = _listed_labels(split)
        for id_, label in stored[name].items():
            row = int(id_.partition("/")[2])
            now: Any = None
            if listed is not None:
                now = _label_now(lambda listed=listed, row=row: listed[row], labelling, name, row, stated)
            if now != label:  # the items' labels may differ from the list, as by a target_transform
                now = _label_now(
                    lambda split=split, row=row: _item(split, row)[1], labelling, name, row, stated
                )
            if now != label:
                changed = changed or f"{id_} was {label} and is {now}"
                count += 1
    labels = "label differs" if count == 1 else "labels differ"
    return f"{count:,} {labels} from those of the stored results ({changed})" if count else ""


def _label_now(
    read: Callable[[], Any], labelling: _Labelling, split: str, row: int, stated: list[int] | None
) -> Any:
    """A label as it would be stored, or in words why there is none."""
    try:
        now = labelling.number(read(), split, row)
        return now if stated is None else _in_stated_order(now, stated)
    except _BadLabel as bad:
        return f"{bad.kind} {bad.reason}"
    except Exception as error:  # the user's code may raise anything
        return f"{type(error).__name__}: {error}"


def _listed_labels(split: Any) -> list[Any] | None:
    """The labels that a data set lists beside its items, one for each; None if it doesn't."""
    listed = _plain_list(getattr(split, "targets", None)) or _plain_list(getattr(split, "labels", None))
    return listed if listed is not None and len(listed) == len(split) else None


def _in_stated_order(label: int | list[float], numbers: list[int]) -> int | list[float]:
    if isinstance(label, int):
        return numbers[label]
    return [label[numbers.index(place)] for place in range(len(numbers))]


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


def _class_names(options: Options, train: Any, own: tuple[str, ...] | None) -> tuple[str, ...]:
    names = options.class_names or own
    if names is not None:
        return tuple(names)
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


def _plain(label: Any) -> Any:
    return label.item() if getattr(label, "shape", None) == () else label


def _plain_list(labels: Any) -> list[Any] | None:
    """A data set's list of labels as plain values; None if it has none."""
    plain = labels.tolist() if hasattr(labels, "tolist") else labels
    if not isinstance(plain, list | tuple) or not plain:
        return None
    return [_plain(one) for one in plain]


def _largest(labels: Any) -> int | None:
    """The largest of a data set's labels; None if they are no numbers of classes."""
    numbers = _plain_list(labels)
    if numbers is None:
        return None
    whole = all(isinstance(one, int) and not isinstance(one, bool) for one in numbers)
    return max(numbers) if whole and max(numbers) >= 0 else None


def _is_vector(label: Any) -> bool:
    return len(getattr(label, "shape", ())) == 1 or isinstance(label, list | tuple)


def _values(label: Any) -> list[Any]:
    """A vector of labels as a list."""
    plain = label.tolist() if hasattr(label, "tolist") else label
    plain = plain if isinstance(plain, list | tuple) else [plain]
    return [one.item() if hasattr(one, "item") else one for one in plain]


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


def new_images(count: int, side: int) -> np.ndarray:
    """(count, 3, side, side) uint8, to be filled."""
    from transferscope.data.spool import new_array

    return new_array((count, 3, side, side))


class _Reader:
    """Images to uint8 squares; grey values of more than 8 bits by the range of the training images."""

    def __init__(self, options: Options, levels: Any, originals: Any, train: Any, rows: list[int]) -> None:
        self._options, self._levels, self._originals = options, levels, originals
        self._train, self._rows = train, rows
        self._has_range = options.grey_range is not None

    def pixels(self, image: Any) -> np.ndarray:
        """(3, side, side) or (side, side), uint8."""
        import numpy as np
        from PIL import Image, ImageOps

        from transferscope.data.grey_levels import grey_kind
        from transferscope.data.squares import square, to_rgb

        side = self._options.image_size_px
        if not isinstance(image, Image.Image):
            array = _as_uint8(np.asarray(image.detach().cpu() if hasattr(image, "detach") else image))
            self._originals.sizes[array.shape[1], array.shape[0]] += 1
            self._originals.add_square(array)
            if array.shape[:2] == (side, side):
                return array if array.ndim == 2 else array.transpose(2, 0, 1)
            image = Image.fromarray(array if array.ndim == 2 or array.shape[2] == 3 else array[:, :, 0])
        else:
            self._originals.add(image)
            image = ImageOps.exif_transpose(image)
        if grey_kind(image) is not None and not self._has_range:
            self._look_at_training_images()
        rgb = to_rgb(image, self._levels)
        pixels = np.asarray(rgb) if rgb.size == (side, side) else square(rgb, side, self._options.resize)
        self._originals.add_square(pixels)
        return pixels.transpose(2, 0, 1)

    def _look_at_training_images(self) -> None:
        """Once, when the first image of more than 8 bits comes."""
        import numpy as np
        from PIL import Image

        from transferscope.data.grey_levels import grey_kind

        self._has_range = True
        for row in self._rows:
            try:
                image, _ = _item(self._train, row)
                if isinstance(image, Image.Image) and (kind := grey_kind(image)) is not None:
                    self._levels.look_at(np.asarray(image), kind)
            except Exception:  # reading the image for itself will say what is wrong
                continue


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
    if array.ndim == 3 and array.shape[0] in (1, 3) and array.shape[2] in (1, 3):
        raise ValueError(
            f"the shape {array.shape}, of which the first or the last may be the channels; {SHAPE_HINT}"
        )
    if array.ndim == 3 and array.shape[2] not in (1, 3) and array.shape[0] in (1, 3):
        array = array.transpose(1, 2, 0)
    if array.dtype != np.uint8 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3))):
        raise ValueError(f"{array.dtype} of shape {array.shape}; {SHAPE_HINT}")
    return array
