"""How far a training is: all that it needs to go on after an epoch as if it had never stopped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

State = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A training between two epochs."""

    facts: Mapping[str, Any]
    """Plain data, as JSON has it (and NaN)."""
    states: Mapping[str, State]
    """Tensors on the CPU, contiguous and each with memory of its own. What a name stands for never changes within
    a training: a checkpoint that was written once need not be written again."""


class Snapshots(Protocol):
    """Where a training notes how far it is."""

    def newest(self) -> Snapshot | None:
        """The last one that is whole, if any."""
        ...

    def is_due(self) -> bool:
        """Whether enough time has passed since the last one."""
        ...

    def write(self, snapshot: Snapshot) -> None:
        """Replace the last one."""
        ...


def copied(tensors: Mapping[str, Tensor]) -> State:
    """Copies on the CPU, contiguous: what is stored doesn't depend on the memory format."""
    return {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> State:
    """The tensors under longer names."""
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def unprefixed(prefix: str, tensors: Mapping[str, Tensor]) -> State:
    """Those whose names begin so, under the rest of their names."""
    start = f"{prefix}/"
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
