"""Random numbers of the drawn images.

All images are drawn in float64. PyTorch's normal random numbers in float32, and sums in float32, depend on the
processor in their last digits, which is enough for a few of the rounded pixels to differ from machine to machine.
"""

from __future__ import annotations

import torch
from torch import Tensor


def uniform(low: float, high: float, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """A float64 tensor with numbers between `low` and `high`."""
    return torch.rand(shape, generator=generator, dtype=torch.float64).mul_(high - low).add_(low)


def normal(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """A float64 tensor with numbers from the standard normal distribution."""
    return torch.randn(shape, generator=generator, dtype=torch.float64)
