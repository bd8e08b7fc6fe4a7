"""A permutation test over instances: do instances of one kind overlap more than pairs with another kind?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, islice
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from transferscope.core.errors import BadInput
from transferscope.metrics.agreement.mistakes import numpy_generator

MOST_RELABELLINGS = 200_000
"""Maximum number of relabellings to enumerate; beyond it, 10,000 are drawn: 10 of 20 instances can be called a kind
in 184,756 ways."""
DRAWS = 10_000
AT_ONCE = 2**15


@dataclass(frozen=True, kw_only=True)
class Relabelled:
    """The test of a kind against pairs with another."""

    effect: float
    """How much more two of the kind overlap: a difference of means over pairs."""
    p_value: float
    """One-sided, against: not more."""
    relabellings: int
    """Ways to call instances that kind; p can't be below one over this."""


def relabelling_test(
    overlap: ArrayLike,
    is_kind: ArrayLike,
    *,
    other: Literal["between", "rest"],
    counted: ArrayLike | None = None,
    generator: torch.Generator | None = None,
) -> Relabelled:
    """Do two instances of a kind overlap more than one of it and another, or than two others?

    The effect is the mean overlap over the pairs within the kind minus that over the pairs between the kind and the
    rest, or within the rest. What is exchangeable: were all instances, of whatever kind, drawn alike and
    independently, each way to call as many of them the kind would be as likely as the true one. p is the share of the
    ways with an effect at least as large (Fisher 1935; Mantel 1967 for pairs): exact, however pairs that share an
    instance depend on each other, and whatever the images. With 3 and 3 instances there are 20 ways, so that p is at
    least .05. Rejecting says that the kinds differ in what makes pairs overlap, their accuracy included.

    Args:
        overlap: (m, m) symmetric, of every two instances; larger means more alike. The diagonal doesn't count.
        is_kind: (m,) bool, which instances are of the kind.
        other: pairs that the kind is compared with.
        counted: (m, m) bool, symmetric: pairs that count, such as those of other seeds; all by default. Relabellings
            that leave nothing to compare count as if they had a larger effect.
        generator: of the relabellings where they are too many to go through; one with seed 0 by default.

    Returns:
        NaN where a counted overlap is, or there is nothing to compare.

    Raises:
        BadInput: shapes that don't match, or an unknown `other`.

    >>> near = np.full((6, 6), 0.2)
    >>> near[:3, :3] = 0.9
    >>> relabelling_test(near, [True] * 3 + [False] * 3, other="between")
    Relabelled(effect=0.7, p_value=0.05, relabellings=20)
    """
    kind, values = np.asarray(is_kind, dtype=bool), np.asarray(overlap, dtype=np.float64)
    pairs = np.ones(values.shape, dtype=bool) if counted is None else np.asarray(counted, dtype=bool)
    _check(values, kind, pairs, other)
    pairs = pairs & ~np.eye(len(kind), dtype=bool)
    values = np.where(pairs, values, 0.0)
    observed = float(_effects(kind[None].astype(np.float64), values, pairs, other)[0])
    m, size = len(kind), int(kind.sum())
    count = math.comb(m, size)
    if math.isnan(observed):
        return Relabelled(effect=math.nan, p_value=math.nan, relabellings=count)
    is_exact = count <= MOST_RELABELLINGS
    exceeding = 0 if is_exact else 1
    for labels in _every(m, size) if is_exact else _drawn(m, size, numpy_generator(generator)):
        effects = _effects(labels, values, pairs, other)
        # equal sums in another order of adding must count as equal
        exceeding += int((np.isnan(effects) | (effects >= observed - 1e-9)).sum())
    total = count if is_exact else 1 + DRAWS
    return Relabelled(effect=round(observed, 15), p_value=exceeding / total, relabellings=total)


def _effects(labels: NDArray, values: NDArray, pairs: NDArray, other: str) -> NDArray[np.float64]:
    """(r,) of (r, m) labels: mean within the kind minus mean of the others; NaN where one has no pair."""
    rest = 1 - labels
    sides = (labels, rest) if other == "between" else (rest, rest)
    means = []
    for a, b in ((labels, labels), sides):
        sums, numbers = (((a @ matrix) * b).sum(1) for matrix in (values, pairs.astype(np.float64)))
        means.append(sums / np.where(numbers > 0, numbers, np.nan))
    return means[0] - means[1]


def _every(m: int, size: int) -> Iterator[NDArray[np.float64]]:
    """All ways to choose, in blocks of (r, m)."""
    chosen = combinations(range(m), size)
    while block := list(islice(chosen, AT_ONCE)):
        labels = np.zeros((len(block), m))
        np.put_along_axis(labels, np.array(block, dtype=np.int64).reshape(len(block), size), 1.0, axis=1)
        yield labels


def _drawn(m: int, size: int, rng: np.random.Generator) -> Iterator[NDArray[np.float64]]:
    yield rng.permuted(np.tile(np.arange(m) < size, (DRAWS, 1)), axis=1).astype(np.float64)


def _check(values: NDArray, kind: NDArray, pairs: NDArray, other: str) -> None:
    m = len(kind)
    problems = []
    if kind.ndim != 1 or values.shape != (m, m) or pairs.shape != (m, m):
        problems.append(
            f"Expected an overlap (m, m) of m instances, got shapes {values.shape} and {pairs.shape} for "
            f"{kind.shape} instances."
        )
    elif not np.array_equal(values, values.T, equal_nan=True) or not np.array_equal(pairs, pairs.T):
        problems.append("The overlap of a and b must be that of b and a, and so must be whether they count.")
    if other not in ("between", "rest"):
        problems.append(f"`other` is 'between' or 'rest', got '{other}'.")
    if problems:
        raise BadInput(problems)
