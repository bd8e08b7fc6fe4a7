"""What a cell of the analysis of barriers measures on a pair. Imported when measuring."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from transferscope.analyses.contract import CellData, Row, Split, Subject
from transferscope.core.errors import TaskFailed
from transferscope.metrics.evaluation.scores import per_example_loss
from transferscope.metrics.evaluation.states import batch_norm_statistics
from transferscope.metrics.landscape.interpolation import barrier_intervals, path_losses, path_table

if TYPE_CHECKING:
    from transferscope.analyses.barriers.analysis import Settings

NO_BATCH_NORM = "none"
TOLERANCE = 1e-3
"""How far the mean loss of a network may be from that of its stored predictions, relative to losses above 1.

The same network on another device, or in batches of another size, differs in the last digits of float32, and by up to
about 1e-3 where one of the two multiplies in TF32. Other weights, images or buffers change a loss by far more.
"""


def measure_path(
    subjects: Mapping[str, Subject], data: CellData, settings: Settings, generator: torch.Generator
) -> dict[str, list[Row]]:
    """Rows of `barriers`, one a definition, and of `barriers_curves`.

    Args:
        subjects: "a", trained on these data, and "b" too; or "b elsewhere", trained on others.
        data: of the first one's target.
        settings: the analysis's.
        generator: of the resamples.

    Raises:
        TaskFailed: a network that was trained on these data has another loss than its stored predictions.
    """
    (_, a), (role, b) = subjects.items()
    test = chosen_images(data.test, settings.num_images)
    model = a.model()
    has_batch_norm = bool(batch_norm_statistics(model))
    path = path_losses(
        model,
        a.state,
        b.state,
        (test.inputs, test.labels),
        alphas=settings.alphas,
        batch_norm=settings.batch_norm if has_batch_norm else "keep",
        calibration=calibration_inputs(model, data, settings),
    )
    raw = {alpha: path.stored[alpha] for alpha in (0.0, 1.0)}
    check_stored(raw[0.0].losses, a, test.labels, "a")
    if role == "b":
        check_stored(raw[1.0].losses, b, test.labels, "b")
    curve = path_table(path)
    on_path = {row["alpha"]: row for row in curve.iter_rows(named=True)}
    shared = {
        f"{value}_{name}": on_path[alpha][value]
        for value in ("loss", "metric")
        for name, alpha in (("a", 0.0), ("midpoint", 0.5), ("b", 1.0))
    }
    for name, alpha in (("a", 0.0), ("b", 1.0)):
        shared |= {f"loss_{name}_raw": raw[alpha].loss, f"metric_{name}_raw": raw[alpha].metric}
    shared |= {"epoch_a": a.epoch, "epoch_b": b.epoch}
    shared |= {"batch_norm": settings.batch_norm if has_batch_norm else NO_BATCH_NORM, "n": len(test.labels)}
    found = barrier_intervals(path, draws=settings.bootstrap_draws, generator=generator)
    rows = [
        {
            "definition": definition,
            "barrier_loss": height.loss.estimate,
            "barrier_loss_low": height.loss.low,
            "barrier_loss_high": height.loss.high,
            "barrier_loss_bias": height.loss_bias,
            "barrier_metric": height.metric.estimate,
            "barrier_metric_low": height.metric.low,
            "barrier_metric_high": height.metric.high,
            "barrier_metric_bias": height.metric_bias,
            "interior_drop_metric": interior_drop(
                {alpha: row["metric"] for alpha, row in on_path.items()}, definition
            ),
            "alpha_at_loss": height.alpha_at_loss,
            "alpha_at_metric": height.alpha_at_metric,
            **shared,
        }
        for definition, height in found.items()
    ]
    return {"barriers": rows, "barriers_curves": curve.select("alpha", "loss", "metric").to_dicts()}


def interior_drop(metrics: Mapping[float, float], definition: str) -> float:
    """Largest drop of the metric strictly between the ends; negative where it stays above them.

    Unlike the barrier it is not at least 0, so that pairs without a barrier differ.

    Args:
        metrics: by place on the path; 0, 1 and a place between them must be there.
        definition: line: below the line between the ends; mean: below their mean.

    Returns:
        NaN where a metric is.
    """
    drops = []
    for alpha, metric in metrics.items():
        if 0 < alpha < 1:
            share = alpha if definition == "line" else 0.5
            drops.append((1 - share) * metrics[0] + share * metrics[1] - metric)
    return math.nan if any(map(math.isnan, drops)) else max(drops)


def chosen_images(split: Split, count: int | None) -> Split:
    """The first so many images, or all."""
    return split if count is None else split.first(count)


def calibration_inputs(model: nn.Module, data: CellData, settings: Settings) -> Tensor | None:
    """Training images for re-estimating BatchNorm; None where there is nothing to re-estimate."""
    if settings.batch_norm != "re-estimate" or not batch_norm_statistics(model):
        return None
    return data.train.first(settings.calibration_images).inputs


def check_stored(losses: Tensor, subject: Subject, labels: Tensor, name: str) -> None:
    """Raise TaskFailed unless the mean of these losses is that of the network's stored test predictions.

    A path whose ends are not the networks themselves (buffers left behind, images in another order) would give
    barriers that mean nothing.

    Args:
        losses: (n,) of the network as measured here, with its own running statistics.
        subject: the network, evaluated directly when it was trained.
        labels: (n,) or (n, k) of the first n test images.
        name: how the error calls the network.
    """
    direct = float(per_example_loss(subject.test_logits[: len(labels)], labels).mean())
    here = float(losses.mean())
    both_lost = math.isnan(direct) and math.isnan(here)
    if not (both_lost or abs(here - direct) <= TOLERANCE * max(1.0, abs(direct))):
        raise TaskFailed(
            f"the test loss of {name} is {here:.8g} on the path, but {direct:.8g} by its stored predictions: the "
            "weights, the images or their order are not those that it was evaluated with"
        )
