"""Places on a simplex in barycentric coordinates: random ones, and where a ray leaves it."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def uniform(count: int, num_states: int, generator: torch.Generator) -> Tensor:
    """(count, num_states) float64, uniform on the simplex: exponentials over their sum."""
    drawn = torch.rand(count, num_states, generator=generator, device=generator.device, dtype=torch.float64)
    exponentials = -torch.log1p(-drawn.cpu())
    return exponentials / exponentials.sum(1, keepdim=True)


def spread(count: int, num_states: int, generator: torch.Generator) -> Tensor:
    """(count, num_states) float64, uniform on the simplex; on a segment one in each of `count` equal parts."""
    if num_states > 2:
        return uniform(count, num_states, generator)
    second = one_in_each_part(count, generator)
    return torch.stack([1 - second, second], 1)


def one_in_each_part(count: int, generator: torch.Generator) -> Tensor:
    """(count,) float64 in [0, 1), ascending: one number, uniform, in each of `count` equal parts."""
    drawn = torch.rand(count, generator=generator, device=generator.device, dtype=torch.float64).cpu()
    return (torch.arange(count) + drawn) / count


def exit_of(start: Tensor, through: Tensor) -> Tensor:
    """Where the ray leaves the simplex: the farthest place without a negative coordinate."""
    direction = through - start
    steps = torch.where(direction < 0, -start / direction, math.inf)
    return (start + steps.min() * direction).clamp_min(0)
