"""The processes that share one training: each takes its part of every batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor

PATIENCE = timedelta(days=1)
"""Maximum time to wait for work that one process does alone; a process that dies is detected by its parent."""


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """The rank of this process in a process group of `torch.distributed`."""

    rank: int = 0
    count: int = 1

    @classmethod
    def joined(cls) -> Ranks:
        """The process group of this process; a group of one if there is none."""
        # asked first: importing torch.distributed's own modules would cost every small training time
        if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            return ALONE
        return cls(rank=torch.distributed.get_rank(), count=torch.distributed.get_world_size())

    @property
    def is_first(self) -> bool:
        """True if this process stores the result of the common training."""
        return self.rank == 0

    def own(self, rows: Tensor) -> Tensor:
        """This process's share of the rows; the shares of all processes differ by at most one row."""
        return rows if self.count == 1 else rows.tensor_split(self.count)[self.rank]

    def own_chunks(self, chunks: Sequence[Tensor]) -> Sequence[Tensor]:
        """Every `count`-th chunk, starting at this rank."""
        return chunks[self.rank :: self.count]

    def total(self, tensor: Tensor) -> Tensor:
        """The sum over all processes, returned to each of them."""
        if self.count == 1:
            return tensor
        total = tensor.clone()
        torch.distributed.all_reduce(total)
        return total

    def all_rows(self, tensor: Tensor) -> list[Tensor]:
        """The tensors (n_r, ...) of all processes, in order; n_r may differ, the other axes are equal."""
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
        """The value of the first process, sent to all others."""
        if self.count == 1:
            return number
        value = torch.tensor(number, device=device)
        torch.distributed.broadcast(value, src=0)
        return int(value)


ALONE = Ranks()
"""A training of one process."""
