"""Intervals: Student t over seeds, paired bootstrap over test images."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy import stats
from torch import Tensor

from transferscope.core.errors import BadInput
from transferscope.metrics.inputs.arguments import generator_of, real_number, whole_number

ROUNDING = 1e-12
"""Differences below this, relative to the size of the numbers involved, come from the order of summation: that can
move a sum of n float64 numbers by about n * 1.1e-16 of their size, and sums over seeds have far below 9,000."""
WEIGHTS_AT_ONCE = 2**22
"""Numbers in one block of bootstrap weights: 32 MiB of float64."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate with its interval."""

    estimate: float
    low: float
    """Lower end; NaN where there is no interval."""
    high: float
    n: int
    """Values behind the estimate."""
    level: float = 0.95


def t_interval(
    values: Sequence[float] | ArrayLike | Tensor, level: float = 0.95, *, scale: float = 0.0
) -> Interval:
    """Mean over seeds with its Student t interval: mean +- t_{(1 + level) / 2, n - 1} * s / sqrt(n).

    Args:
        values: (n,) one number a seed.
        level: coverage, inside (0, 1).
        scale: size of the numbers that the values were computed from, where they may be far smaller themselves,
            as differences of equal numbers are.

    Returns:
        The mean and the ends, in the unit of the values. No value: all NaN. One value, or all the same: ends NaN,
        as a few equal numbers don't say how much others would vary. A value that is NaN makes all three NaN.

    Raises:
        BadInput: not one-dimensional, or a level outside (0, 1).

    >>> interval = t_interval([0.8, 0.9, 1.0])
    >>> round(interval.estimate, 3), round(interval.low, 3), round(interval.high, 3)
    (0.9, 0.652, 1.148)
    """
    check_level(level)
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1:
        raise BadInput(f"Expected one number a seed, shape (n,), got shape {numbers.shape}.")
    n = len(numbers)
    mean = float(numbers.mean()) if n else math.nan
    half = math.nan
    if n > 1 and np.isfinite(numbers).all():
        spread = float(numbers.std(ddof=1))
        # equal numbers differ from their mean in the last bits
        if spread > ROUNDING * max(scale, float(np.abs(numbers).max())):
            half = float(stats.t.ppf((1 + level) / 2, n - 1)) * spread / math.sqrt(n)
    return Interval(estimate=mean, low=mean - half, high=mean + half, n=n, level=level)


def bootstrap_interval(
    values: Tensor,
    baseline: Tensor | None = None,
    *,
    level: float = 0.95,
    draws: int = 1000,
    generator: torch.Generator | None = None,
) -> Interval:
    """Percentile bootstrap over test images of a mean, or of the difference of two means, paired by image.

    The estimate is mean(values) or mean(values - baseline); its interval runs between the (1 -+ level) / 2
    quantiles of the same mean over `draws` resamples of the n images with replacement (Efron 1979). Both
    models are seen on the same resampled images. It speaks of other test images, not of other seeds.

    Args:
        values: (n,) one number a test image, such as its loss or whether it is right.
        baseline: (n,) the values of another model on the same images in the same order.
        level: coverage, inside (0, 1).
        draws: resamples.
        generator: of the resamples; one with seed 0 by default.

    Returns:
        In the unit of the values; NaN where a value is NaN or n is 0.

    Raises:
        BadInput: shapes that don't match, no draws, a level outside (0, 1).

    >>> import torch
    >>> right = torch.tensor([1.0] * 80 + [0.0] * 20)
    >>> interval = bootstrap_interval(right, generator=torch.Generator().manual_seed(1))
    >>> round(interval.estimate, 2), 0.70 < interval.low < 0.74, 0.86 < interval.high < 0.90
    (0.8, True, True)
    """
    if values.ndim != 1 or (baseline is not None and baseline.shape != values.shape):
        came = [tuple(values.shape), *([] if baseline is None else [tuple(baseline.shape)])]
        raise BadInput(
            f"Expected one number an image, shape (n,), the same images for both models, got {came}."
        )
    numbers = values.double().cpu() - (0 if baseline is None else baseline.double().cpu())
    if not len(numbers):
        return Interval(estimate=math.nan, low=math.nan, high=math.nan, n=0, level=level)
    means = torch.cat([weights @ numbers for weights in resampling_weights(len(numbers), draws, generator)])
    low, high = percentile_ends(means, level).tolist()
    return Interval(estimate=float(numbers.mean()), low=low, high=high, n=len(numbers), level=level)


def resampling_weights(n: int, draws: int, generator: torch.Generator | None = None) -> Iterator[Tensor]:
    """Weights of `draws` resamples of n examples, in blocks: (some draws, n) float64, rows sum to 1."""
    draws = whole_number(draws, "draws")
    if draws < 1:
        raise BadInput(f"A bootstrap needs at least 1 draw, got {draws}.")
    source = generator_of(generator)
    block = max(1, WEIGHTS_AT_ONCE // n)
    for start in range(0, draws, block):
        count = min(block, draws - start)
        drawn = torch.randint(n, (count, n), generator=source, device=source.device).cpu()
        ones = torch.full((count, n), 1 / n, dtype=torch.float64)
        yield torch.zeros(count, n, dtype=torch.float64).scatter_add_(1, drawn, ones)


def percentile_ends(replicates: Tensor, level: float, dim: int = 0) -> Tensor:
    """The (1 -+ level) / 2 quantiles over `dim`, stacked in front; NaN where a replicate is NaN."""
    check_level(level)
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=replicates.dtype)
    return replicates.quantile(ends, dim=dim)


def check_level(level: float) -> None:
    """Raises BadInput for a level outside (0, 1)."""
    if not 0 < real_number(level, "level") < 1:
        raise BadInput(f"A level lies between 0 and 1, such as 0.95, got {level}.")
