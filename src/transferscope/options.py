"""The base of every piece of configuration, and how plug-ins are found by their name."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType
from typing import Literal

from pydantic import BaseModel, ConfigDict

from transferscope.errors import BadInput, did_you_mean

Normalization = Literal["per_image", "unit", "imagenet"]
"""How pixels become a network's input; see `transferscope.data.normalize`."""


class Frozen(BaseModel):
    """A frozen, hashable set of named fields; unknown keys are refused, defaults are checked too."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, use_attribute_docstrings=True, allow_inf_nan=False
    )


class DatasetOptions(Frozen):
    """The options of one data set; every module in `transferscope.datasets` has its own subclass."""

    dataset: str
    """Name of the data set: a module in transferscope.datasets."""


class NetworkOptions(Frozen):
    """The options of one kind of network; see `transferscope.models`."""

    name: str
    """Name of the network."""


def plugin_names(package: str) -> list[str]:
    """The names of the public modules in `package`, sorted: a plug-in is one file, found by its name."""
    path = importlib.import_module(package).__path__
    return sorted(module.name for module in pkgutil.iter_modules(path) if not module.name.startswith("_"))


def load_plugin(package: str, name: str, noun: str) -> ModuleType:
    """The module `package.name`.

    Raises:
        BadInput: there is no such module; the message names the nearest one.
    """
    names = plugin_names(package)
    if name not in names:
        raise BadInput(f"unknown {noun} '{name}'.{did_you_mean(name, names)}")
    return importlib.import_module(f"{package}.{name}")
