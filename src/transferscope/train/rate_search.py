"""The choice of a learning rate among those searched. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from transferscope.core.errors import TaskFailed


def best_rate(metrics: Mapping[float, Sequence[float]]) -> float:
    """The rate with the highest mean metric; the smallest one in case of a tie.

    Args:
        metrics: by rate, the held-out metric at the last epoch of each network trained with it; NaN if the
            training diverged. A rate with a diverged training is worse than any rate without.

    Raises:
        TaskFailed: no rate has a mean.
    """
    means = mean_metrics(metrics)
    known = [rate for rate, mean in means.items() if not math.isnan(mean)]
    if not known:
        tried = ", ".join(f"{rate:g}" for rate in sorted(means))
        raise TaskFailed(
            f"the search found no rate: at each of {tried} a training diverged, or the metric is not defined on the "
            "held-out images. Give lower rates in training.rate_search.rates, set clip_norm, or hold out more images."
        )
    return min(known, key=lambda rate: (-means[rate], rate))


def mean_metrics(metrics: Mapping[float, Sequence[float]]) -> dict[float, float]:
    """The mean of each rate's metrics, independent of their order; NaN if one of them is NaN."""
    return {rate: math.fsum(values) / len(values) for rate, values in metrics.items()}
