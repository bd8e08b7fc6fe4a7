"""How hard the examples are on which models err, judged by the errors of other models."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from transferscope.core.errors import BadInput


@dataclass(frozen=True, kw_only=True)
class Difficulty:
    """How hard the decisions are that one model of a pair gets wrong, or both do."""

    wrong: Literal["only a", "only b", "both"]
    n: int
    """Decisions where that is so."""
    judged_wrong: Mapping[str, float]
    """Share of these decisions that each judge gets wrong: 1 where they are hard for it; NaN without decisions."""


def judged_difficulty(a: Tensor, b: Tensor, judges: Mapping[str, Tensor]) -> list[Difficulty]:
    """How often other models err where only a errs, where only b does, and where both do.

    Args:
        a, b: (n,) or (n, k) bool: which decisions the two models get wrong.
        judges: name -> the same of each judge; neither a nor b.

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
