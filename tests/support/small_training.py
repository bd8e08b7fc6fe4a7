"""A small network and random images for tests of training."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from transferscope.core.datasets import ImageSplit
from transferscope.models.build import FixupResNetOptions

CPU = torch.device("cpu")
NETWORK = FixupResNetOptions(depths=(1, 1), widths=(4, 4))


def split(count: int, seed: int, *, multi_label: bool = False) -> ImageSplit:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (count,), generator=generator)
    return ImageSplit(
        images=torch.randint(256, (count, 3, 8, 8), generator=generator, dtype=torch.uint8),
        labels=F.one_hot(labels, 3).float() if multi_label else labels,
        ids=tuple(map(str, range(count))),
    )
