"""The difficulty of misclassified examples, measured by the errors of other models."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from transferscope.core.errors import BadInput


@dataclass(frozen=True, kw_only=True)
class Difficulty:
    """The difficulty of the decisions that one or both models of a pair get wrong."""

    wrong: Literal["only a", "only b", "both"]
    n: int
    """Number of these decisions."""
    judged_wrong: Mapping[str, float]
    """Judge -> share of these decisions on which it is wrong; NaN without decisions."""


def judged_difficulty(a: Tensor, b: Tensor, judges: Mapping[str, Tensor]) -> list[Difficulty]:
    """How often other models are wrong if only a is wrong, if only b is, and if both are.

    Args:
        a, b: (n,) or (n, k) bool: True for wrong decisions.
        judges: name -> wrong decisions of another model.

    Raises:
        BadInput: shapes that differ.

    >>> import torch
    >>> a, b = torch.tensor([True, True, False]), torch.tensor([False, True, False])
    >>> judges = {"near": torch.tensor([True, True, False]), "far": torch.tensor([False, True, True])}
    >>> [(found.wrong, found.n, *found.judged_wrong.values()) for found in judged_difficulty(a, b, judges)]
    [('only a', 1, 1.0, 0.0), ('only b', 0, nan, nan), ('both', 1, 1.0, 1.0)]
    """
    shapes = {tuple(own.shape) for own in (a, b, *judges.values())}
    if len(shapes) != 1:
        raise BadInput(f"Expected the same decisions (n,) or (n, k) of all models, got {sorted(shapes)}.")
    found = []
    places: dict[Literal["only a", "only b", "both"], Tensor] = {
        "only a": a & ~b,
        "only b": b & ~a,
        "both": a & b,
    }
    for wrong, where in places.items():
        n = int(where.sum())
        judged = {name: int((own & where).sum()) / n if n else math.nan for name, own in judges.items()}
        found.append(Difficulty(wrong=wrong, n=n, judged_wrong=judged))
    return found
