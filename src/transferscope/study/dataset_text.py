"""A data set named in one word, as on the command line: `imagefolder:PATH`, `huggingface:NAME`, `fashion_mnist`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from transferscope.core.datasets import PACKAGE, dataset_module
from transferscope.core.errors import BadInput
from transferscope.core.options import DatasetOptions, plugin_names
from transferscope.study.file import strictly
from transferscope.study.messages import plain_problems
from transferscope.study.yaml_positions import read_yaml


def dataset_from_text(text: str, overrides: Sequence[str] = ()) -> DatasetOptions:
    """The options of a data set.

    Args:
        text: the data set's name; where it is read from somewhere, a colon and the path or name, which becomes
            the option that the data set's module names as its TEXT_KEY.
        overrides: `key=value` each, the value YAML, as in `image_size_px=64`; they win.

    Raises:
        BadInput: no such data set, or its options are wrong; all problems are listed.

    >>> dataset_from_text("letters", ["train_size=100"]).train_size
    100
    """
    name, colon, place = text.partition(":")
    try:
        module = dataset_module(name)
    except BadInput as error:
        names = ", ".join(plugin_names(PACKAGE))
        raise BadInput(f"{error} A data set is given as NAME or NAME:PATH; the names are: {names}.") from None
    key: str | None = getattr(module, "TEXT_KEY", None)
    if colon and (key is None or not place):
        after = (
            "is drawn, and takes nothing after a colon" if key is None else f"needs its {key} after the colon"
        )
        raise BadInput(f"{text}: the data set '{name}' {after}.")
    data: dict[str, Any] = {"dataset": name, **({key: place} if key and colon else {})}
    for override in overrides:
        option, equals, value = override.partition("=")
        if not equals or not option.strip() or "." in option:
            raise BadInput(f"--set {override}: expected an option of '{name}', as in --set on_bad=skip.")
        data[option.strip()] = read_yaml(value, f"--set {option}").data
    try:
        return strictly(module.Options, data)
    except ValidationError as refused:
        raise BadInput(
            [
                f"{text}: {'.'.join(map(str, problem.path))}{': ' if problem.path else ''}{problem.message}"
                for problem in plain_problems(refused, module.Options, data)
            ]
        ) from None
