"""The base class of all configuration, and the lookup of plug-ins by name."""

from __future__ import annotations

import importlib
import json
import operator
import pkgutil
import sys
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from transferscope.core.errors import BadInput, did_you_mean


class Frozen(BaseModel):
    """A frozen, hashable set of named fields; unknown keys are refused, defaults are checked too.

    In paths `~` is the home folder, as in a shell.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, use_attribute_docstrings=True, allow_inf_nan=False
    )

    @field_validator("*", mode="after")
    @classmethod
    def _home_folder(cls, value: Any) -> Any:
        return with_home_folder(value) if isinstance(value, (Path, tuple, dict)) else value


def with_home_folder(value: Any) -> Any:
    """A path with `~` expanded, also in tuples and mappings; everything else as it is. ValueError without a home."""
    if isinstance(value, Path) and str(value).startswith("~"):
        try:
            return value.expanduser()
        except RuntimeError as error:
            raise ValueError(f"{value}: {error}") from None
    if type(value) is tuple and any(isinstance(one, Path) for one in value):
        return tuple(map(with_home_folder, value))
    if type(value) is dict and any(isinstance(one, Path) for one in value.values()):
        return {key: with_home_folder(one) for key, one in value.items()}
    return value


class MeanStd(Frozen):
    """A normalization by constants: (images / 255 - mean) / std for each channel, as published weights state it."""

    mean: tuple[float, ...] = Field(min_length=1)
    """Of each channel of the images, on the scale from 0 to 1."""
    std: tuple[Annotated[float, Field(gt=0)], ...] = Field(min_length=1)
    """Standard deviation of each channel, on the same scale."""

    @model_validator(mode="after")
    def _as_many_of_each(self) -> MeanStd:
        if len(self.mean) != len(self.std):
            raise ValueError(f"mean has {len(self.mean)} channels and std {len(self.std)}: must be as many")
        return self


NamedNormalization = Literal["per_image", "unit", "imagenet", "centred_64"]
Normalization = NamedNormalization | MeanStd
"""How pixels become a network's input; see `transferscope.data.normalize`."""
IMAGENET = MeanStd(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
"""The constants that most published ImageNet weights expect."""


def named_normalization(how: MeanStd) -> Normalization:
    """The constants under their name, where they have one: what means the same has the same key.

    >>> named_normalization(MeanStd(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)))
    'unit'
    """
    if how == IMAGENET:
        return "imagenet"
    return "unit" if {*how.mean, *how.std} == {0.5} else how


class FrozenMap(dict[str, Any]):
    """An immutable, hashable mapping of plain values."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(json.dumps(self, sort_keys=True))


def _plain(value: Any, where: str) -> Any:
    """The value with mappings and lists that have a hash; ValueError where it isn't plain data."""
    if isinstance(value, dict):
        return FrozenMap({str(key): _plain(item, f"{where}.{key}") for key, item in value.items()})
    if isinstance(value, (list, tuple)):
        return tuple(_plain(item, f"{where}[{index}]") for index, item in enumerate(value))
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise ValueError(
        f"{where} must be text, a number, true or false, or lists and mappings of these, it is a "
        f"{type(value).__name__}"
    )


Arguments = Annotated[dict[str, Any], AfterValidator(lambda value: _plain(value, "the value"))]
"""Arguments of a function of the user: plain values by name."""


class DatasetOptions(Frozen):
    """The options of one data set; every module in `transferscope.data.sets` has its own subclass."""

    dataset: str
    """Name of the data set: a module in transferscope.data.sets."""


def later_option(default: Any = None, **limits: Any) -> Any:
    """A field that is omitted from dumps, and therefore from cache keys, if it has its default."""
    return Field(default=default, exclude_if=partial(operator.eq, default), **limits)


class FileOptions(DatasetOptions):
    """The options of every data set that reads files; see `transferscope.data.files.problems`."""

    on_bad: Literal["stop", "skip"] = "stop"
    """What to do with unusable images (not decodable, too many pixels, missing, outside the root, an invalid label, a
    class without training images), with test images that are also training images, and with labels of a multi-label
    data set that are the same for all images. stop: raise an error that counts each kind and names the first ones.
    skip: leave them out, and count them in the results."""
    keep_duplicates: bool = False
    """True to keep test images that are also training images, as in published results on the data set."""
    classes: tuple[str, ...] | None = later_option()
    """All classes (or labels) in the order of the network's outputs, if it differs from the order of the data set.
    Weights that were trained elsewhere need the order of their training."""


class SeveralLabels(FileOptions):
    """The options of data sets whose images may have several labels each."""

    leave_out_labels: tuple[str, ...] = later_option(())
    """Labels of a multi-label data set to exclude from training and scores."""
    missing_labels: Literal["bad", "absent"] = later_option("bad")
    """How to treat a missing label (NaN) of a multi-label data set. bad: the image is unusable; see on_bad. absent: the
    label is 0, as in the paper for empty cells of CheXpert."""


class NetworkOptions(Frozen):
    """The options of one kind of network; see `transferscope.models`."""

    name: str
    """Name of the network."""

    def fingerprint(self) -> str:
        """A hash of the files that define the network; empty if its options alone define it."""
        return ""

    def modules_key(self) -> Any:
        """The division of the network into modules, as plain data; None if it can't be chosen."""
        return None


class ForeignNetwork(NetworkOptions):
    """Options of networks from other packages or the user; their modules are detected, or named by the user."""

    modules: Literal["blocks", "stages"] | Arguments = "blocks"
    """The parts that the analyses look at: each block, or each stage, from the stem to the head; or name ->
    pattern or patterns of their paths, as in {stem: [conv1, bn1], "block {}": "layer*.*"}, where * stands for
    one step of a path, and {} in a name for what it stood for. The head is found where it isn't named."""

    def modules_key(self) -> Any:
        # until 0.1 modules came in the order of their definition: results of these have other keys
        return f"{self.modules}, as a pass shows them" if isinstance(self.modules, str) else self.modules


def plugin_names(package: str) -> list[str]:
    """The names of the plug-ins in `package`, sorted.

    These are its folders but for `shared`, or its files if there are none, and everything in the folders that the user
    has added to its `__path__`.
    """
    path = importlib.import_module(package).__path__
    own, *added = (list(pkgutil.iter_modules([folder])) for folder in path)
    with_folders = any(module.ispkg for module in own)
    found = [module.name for module in own if module.ispkg == with_folders and module.name != "shared"]
    found += [module.name for modules in added for module in modules]
    return sorted(name for name in found if not name.startswith("_"))


def load_plugin(package: str, name: str, noun: str) -> ModuleType:
    """The module `package.name`.

    Raises:
        BadInput: there is no such module; the message names the nearest one.
    """
    known = sys.modules.get(f"{package}.{name}")
    if known is not None and not name.startswith("_"):
        return known  # the planner asks for each cell, and looking into the folder takes longer than the rest
    names = plugin_names(package)
    if name not in names:
        raise BadInput(f"unknown {noun} '{name}'.{did_you_mean(name, names)}")
    return importlib.import_module(f"{package}.{name}")


def with_current_directory() -> None:
    """Lets modules in the current directory be imported, after all others, as `python -m` does."""
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)
