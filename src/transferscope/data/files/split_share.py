"""Images without a division of their own: a share of each class is for testing."""

from __future__ import annotations

from collections.abc import Hashable, Sequence


def stratified(labels: Sequence[Hashable], test_share: float, seed: int) -> tuple[list[int], list[int]]:
    """Rows for training and for testing, each in order.

    Of a class with n images round(test_share * n) are for testing, but at least one and not all; a class of one
    image is for training.

    Args:
        labels: of each row; rows with equal labels are a class.
        test_share: between 0 and 1.
        seed: of the draw, by NumPy's PCG64.

    >>> train, test = stratified(["cat"] * 10 + ["dog"] * 5, 0.2, seed=0)
    >>> len(train), sum(row < 10 for row in test), len(test)
    (12, 2, 3)
    """
    import numpy as np

    generator = np.random.Generator(np.random.PCG64(seed))
    rows: dict[Hashable, list[int]] = {}
    for row, label in enumerate(labels):
        rows.setdefault(label, []).append(row)
    test: set[int] = set()
    for of_class in rows.values():
        count = min(max(round(test_share * len(of_class)), 1), len(of_class) - 1)
        test.update(of_class[place] for place in generator.permutation(len(of_class))[:count].tolist())
    return [row for row in range(len(labels)) if row not in test], sorted(test)
