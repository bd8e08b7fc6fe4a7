"""The processes that share one training: each takes its part of every batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor

PATIENCE = timedelta(days=1)
"""How long the others wait for what one does alone; a process that dies is noticed by who started it."""


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """This process among those of a process group of `torch.distributed`."""

    rank: int = 0
    count: int = 1

    @classmethod
    def joined(cls) -> Ranks:
        """The process group that this process is in; alone where there is none."""
        # asked first: importing torch.distributed's own modules would cost every small training time
        if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            return ALONE
        return cls(rank=torch.distributed.get_rank(), count=torch.distributed.get_world_size())

    @property
    def is_first(self) -> bool:
        """Whether this process keeps and stores what all of them trained."""
        return self.rank == 0

    def own(self, rows: Tensor) -> Tensor:
        """This process's part of some rows, up to one row as many as the others'."""
        return rows if self.count == 1 else rows.tensor_split(self.count)[self.rank]

    def own_chunks(self, chunks: Sequence[Tensor]) -> Sequence[Tensor]:
        """Every so manieth of some chunks."""
        return chunks[self.rank :: self.count]

    def total(self, tensor: Tensor) -> Tensor:
        """The sum of what all processes have, in all of them."""
        if self.count == 1:
            return tensor
        total = tensor.clone()
        torch.distributed.all_reduce(total)
        return total

    def all_rows(self, tensor: Tensor) -> list[Tensor]:
        """What each process has, (n_r, ...) with its own n_r; the other axes are the same in all."""
        if self.count == 1:
            return [tensor]
        lengths = torch.zeros(self.count, dtype=torch.int64, device=tensor.device)
        lengths[self.rank] = len(tensor)
        torch.distributed.all_reduce(lengths)
        longest = int(lengths.max())
        padded = tensor.new_zeros((longest, *tensor.shape[1:]))
        padded[: len(tensor)] = tensor
        parts = [torch.empty_like(padded) for _ in range(self.count)]
        torch.distributed.all_gather(parts, padded)
        return [part[:length] for part, length in zip(parts, lengths.tolist(), strict=True)]

    def told(self, number: int, device: torch.device) -> int:
        """What the first process says."""
        if self.count == 1:
            return number
        said = torch.tensor(number, device=device)
        torch.distributed.broadcast(said, src=0)
        return int(said)


ALONE = Ranks()
"""A training of one process."""
