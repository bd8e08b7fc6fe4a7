"""Checks that compared results were computed on the same samples, in the same order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence

import numpy as np
from torch import Tensor

from transferscope.core.errors import BadInput
from transferscope.metrics.inputs.arguments import decision_problems, tensor


def sample_problems(ids: Mapping[str, Sequence[object]], n: int) -> list[str]:
    """Reasons why results can't be compared sample by sample.

    Args:
        ids: name of a model, or of a set of features -> a name for each sample behind it.
        n: samples that there must be.
    """
    if not isinstance(ids, Mapping):
        return [
            f"ids are lists of names by model, got a {type(ids).__name__}; give {{name: ids for name in ...}}."
        ]
    text = [name for name, own in ids.items() if isinstance(own, str) or not isinstance(own, Iterable)]
    if text:
        return [
            f"The ids of '{name}' are one {type(ids[name]).__name__}, not a list of names." for name in text
        ]
    # numbers of an array or a tensor would be compared as objects
    known = [
        (name, own.tolist() if isinstance(own, (Tensor, np.ndarray)) else list(own))
        for name, own in ids.items()
    ]
    unhashable = [name for name, own in known if not all(isinstance(each, Hashable) for each in own)]
    if unhashable:
        return [f"The ids of '{name}' must be texts or numbers." for name in unhashable]
    problems = [f"'{name}' has {len(own)} ids for {n} samples." for name, own in known if len(own) != n]
    for name, own in known:
        twice = [sample for sample, count in Counter(own).items() if count > 1]
        if twice:
            problems.append(f"'{name}' has the id {twice[0]!r} twice; ids must tell the samples apart.")
    for name, own in known[1:]:
        first_name, first = known[0]
        if own == first or len(own) != len(first):
            continue
        place = next(i for i, (x, y) in enumerate(zip(first, own, strict=True)) if x != y)
        kind = (
            "the same samples in another order; sort them by id"
            if set(own) == set(first)
            else "other samples"
        )
        problems.append(
            f"'{name}' was run on {kind}: place {place} is {own[place]!r}, "
            f"but {first[place]!r} for '{first_name}'."
        )
    return problems


def decision_tensors(
    predictions: Mapping[str, Tensor], labels: Tensor, *, multi_label: bool = True
) -> tuple[dict[str, Tensor], Tensor]:
    """Predictions and labels without gradients.

    Raises:
        BadInput: not tensors by name, or values that are no decisions (see `decision_problems`); all are named.
    """
    if not isinstance(predictions, Mapping):
        raise BadInput(f"Expected predictions by the name of a model, got a {type(predictions).__name__}.")
    problems: list[str] = []
    found: dict[str, Tensor] = {}
    for name, values in [("labels", labels), *predictions.items()]:
        try:
            checked = tensor(values, name)
        except BadInput as error:
            problems += error.problems
            continue
        problems += decision_problems(checked, name, multi_label=multi_label)
        found |= {} if values is labels else {name: checked}
    if problems:
        raise BadInput(problems)
    return {name: found.get(name, labels.detach()) for name in predictions}, labels.detach()
