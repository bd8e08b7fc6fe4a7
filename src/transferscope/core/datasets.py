"""The interface of data sets, and their lookup by name.

A data set is one module in `transferscope.data.sets` with

- `VERSION`: an int; raised whenever `load` gives other images or labels for the same options,
- `Options`: a subclass of `DatasetOptions` with `dataset: Literal["<the module's name>"]`,
- `describe(options) -> Description`: cheap, without torch; raises BadInput where the data can't be used,
- `load(options) -> ImageData`: everything decoded, in random order, bit-identical at every call,
- `TEXT_KEY`: where it is read from somewhere, the option that says where, for `name:place` on the command line,
- `assumed(options) -> Description`: where the data are official and TEXT_KEY is their folder, what is known of
  them without the files, under the fingerprint ASSUMED; raises BadInput where the options don't fit it. For
  `plan --without-data` alone,
- `changed_labels(options, stored) -> str`: only where what is read may change without a change of the fingerprint:
  how the labels differ from those of a stored result,
- `cluster_of(id) -> str`: only where images belong to patients or the like: the one of the image with this id,
- `notes(options) -> list[str]`: what one should know of it, for `data check`; only where there is something.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from transferscope.core.class_order import new_numbers, similar_names
from transferscope.core.errors import BadInput, is_text, shortened
from transferscope.core.options import DatasetOptions, load_plugin

if TYPE_CHECKING:
    from torch import Tensor

PACKAGE = "transferscope.data.sets"
ASSUMED = "assumed"
"""Fingerprint of data that aren't at hand: no files have it, so no result is ever found under its keys."""
MAX_CLASSES = 100_000
"""Several times as many as any data set in use has."""
MAX_NAME = 1_000
"""Characters of a class's name."""
_assuming: ContextVar[bool] = ContextVar("assuming", default=False)


@dataclass(frozen=True, kw_only=True)
class Description:
    """The description of a data set before it is decoded."""

    class_names: tuple[str, ...]
    """Names of the classes; of the labels, for multi-label data."""
    image_size_px: int
    """Side of the square images."""
    multi_label: bool = False
    """True if images have several labels (metric: mean AUC) instead of one (metric: accuracy)."""
    one_finding_each: bool = False
    """True for multi-label data in which every image is known to have exactly one label."""
    channels: int = 3
    num_train: int | None = None
    """Number of training images, if known without decoding."""
    num_test: int | None = None
    """Number of test images, if known without decoding."""
    fingerprint: str = ""
    """A hash of the files that are read, which is part of the cache key. Empty if the options alone determine the
    data."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """How many images were left out for each kind of problem; see `transferscope.data.files.problems`."""
    division: str = ""
    """How the test images were chosen, if the option `test_share`, stated or by default, divides the images."""
    notes: tuple[str, ...] = ()
    """Warnings before the training, for example about classes without test images or ignored files."""

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def metric(self) -> str:
        """Name of the metric of this kind of label."""
        return "mean_auc" if self.multi_label else "accuracy"


@dataclass(frozen=True, kw_only=True)
class ImageSplit:
    """One split of a data set in memory."""

    images: Tensor
    """(n, channels, size, size), uint8."""
    labels: Tensor
    """(n,) int64 class indices, or (n, num_classes) float32 of 0 and 1 where multi-label."""
    ids: tuple[str, ...]
    """A name for each image that is unique in the data set and stable: by it, images are matched."""
    larger: Tensor | None = None
    """(n, channels, k * size, k * size), uint8: the same images at the option `stored_size_px`, from which augmentation
    takes its crops in training; None without that option. All else looks at `images`."""

    def __post_init__(self) -> None:
        n = len(self.images)
        if len(self.labels) != n or len(self.ids) != n:
            raise ValueError(
                f"{n} images, {len(self.labels)} labels, {len(self.ids)} ids: must be as many of each"
            )
        if self.larger is not None and len(self.larger) != n:
            raise ValueError(f"{n} images and {len(self.larger)} larger ones: must be as many of each")

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True, kw_only=True)
class ImageData:
    """A decoded data set."""

    train: ImageSplit
    test: ImageSplit
    left_out: Mapping[str, int] = field(default_factory=dict)
    """How many images were left out for each kind of problem; see `transferscope.data.files.problems`."""
    problems: tuple[str, ...] = ()
    """A line for each kind of problem, with the names of the first images."""
    shown: tuple[str, ...] = ()
    """How the images were converted: sizes, orientation, grey values."""
    notes: tuple[str, ...] = ()
    """Warnings about the decoded images, for example large crops or contradictory labels."""


def dataset_module(name: str) -> ModuleType:
    """The data set's module. Raises BadInput for an unknown name, with the nearest one."""
    return load_plugin(PACKAGE, name, "data set")


