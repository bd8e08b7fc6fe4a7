"""The order of images: random, so that the first ones stand for all. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def in_random_order(items: Sequence[T], seed: int, maximum: int | None = None) -> list[T]:
    """The first `maximum` items of a permutation by NumPy's PCG64 with this seed; all by default."""
    import numpy as np

    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(items))[:maximum]
    return [items[place] for place in order.tolist()]
