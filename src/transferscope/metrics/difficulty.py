"""How hard the examples are on which models err, judged by the errors of other models."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from transferscope.errors import BadInput


@dataclass(frozen=True, kw_only=True)
class Difficulty:
    """How hard the decisions are that one model of a pair gets wrong, or both do."""

    wrong: Literal["only a", "only b", "both"]
    n: int
    """Decisions where that is so."""
    judged_wrong: Mapping[str, float]
    """Per group of judges, the share of these decisions that they get wrong, mean over the judges; NaN
    without judges or decisions."""

    @property
    def difficulty(self) -> float:
        """Mean over the groups, each weighing the same: 0 where all judges are right, 1 where all err."""
        return sum(self.judged_wrong.values()) / len(self.judged_wrong) if self.judged_wrong else math.nan


def judged_difficulty(a: Tensor, b: Tensor, judges: Mapping[str, Sequence[Tensor]]) -> list[Difficulty]:
    """How often other models err where only a errs, where only b does, and where both do.

    Args:
        a, b: (n,) or (n, k) bool: which decisions the two models get wrong.
        judges: group -> the same of each judge in it; neither a nor b.

    Raises:
        BadInput: shapes that differ.

    >>> a, b = torch.tensor([True, True, False]), torch.tensor([False, True, False])
    >>> judges = {"near": [torch.tensor([True, True, False])], "far": [torch.tensor([False, True, True])]}
    >>> [(found.wrong, found.n, found.difficulty) for found in judged_difficulty(a, b, judges)]
    [('only a', 1, 0.5), ('only b', 0, nan), ('both', 1, 1.0)]
    """
    shapes = {tuple(own.shape) for own in (a, b, *(judge for group in judges.values() for judge in group))}
    if len(shapes) != 1:
        raise BadInput(f"Expected the same decisions (n,) or (n, k) of all models, got {sorted(shapes)}.")
    shares = {
        group: torch.stack(list(members)).double().mean(0) if members else torch.full(a.shape, math.nan)
        for group, members in judges.items()
    }
    found = []
    places: dict[Literal["only a", "only b", "both"], Tensor] = {
        "only a": a & ~b,
        "only b": b & ~a,
        "both": a & b,
    }
    for wrong, where in places.items():
        n = int(where.sum())
        judged = {group: float(share[where].mean()) if n else math.nan for group, share in shares.items()}
        found.append(Difficulty(wrong=wrong, n=n, judged_wrong=judged))
    return found