def describe(options: DatasetOptions) -> Description:
    """The description of the data set with these options, without decoding it.

    The result is cached, because planning needs it often; `forget_descriptions` clears the cache.
    """
    return _described(cast(Any, options), _assuming.get())


@contextmanager
def assuming_official_data() -> Iterator[None]:
    """Within it, data sets whose folder isn't there are described by what is officially known of them.

    For estimates: a plan made within it can't be run. Folders that are there are read as ever, and data sets of
    which nothing is known stay an error.
    """
    token = _assuming.set(True)
    try:
        yield
    finally:
        _assuming.reset(token)


def forget_descriptions() -> None:
    """Look at the files anew: they may have changed since."""
    _described.cache_clear()


@lru_cache(maxsize=256)
def _described(options: Any, assume: bool) -> Description:
    module = dataset_module(options.dataset)
    if assume and hasattr(module, "assumed") and not Path(getattr(options, module.TEXT_KEY)).exists():
        return module.assumed(options)
    description = in_stated_order(module.describe(options), getattr(options, "classes", None))
    wrong = _wrong_names(description.class_names)
    if wrong:
        raise BadInput(f"the data set {options.dataset}: {wrong}")
    return replace(description, notes=(*description.notes, *similar_names(description.class_names)))


def _wrong_names(names: Sequence[str]) -> str:
    """What can't be about the names of classes, which files give; empty where nothing is."""
    if len(names) > MAX_CLASSES:
        return f"{len(names):,} classes; at most {MAX_CLASSES:,} are supported."
    for name in names:
        if len(name) > MAX_NAME:
            return f"a class has a name of {len(name):,} characters: {shortened(name)}. At most {MAX_NAME} are shown."
        if not is_text(name):
            return f"the name of the class {shortened(name)} is no text in Unicode. Rename it."
    return ""


def load(options: DatasetOptions) -> ImageData:
    """The data set of these options, decoded."""
    classes: tuple[str, ...] | None = getattr(options, "classes", None)
    module = dataset_module(options.dataset)
    data: ImageData = module.load(options)
    if classes is None:
        return data
    return labels_in_stated_order(data, module.describe(options).class_names, classes)


def in_stated_order(about: Description, classes: Sequence[str] | None) -> Description:
    """The description with the classes in the order that the option `classes` states.

    Raises:
        BadInput: they are not the data set's classes, each once.
    """
    if classes is None:
        return about
    new_numbers(about.class_names, classes)
    return replace(about, class_names=tuple(classes))


def labels_in_stated_order(data: ImageData, names: Sequence[str], classes: Sequence[str] | None) -> ImageData:
    """The data with labels that are numbered as `classes` states.

    Args:
        data: as loaded.
        names: the data set's own names, in its own order.
        classes: the stated order, or None for the data set's own.
    """
    if classes is None:
        return data
    import torch

    numbers = torch.tensor(new_numbers(names, classes))

    def renumbered(split: ImageSplit) -> ImageSplit:
        labels = split.labels
        new = numbers[labels] if labels.ndim == 1 else labels[:, torch.argsort(numbers)]
        return replace(split, labels=new)

    return replace(data, train=renumbered(data.train), test=renumbered(data.test))
