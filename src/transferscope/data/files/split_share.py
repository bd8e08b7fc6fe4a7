"""Images without a division of their own: a share of each class is for testing, and groups stay together."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Annotated, Literal

from pydantic import Field

Share = Annotated[float, Field(gt=0, lt=1)] | Literal["all"]
"""The share for testing; all: each image is in both splits, for networks that were trained elsewhere."""
ALL = object()
"""The stratum of all images of multi-label data."""
DEFAULT_SHARE = 0.2
"""Of the images for testing, if nothing else divides them."""
TINY = 1e-9
"""Rounding of sums of shares, far below what one image changes."""


def divide(
    labels: Sequence[Hashable], groups: Sequence[str], test_share: Share, seed: int
) -> tuple[list[int], list[int]]:
    """Rows for training and for testing, each in order; no group has rows in both.

    Groups are considered in the order of SHA-256(seed and name), so the order of the rows decides nothing, and a
    group has the same place in that order whatever else is there. A group is taken for testing if this brings the
    numbers of test images closer to the wanted ones: for each class with n images round(test_share * n), but at least
    1 and at most n - 1. The distance is the sum over the classes of |wanted - taken| / n. A group that holds all
    training images that are left of a class stays in training. If each image is a group of its own, the wanted
    numbers are reached exactly, and a class of one image is for training.

    Args:
        labels: of each row, hashable. Rows with equal labels are a class; tuples of 0 and 1 are multi-label, and each
            label counts as a class, and all images together as one.
        groups: name of the group of each row, such as its patient; names of the images if there are no groups.
        test_share: between 0 and 1, or "all" for all rows in both splits.
        seed: of the order.

    >>> train, test = divide(["cat"] * 10 + ["dog"] * 5, [str(row) for row in range(15)], 0.2, seed=0)
    >>> len(train), sum(row < 10 for row in test), len(test)
    (12, 2, 3)
    """
    if test_share == "all":
        return list(range(len(labels))), list(range(len(labels)))
    members: dict[str, list[int]] = {}
    for row, group in enumerate(groups):
        members.setdefault(group, []).append(row)
    totals = Counter(stratum for label in labels for stratum in _strata(label))
    missing = {one: min(max(round(test_share * n), 1), n - 1) for one, n in totals.items()}
    left = dict(totals)
    test: set[int] = set()
    for group in sorted(members, key=lambda name: _place(seed, name)):
        counts = Counter(stratum for row in members[group] for stratum in _strata(labels[row]))
        gain = sum(
            (abs(missing[one]) - abs(missing[one] - count)) / totals[one] for one, count in counts.items()
        )
        if gain <= TINY or any(left[one] == count for one, count in counts.items()):
            continue
        test.update(members[group])
        for one, count in counts.items():
            missing[one] -= count
            left[one] -= count
    return [row for row in range(len(labels)) if row not in test], sorted(test)


def _place(seed: int, group: str) -> bytes:
    return hashlib.sha256(f"{seed} {group}".encode(errors="surrogateescape")).digest()


def _strata(label: Hashable) -> list[Hashable]:
    if not isinstance(label, tuple):
        return [label]
    return [ALL, *(column for column, one in enumerate(label) if one)]


def split_note(test_share: Share, seed: int, of: str, groups: str) -> str:
    """How the test images were chosen, for people.

    Args:
        test_share, seed: as in `divide`.
        of: what the share is of, such as "each class".
        groups: what names the groups that stay together; empty if there are none.
    """
    if test_share == "all":
        return "nothing divides the images: all of them are test images, also those that networks were trained on"
    together = (
        f"all images of a group ({groups}) are in the same split"
        if groups
        else "images of one person or scene may be in both splits"
    )
    return (
        f"the test images are {100 * test_share:g} % of {of}, chosen by the hash of their names and `split_seed` "
        f"{seed}; {together}"
    )
