"""Test images that show nearly the same as a training image: saved anew, resized, or mirrored.

Each image is made a thumbnail in grey of 16 x 16, whose mean is taken away and whose length is made 1. Random
projections of it, the same for all images, give bits that similar thumbnails share; images whose bits begin alike lie
beside each other when they are sorted, and only neighbours are compared (an LSH forest; Bawa et al., 2005).
The time is thus near-linear in the number of images. Pairs whose thumbnails agree are compared whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from transferscope.core.datasets import ImageSplit

SIDE = 16
"""Of a thumbnail."""
NUM_TREES, BITS = 16, 32
"""Sorted lists, and random projections behind each. Thumbnails that correlate at .99 differ in 4.5 % of the bits."""
NEIGHBOURS = 8
"""Training images compared with, on either side in each list."""
MIN_STD = 2.0
"""Of the thumbnail's grey levels (of 255): flatter images look alike without being alike."""
LEVELS = 4.0
"""Grey levels within which thumbnails count as one colour: where more than half of one is, it is a drawing on paper."""
ALIKE, DRAWINGS_ALIKE, WHOLE_ALIKE = 0.99, 0.999, 0.93
"""Least correlation of the thumbnails, of those of drawings, and of the whole images in grey."""
LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey: JPEG files keep this sum best."""
CHUNK = 512


@dataclass(frozen=True, kw_only=True)
class NearDuplicate:
    """A test image and a training image that show nearly the same."""

    test: str
    """Id of the image."""
    train: str
    mirrored: bool
    """True if one of the two is the other's mirror image, left to right."""
    correlation: float
    """Of the two thumbnails."""


def thumbnails(images: Tensor) -> Tensor:
    """(n, 16, 16) float32 grey levels of images (n, channels, side, side), uint8."""
    return functional.adaptive_avg_pool2d(_grey(images), SIDE)[:, 0]


def _grey(images: Tensor) -> Tensor:
    """(n, 1, side, side) float32."""
    weights = torch.tensor(LUMA if images.shape[1] == 3 else [1 / images.shape[1]] * images.shape[1])
    return torch.einsum("nchw,c->nhw", images.float(), weights)[:, None]


def near_duplicates(
    train: ImageSplit, test: ImageSplit, train_thumbnails: Tensor, test_thumbnails: Tensor
) -> list[NearDuplicate]:
    """The test images that show nearly the same as a training image, each with the training image most like it.

    Args:
        train, test: the images.
        train_thumbnails, test_thumbnails: as `thumbnails` makes them.
    """
    known, least = _directions(train_thumbnails), _least_correlation(test_thumbnails)
    best: dict[int, NearDuplicate] = {}
    rows = (~known[:, 0].isnan()).nonzero().flatten()
    for mirrored in (True, False):  # what is alike both ways is not called mirrored
        queries = _directions(test_thumbnails.flip(2) if mirrored else test_thumbnails)
        usable = (~queries[:, 0].isnan()).nonzero().flatten()
        if not len(rows) or not len(usable):
            continue
        places, correlations = _most_alike(known[rows], queries[usable])
        for row, place, correlation in zip(usable.tolist(), places, correlations, strict=True):
            other = int(rows[place])
            if correlation < least[row] or not _same_whole(train.images[other], test.images[row], mirrored):
                continue
            best[row] = NearDuplicate(
                test=test.ids[row], train=train.ids[other], mirrored=mirrored, correlation=float(correlation)
            )
    return [best[row] for row in sorted(best)]


def _least_correlation(levels: Tensor) -> list[float]:
    """Of each thumbnail, the correlation from which on another one shows the same."""
    flat = levels.flatten(1)
    paper = (flat - flat.median(dim=1, keepdim=True).values).abs() < LEVELS
    return [DRAWINGS_ALIKE if share > 0.5 else ALIKE for share in paper.float().mean(dim=1).tolist()]


def _directions(levels: Tensor) -> Tensor:
    """(n, 256) thumbnails of mean 0 and length 1; NaN where one is too flat to be compared."""
    flat = levels.flatten(1)
    centred = flat - flat.mean(dim=1, keepdim=True)
    norms = centred.norm(dim=1, keepdim=True)
    norms[norms < MIN_STD * SIDE] = torch.nan
    return centred / norms


def _most_alike(known: Tensor, queries: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """For each query the row of the known thumbnail most like it among its neighbours, and their correlation."""
    generator = np.random.Generator(np.random.PCG64(0))
    best = np.zeros(len(queries), dtype=np.int64)
    correlation = np.full(len(queries), -1.0, dtype=np.float32)
    offsets = np.arange(-NEIGHBOURS, NEIGHBOURS)
    for _ in range(NUM_TREES):
        planes = torch.from_numpy(generator.standard_normal((SIDE * SIDE, BITS)).astype(np.float32))
        codes = _codes(known, planes)
        order = np.argsort(codes, kind="stable")
        places = np.searchsorted(codes[order], _codes(queries, planes))
        for start in range(0, len(queries), CHUNK):
            part = slice(start, start + CHUNK)
            near = order[np.clip(places[part, None] + offsets, 0, len(order) - 1)]
            cosines = torch.einsum("qd,qkd->qk", queries[part], known[torch.from_numpy(near)]).numpy()
            winner = cosines.argmax(axis=1)
            rows = np.arange(len(winner))
            better = cosines[rows, winner] > correlation[part]
            best[part] = np.where(better, near[rows, winner], best[part])
            correlation[part] = np.where(better, cosines[rows, winner], correlation[part])
    return best, correlation


def _codes(directions: Tensor, planes: Tensor) -> np.ndarray:
    """(n,) the signs of the projections as one number each."""
    bits = (directions @ planes > 0).numpy()
    return bits.astype(np.uint64) @ (np.uint64(1) << np.arange(BITS, dtype=np.uint64)[::-1])


def _same_whole(train: Tensor, test: Tensor, mirrored: bool) -> bool:
    """True if the two images (channels, side, side) agree as a whole and not just their thumbnails."""
    grey = _grey(torch.stack([train, test.flip(2) if mirrored else test])).flatten(1)
    return torch.corrcoef(grey)[0, 1].item() >= WHOLE_ALIKE
