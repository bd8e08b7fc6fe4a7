"""Held-out training images, which choose learning rates and epochs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from transferscope.core.datasets import ImageSplit
from transferscope.core.errors import TaskFailed
from transferscope.data.files.decode import pixel_digest
from transferscope.data.files.group_ids import group_of
from transferscope.data.files.split_share import divide
from transferscope.data.files.spool import rows_of

HELD_OUT_SEED = 0
"""Seed of the selection. It is constant, so that all kinds, seeds and rates are compared on the same images."""


def hold_out(split: ImageSplit, fraction: float) -> tuple[ImageSplit, ImageSplit]:
    """Split the training images into those to train on and those held out.

    The selection depends only on the labels and their order, so it is the same for every view. The same share of
    each class (of each combination of labels, for multi-label data) is held out, up to rounding. Exact copies of a
    held-out image are excluded from training, too. If the ids name groups, such as patients, whole groups are held out;
    see `transferscope.data.files.split_share.divide`.

    Args:
        split: the training images.
        fraction: the share to hold out, in [0, 1).

    Raises:
        TaskFailed: no image is held out, or none is left to train on.
    """
    groups = [group_of(id_) for id_ in split.ids]
    if fraction and groups != list(split.ids):
        labels = split.labels.tolist()
        of_rows = [tuple(map(int, label)) if isinstance(label, list) else label for label in labels]
        chosen = divide(of_rows, groups, fraction, HELD_OUT_SEED)[1]
    else:
        chosen = held_out_rows(split.labels, fraction)
    if not fraction:
        return split, _part(split, chosen)
    digests = [pixel_digest(image) for image in split.images.numpy()]
    held = {digests[row] for row in chosen}
    is_chosen = set(chosen)
    kept = [row for row in range(len(split)) if row not in is_chosen and digests[row] not in held]
    if not chosen or not kept:
        raise TaskFailed(
            f"held_out {fraction:g} of {len(split)} training images holds out {len(chosen)} and leaves {len(kept)} "
            "to train on; both must be at least 1. Choose another held_out."
        )
    return _part(split, kept), _part(split, chosen)


def held_out_rows(labels: Tensor, fraction: float) -> list[int]:
    """Rows held out, ascending: round(fraction * n) in all, by largest remainders over the classes.

    Args:
        labels: (n,) int64, or (n, k) float of 0 and 1.
        fraction: share of the rows.
    """
    strata: dict[object, list[int]] = {}
    generator = torch.Generator().manual_seed(HELD_OUT_SEED)
    names = labels.tolist()
    for row in torch.randperm(len(labels), generator=generator).tolist():
        name = names[row]
        strata.setdefault(tuple(name) if isinstance(name, list) else name, []).append(row)
    shares = {name: fraction * len(rows) for name, rows in strata.items()}
    counts = {name: int(share) for name, share in shares.items()}
    missing = round(fraction * len(labels)) - sum(counts.values())
    for name in sorted(shares, key=lambda name: counts[name] - shares[name])[:missing]:
        counts[name] += 1
    return sorted(row for name, rows in strata.items() for row in rows[: counts[name]])


def _part(split: ImageSplit, rows: Sequence[int]) -> ImageSplit:
    index = torch.tensor(rows, dtype=torch.int64)
    ids = tuple(split.ids[row] for row in rows)
    larger = None if split.larger is None else rows_of(split.larger, index)
    return ImageSplit(images=rows_of(split.images, index), labels=split.labels[index], ids=ids, larger=larger)
