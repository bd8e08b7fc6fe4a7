"""Loss along the straight path between two networks, and the barrier on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl
import torch
from torch import Tensor, nn

from transferscope.core.errors import BadInput
from transferscope.metrics.evaluation.evaluate import Data
from transferscope.metrics.evaluation.resampled_auc import resampled_auc
from transferscope.metrics.inputs.guard import guarded
from transferscope.metrics.inputs.state_dicts import State
from transferscope.metrics.landscape.path import BatchNormPolicy, Path, path_losses
from transferscope.metrics.statistics.intervals import Interval, percentile_ends, resampling_weights

__all__ = [
    "Barrier",
    "BarrierInterval",
    "Path",
    "barrier",
    "barrier_interval",
    "barrier_intervals",
    "interpolate",
    "path_losses",
    "path_table",
]

Definition = Literal["line", "mean"]
DEFINITIONS: tuple[Definition, ...] = ("line", "mean")


@dataclass(frozen=True, kw_only=True)
class Barrier:
    """Height of the barrier between two networks."""

    loss: float
    """Rise of the loss, in nats."""
    metric: float
    """Drop of the accuracy or mean AUC, as a fraction of 1."""
    alpha_at_loss: float
    """Where the loss rises most; NaN where the barrier is."""
    alpha_at_metric: float
    """Where the metric drops most; NaN where the barrier is."""
    definition: Definition


@dataclass(frozen=True, kw_only=True)
class BarrierInterval:
    """Barrier with bootstrap intervals over the examples."""

    loss: Interval
    metric: Interval
    loss_bias: float
    """Mean over the resamples minus the estimate: a maximum is biased upward where examples are few."""
    metric_bias: float
    alpha_at_loss: float
    """Where the loss rises most; NaN where the barrier is."""
    alpha_at_metric: float
    definition: Definition


@guarded
def interpolate(
    model: nn.Module,
    a: State,
    b: State,
    data: Data,
    *,
    alphas: Sequence[float],
    batch_norm: BatchNormPolicy = "keep",
    calibration: Tensor | None = None,
    batch_size: int = 256,
) -> pl.DataFrame:
    """Loss and metric at the weights (1 - alpha) a + alpha b: `path_losses` as a curve.

    Args:
        model, a, b, data, alphas, batch_norm, calibration, batch_size: as for `path_losses`.

    Returns:
        One row per alpha, in the order given. Columns: alpha; loss (mean, in nats); metric (accuracy or mean
        AUC, in [0, 1]); n; batch_norm; stored_loss, stored_metric (at alpha 0 and 1, with the running
        statistics of the checkpoint: other than loss and metric under "re-estimate" alone; null elsewhere).

    Raises:
        BadInput: as `path_losses`.

    >>> import torch
    >>> net = torch.nn.Linear(1, 2, bias=False)
    >>> a, b = {"weight": torch.tensor([[-2.0], [0.0]])}, {"weight": torch.tensor([[2.0], [0.0]])}
    >>> curve = interpolate(net, a, b, (torch.ones(1, 1), torch.tensor([0])), alphas=[0, 1])
    >>> curve["metric"].to_list()
    [0.0, 1.0]
    """
    path = path_losses(
        model,
        a,
        b,
        data,
        alphas=alphas,
        batch_norm=batch_norm,
        calibration=calibration,
        batch_size=batch_size,
    )
    return path_table(path)


def path_table(path: Path) -> pl.DataFrame:
    """The curve of a path: the columns of `interpolate`."""
    points = [path.at(index) for index in range(len(path.alphas))]
    ends = [path.stored.get(alpha) for alpha in path.alphas]
    return pl.DataFrame(
        {
            "alpha": path.alphas,
            "loss": [point.loss for point in points],
            "metric": [point.metric for point in points],
            "n": [len(path.labels)] * len(points),
            "batch_norm": [path.batch_norm] * len(points),
            "stored_loss": pl.Series([end and end.loss for end in ends], dtype=pl.Float64),
            "stored_metric": pl.Series([end and end.metric for end in ends], dtype=pl.Float64),
        }
    )


@guarded
def barrier(curve: pl.DataFrame, *, definition: Definition = "line") -> Barrier:
    """Height of the barrier on a curve, over alpha in [0, 1].

    - "line": max over alpha of loss(alpha) - ((1 - alpha) loss(0) + alpha loss(1)) (Entezari, Sedghi,
      Saukh, Neyshabur 2022, definition 1); at least 0, as both ends give 0.
    - "mean": max over alpha of loss(alpha) - (loss(0) + loss(1)) / 2 (Frankle, Dziugaite, Roy, Carbin 2020,
      section 2, who do so for the error; called stable below 0.02 there); ends of different loss alone give
      half their difference.

    The metric's barrier is its drop below the same reference. A maximum over a grid misses what lies between
    its places, and is biased upward where images are few: see `barrier_interval`.

    Args:
        curve: one curve, with columns alpha, loss, metric, among them alpha 0 and 1; see `interpolate`.
        definition: see above.

    Returns:
        Rise of the loss in nats, drop of the metric as a fraction of 1, and where; NaN where a value on
        [0, 1] is NaN.

    Raises:
        BadInput: alpha 0 or 1 is lacking, an alpha comes twice, an unknown definition.

    >>> import polars as pl
    >>> curve = pl.DataFrame({"alpha": [0.0, 0.5, 1.0], "loss": [0.1, 0.9, 0.3], "metric": [0.9, 0.6, 0.8]})
    >>> height = barrier(curve)
    >>> round(height.loss, 3), round(height.metric, 3), height.alpha_at_loss
    (0.7, 0.25, 0.5)
    """
    _check_curve(curve)
    alphas = _inside(curve["alpha"].to_list(), definition)
    inside = curve.filter(pl.col("alpha").is_between(0, 1))
    highest = []
    for values in (inside["loss"], -inside["metric"]):
        numbers = values.cast(pl.Float64).fill_null(math.nan).to_numpy(writable=True)
        highest.append(_heights(torch.from_numpy(numbers), alphas, definition).max(0))
    loss, metric = (float(found.values) for found in highest)
    places = [math.nan if found.values.isnan() else float(alphas[found.indices]) for found in highest]
    return Barrier(
        loss=loss, metric=metric, alpha_at_loss=places[0], alpha_at_metric=places[1], definition=definition
    )


@guarded
def barrier_interval(
    path: Path,
    *,
    definition: Definition = "line",
    level: float = 0.95,
    draws: int = 1000,
    generator: torch.Generator | None = None,
) -> BarrierInterval:
    """Percentile bootstrap of the barrier over the examples, paired: a resample is the same at all alphas.

    Args:
        path: see `path_losses`.
        definition: as for `barrier`.
        level: coverage, inside (0, 1).
        draws: resamples.
        generator: of the resamples; one with seed 0 by default.

    Returns:
        The barriers of loss and metric with their intervals, and how much the resamples' mean exceeds the
        estimate. A resample in which no label has both classes makes the metric's interval NaN.

    Raises:
        BadInput: as `barrier`, no draws, a level outside (0, 1).

    >>> import torch
    >>> losses = torch.tensor([[0.1, 0.2, 0.3], [0.9, 0.8, 0.7], [0.1, 0.2, 0.3]], dtype=torch.float64)
    >>> path = Path(alphas=(0.0, 0.5, 1.0), losses=losses, correct=(losses < 0.5).double(), logits=None,
    ...             labels=torch.zeros(3, dtype=torch.int64), batch_norm="keep", stored={})
    >>> interval = barrier_interval(path).loss
    >>> round(interval.estimate, 3), bool(interval.low < 0.6 < interval.high)
    (0.6, True)
    """
    return barrier_intervals(path, definitions=(definition,), level=level, draws=draws, generator=generator)[
        definition
    ]


@guarded
def barrier_intervals(
    path: Path,
    *,
    definitions: Sequence[Definition] = DEFINITIONS,
    level: float = 0.95,
    draws: int = 1000,
    generator: torch.Generator | None = None,
) -> dict[Definition, BarrierInterval]:
    """`barrier_interval` under several definitions, on the same resamples: at the cost of one.

    Args:
        path, level, draws, generator: as for `barrier_interval`.
        definitions: as for `barrier`.

    Returns:
        The barriers with their intervals, by definition.

    Raises:
        BadInput: as `barrier_interval`.

    >>> import torch
    >>> losses = torch.tensor([[0.1], [0.4], [0.5]], dtype=torch.float64)
    >>> path = Path(alphas=(0.0, 0.5, 1.0), losses=losses, correct=(losses < 0.3).double(), logits=None,
    ...             labels=torch.zeros(1, dtype=torch.int64), batch_norm="keep", stored={})
    >>> {name: round(found.loss.estimate, 3) for name, found in barrier_intervals(path).items()}
    {'line': 0.1, 'mean': 0.2}
    """
    curve = path_table(path)
    estimates = {name: barrier(curve, definition=name) for name in definitions}
    alphas = torch.tensor([alpha for alpha in path.alphas if 0 <= alpha <= 1], dtype=torch.float64)
    kept = [index for index, alpha in enumerate(path.alphas) if 0 <= alpha <= 1]
    heights: dict[Definition, list[Tensor]] = {name: [] for name in definitions}
    for weights in resampling_weights(len(path.labels), draws, generator):
        values = torch.stack([weights @ path.losses[kept].T, -_resampled_metric(path, kept, weights)])
        for name in definitions:
            heights[name].append(_heights(values, alphas, name).amax(-1))
    return {
        name: _with_intervals(estimates[name], torch.cat(heights[name], 1), len(path.labels), level)
        for name in definitions
    }


def _with_intervals(estimate: Barrier, replicates: Tensor, n: int, level: float) -> BarrierInterval:
    """Replicates (2, draws): of the loss, of the metric."""
    lows, highs = percentile_ends(replicates, level, dim=1).tolist()
    values = (estimate.loss, estimate.metric)
    loss, metric = (
        Interval(estimate=value, low=low, high=high, n=n, level=level)
        for value, low, high in zip(values, lows, highs, strict=True)
    )
    biases = [float(means) - value for means, value in zip(replicates.mean(1), values, strict=True)]
    return BarrierInterval(
        loss=loss,
        metric=metric,
        loss_bias=biases[0],
        metric_bias=biases[1],
        alpha_at_loss=estimate.alpha_at_loss,
        alpha_at_metric=estimate.alpha_at_metric,
        definition=estimate.definition,
    )


def _resampled_metric(path: Path, kept: Sequence[int], weights: Tensor) -> Tensor:
    """(draws, kept alphas) accuracy or mean AUC of the resamples."""
    if path.correct is not None:
        return weights @ path.correct[kept].T
    if path.logits is None:
        return torch.full((len(weights), len(kept)), math.nan, dtype=torch.float64)
    counts = (weights * len(path.labels)).round()
    return torch.stack(
        [resampled_auc(path.logits[index], path.labels, counts).nanmean(1) for index in kept], 1
    )


def _heights(values: Tensor, alphas: Tensor, definition: Definition) -> Tensor:
    """(..., num_alphas) values above the reference at each alpha of [0, 1]."""
    start, end = values[..., alphas == 0], values[..., alphas == 1]
    if definition == "mean":
        return values - (start + end) / 2
    return values - ((1 - alphas) * start + alphas * end)


def _check_curve(curve: pl.DataFrame) -> None:
    """Raises BadInput unless this is a table with the numbers of a curve."""
    if not isinstance(curve, pl.DataFrame):
        raise BadInput(
            f"curve is a polars.DataFrame with the columns alpha, loss and metric, as `interpolate` gives, got a "
            f"{type(curve).__name__}. Make one: polars.DataFrame(curve)."
        )
    wrong = [
        name
        for name in ("alpha", "loss", "metric")
        if name not in curve.columns or not (curve[name].dtype.is_numeric() or curve[name].dtype == pl.Null)
    ]
    if wrong:
        raise BadInput(f"curve lacks columns of numbers {wrong}; it has {curve.columns}.")


def _inside(alphas: Sequence[float], definition: Definition) -> Tensor:
    """The alphas of [0, 1], once they are known to make a curve."""
    if definition not in DEFINITIONS:
        raise BadInput(f"A barrier is defined over the 'line' or the 'mean', got {definition!r}.")
    if not {0.0, 1.0} <= set(alphas):
        raise BadInput(f"A barrier needs the curve at alpha 0 and 1, got {list(alphas)}; add them.")
    if len(set(alphas)) != len(alphas):
        raise BadInput("The curve holds an alpha more than once; give one curve at a time.")
    return torch.tensor([alpha for alpha in alphas if 0 <= alpha <= 1], dtype=torch.float64)
