"""Networks that a function of the user returns."""

from __future__ import annotations

import hashlib
import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from transferscope.core.errors import BadInput, did_you_mean
from transferscope.core.files import sha256_of
from transferscope.core.fingerprint import sources_fingerprint
from transferscope.core.options import Arguments, ForeignNetwork, FrozenMap, with_current_directory

if TYPE_CHECKING:
    from torch import nn


class Module(ForeignNetwork):
    """An nn.Module returned by a function or class of the user."""

    name: Literal["module"] = "module"
    """Name of the network."""
    factory: str = Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$")
    """"package.module:function". It is called with num_classes, and with channels and image_size_px if it
    accepts them, and returns an nn.Module from (n, channels, size, size) to (n, num_classes) logits. The current
    directory is on the import path."""
    arguments: Arguments = FrozenMap()
    """Further arguments of the function."""

    def fingerprint(self) -> str:
        """SHA-256 of the function's module, of the user's own modules that it imports, and of files named in
        `arguments`. Other files that the function reads are not covered."""
        with_current_directory()
        sources = sources_fingerprint(self.factory.partition(":")[0])
        paths = [Path(value) for value in self.arguments.values() if isinstance(value, str) and value]
        files = [sha256_of(path) for path in paths if _is_file(path)]
        return hashlib.sha256(repr([sources, *files]).encode()).hexdigest() if files else sources


OPTIONS = {"module": Module}


def build(options: Module, num_classes: int, channels: int, image_size_px: int | None) -> nn.Module:
    """Call the factory.

    Raises:
        BadInput: the factory can't be imported or called, or doesn't return a network.
    """
    from torch import nn

    factory = _factory(options.factory)
    arguments: dict[str, Any] = {"num_classes": num_classes}
    for name, value in (("channels", channels), ("image_size_px", image_size_px)):
        if name in _named_parameters(factory):
            arguments[name] = value
    arguments |= dict(options.arguments)
    try:
        made = factory(**arguments)
    except Exception as error:
        raise BadInput(
            f"{options.factory} was called with {arguments} and raised {type(error).__name__}: {error}. It must "
            "take num_classes and what `arguments` holds."
        ) from error
    if not isinstance(made, nn.Module):
        raise BadInput(f"{options.factory} must give a torch.nn.Module, it gave {type(made).__name__}.")
    return made


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # no name of a file
        return False


def _factory(place: str) -> Callable[..., Any]:
    module_name, _, path = place.partition(":")
    with_current_directory()
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as error:
        raise BadInput(
            f"the module '{module_name}' of the network's factory {place} can't be imported: "
            f"{type(error).__name__}: {error}. It must be installed, or lie in the current directory "
            f"({Path.cwd()})."
        ) from error
    for part in path.split("."):
        if not hasattr(found, part):
            hint = did_you_mean(part, [name for name in vars(found) if not name.startswith("_")])
            raise BadInput(f"'{module_name}' has no '{path}', which the network's factory names.{hint}")
        found = getattr(found, part)
    if not callable(found):
        raise BadInput(f"{place} must be a function or a class, it is a {type(found).__name__}.")
    return found


def _named_parameters(factory: Callable[..., Any]) -> set[str]:
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):
        return set()
    return {each.name for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)}
