"""The block shuffle against the unfold, permute, fold of the paper's code, on 32 x 3 x 224 x 224 numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import fold, unfold

from benchmarks.measure import Candidate, Case, Disagreement, Result, Size, compare_all
from benchmarks.networks import images
from transferscope.data.shuffle import block_shuffle

JOB = "shuffle"
OURS, OURS_UINT8, PAPER = "block_shuffle", "uint8 block_shuffle, as in a study", "unfold and fold"
SEED = 1234


def run(size: Size, rounds: int) -> Result:
    return compare_all(JOB, cases(size), size, rounds)


def cases(size: Size) -> Iterator[Case]:
    n, side = (32, 224) if size == "full" else (2, 56)
    pixels = (images(n, side) * 40 + 128).clamp(0, 255).byte()
    batch = pixels.float()
    for block in (1, 2, 4, 7, 8, 14, 16, 28, 32, 56, 112):
        if side % block == 0:
            theirs = PapersShuffle(side, block)
            yield Case(
                name=f"{block} px",
                ours=[
                    Candidate(name=OURS, run=lambda block=block: block_shuffle(batch, block, seed=SEED)),
                    Candidate(
                        name=OURS_UINT8, run=lambda block=block: block_shuffle(pixels, block, seed=SEED)
                    ),
                ],
                peers=[
                    Candidate(name=PAPER, run=lambda theirs=theirs: torch.stack([theirs(x) for x in batch]))
                ],
                agree=_to_the_bit,
            )
    yield Case(
        name="any size: the floor",
        ours=[Candidate(name="a plain copy of the floats", run=batch.clone)],
        peers=[],
        agree=lambda _: "nothing to compare",
    )


class PapersShuffle:
    """As the paper's code does it, an image at a time; the order is drawn once."""

    def __init__(self, size_px: int, block: int) -> None:
        self._size_px, self._block = size_px, block
        self._order = torch.from_numpy(np.random.RandomState(SEED).permutation((size_px // block) ** 2))

    def __call__(self, image: Tensor) -> Tensor:
        columns = unfold(image[None], kernel_size=self._block, stride=self._block)
        size = (self._size_px, self._size_px)
        return fold(columns[..., self._order], size, kernel_size=self._block, stride=self._block)[0]


def _to_the_bit(found: Mapping[str, Tensor]) -> str:
    for name in (OURS, OURS_UINT8):
        if not torch.equal(found[name].float(), found[PAPER]):
            raise Disagreement(f"{name}: the shuffled images differ")
    return "equal to the bit"
