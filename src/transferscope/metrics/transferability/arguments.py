"""Checks of features and labels that forecasts and probes share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from transferscope.core.errors import BadInput
from transferscope.metrics.evaluation.scores import is_multi_label
from transferscope.metrics.inputs.arguments import tensor, unlabelled_problems


def features_of(features: Any, name: str = "features") -> Tensor:
    """(n, d) float64 on the CPU: all axes but the first are flattened.

    Raises:
        BadInput: no tensor, no examples, no features, or values that are not finite.
    """
    values = tensor(features, name)
    if values.ndim == 0 or values.numel() == 0:
        raise BadInput(f"'{name}' are features (n, ...) of at least one example, got {tuple(values.shape)}.")
    found = values.flatten(1) if values.ndim > 1 else values[:, None]
    found = found.to("cpu", torch.float64)
    if not found.isfinite().all():
        examples = int((~found.isfinite()).any(1).sum())
        raise BadInput(
            f"'{name}' of {examples} of {len(found)} examples hold NaN or infinite numbers; leave these examples out."
        )
    return found


def labels_of(labels: Any, count: int, name: str = "labels", *, multi_label: bool = True) -> Tensor:
    """(n,) int64 class indices, or (n, k) float64 of 0 and 1, on the CPU.

    Args:
        labels: of any integer type, or float with two axes.
        count: n.
        name: what errors call them.
        multi_label: whether (n, k) is allowed.

    Raises:
        BadInput: other shapes or values, or indices below 0, which mean "no label".
    """
    values = tensor(labels, name).cpu()
    whole = not values.is_floating_point() and values.dtype != torch.bool
    shapes = "(n,) integers" + (" or (n, k) float of 0 and 1" if multi_label else "")
    if len(values.shape) == 0 or not (
        (values.ndim == 1 and whole) or (multi_label and is_multi_label(values))
    ):
        raise BadInput(
            f"'{name}' are {shapes}, got {tuple(values.shape)} {values.dtype}. Of class indices: {name}.long()."
        )
    if len(values) != count:
        raise BadInput(f"Expected '{name}' of the {count} examples of the features, got {len(values)}.")
    if values.ndim == 2:
        if not ((values == 0) | (values == 1)).all():
            raise BadInput(
                f"'{name}' hold other numbers than 0 and 1; decide uncertain and missing labels first."
            )
        return values.double()
    problems = unlabelled_problems(values, name)
    if problems:
        raise BadInput(problems)
    return values.long()


def one_hot(labels: Tensor, name: str = "labels") -> Tensor:
    """(n, k) float64: a column for each class that occurs, or the labels of several as they are.

    Raises:
        BadInput: a single class, or a label that is the same for all examples.
    """
    columns = labels if labels.ndim == 2 else (labels[:, None] == labels.unique()).double()
    same = (columns == columns[:1]).all(0).nonzero().flatten().tolist()
    if same:
        which = (
            f"label {same[0]} is the same for all examples" if labels.ndim == 2 else "there is a single class"
        )
        raise BadInput(f"Expected '{name}' that differ between examples, but {which}.")
    return columns
