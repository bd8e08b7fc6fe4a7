"""Snapshots of a training: everything it needs to resume after an epoch as if it had never stopped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

State = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The state of a training between two epochs."""

    facts: Mapping[str, Any]
    """Plain data that JSON can represent, plus NaN."""
    states: Mapping[str, State]
    """Tensors on the CPU, contiguous, without shared memory. The tensor of a name never changes during a training, so a
    checkpoint needs to be written only once."""


class Snapshots(Protocol):
    """Storage of the snapshots of one training."""

    def newest(self) -> Snapshot | None:
        """The newest complete snapshot, or None."""
        ...

    def is_due(self) -> bool:
        """True if enough time has passed since the last snapshot."""
        ...

    def write(self, snapshot: Snapshot) -> None:
        """Replace the last snapshot."""
        ...


def copied(tensors: Mapping[str, Tensor]) -> State:
    """Contiguous copies on the CPU, so that stored tensors don't depend on the memory format."""
    return {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> State:
    """The tensors with `prefix` added to their names."""
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def unprefixed(prefix: str, tensors: Mapping[str, Tensor]) -> State:
    """The tensors whose names start with `prefix`, with the prefix removed."""
    start = f"{prefix}/"
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
