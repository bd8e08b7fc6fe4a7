"""What a cell of the analysis of barriers measures on a set of instances. Imported when measuring."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from transferscope.analyses.barriers.path import (
    NO_BATCH_NORM,
    calibration_inputs,
    check_stored,
    chosen_images,
)
from transferscope.analyses.barriers.tables import AVERAGED, BEST, ENSEMBLE, MEAN
from transferscope.analyses.contract import CellData, Row, Subject
from transferscope.metrics.evaluation.scores import is_multi_label
from transferscope.metrics.evaluation.states import batch_norm_statistics
from transferscope.metrics.landscape.averaging import (
    Compared,
    averaged_logits,
    compared_with_mean,
    ensemble_logits,
)
from transferscope.metrics.landscape.basin import basin
from transferscope.metrics.landscape.distance import mean_distance
from transferscope.metrics.landscape.plane import ANCHORS, PlanePoint, plane
from transferscope.metrics.landscape.span import SpanBatchNorm

if TYPE_CHECKING:
    from transferscope.analyses.barriers.analysis import Settings


def measure_set(
    subjects: Mapping[str, Subject], data: CellData, settings: Settings, generator: torch.Generator
) -> dict[str, list[Row]]:
    """Rows of `barriers_basin` and `barriers_averaging` for the instances of one kind.

    Args:
        subjects: two or more instances by name, all trained on these data.
        data: of their target.
        settings: the analysis's.
        generator: of points, noise and resamples.
    """
    networks = list(subjects.values())
    return {
        "barriers_basin": [_basin_row(networks, data, settings, generator)],
        "barriers_averaging": _averaging_rows(networks, data, settings, generator),
    }


def _basin_row(
    networks: Sequence[Subject], data: CellData, settings: Settings, generator: torch.Generator
) -> Row:
    model, test = networks[0].model(), data.test.first(settings.basin_images)
    norm = _mean_norm(model, networks)
    found = basin(
        model,
        [network.state for network in networks],
        (test.inputs, test.labels),
        delta=settings.delta_relative * norm if settings.delta is None else settings.delta,
        epsilon=settings.basin_epsilon,
        draws=settings.basin_draws,
        points=settings.basin_points,
        batch_norm=_policy(model, settings),
        calibration=calibration_inputs(model, data, settings),
        generator=generator,
    )
    return {
        "num_instances": found.num_states,
        "epsilon": found.epsilon,
        "epsilon_chosen": found.epsilon_source,
        "delta": found.delta,
        "delta_chosen": f"{settings.delta_relative:g} x mean norm" if settings.delta is None else "given",
        "mean_norm": norm,
        "mean_distance": mean_distance([network.state for network in networks]),
        "mu": found.mu,
        "mu_se": found.mu_se,
        "deviation": found.deviation,
        "deviation_se": found.deviation_se,
        "noise_loss": found.noise_loss,
        "noise_loss_se": found.noise_loss_se,
        "ray_loss": found.ray_loss,
        "ray_loss_se": found.ray_loss_se,
        "wall": found.wall,
        "margin": found.margin,
        "condition_i": found.condition_i,
        "condition_ii": found.condition_ii,
        "condition_iii": found.condition_iii,
        "is_basin": found.is_basin,
        "points": found.points,
        "draws": found.draws,
        "batch_norm": _said_policy(model, settings),
        "n": found.n,
    }


def _mean_norm(model: nn.Module, networks: Sequence[Subject]) -> float:
    """Mean L2 norm of the networks' parameters, the head included."""
    names = [name for name, _ in model.named_parameters()]
    norms = [
        math.hypot(*(float(torch.linalg.vector_norm(state[name].double())) for name in names))
        for state in (network.state for network in networks)
    ]
    return math.fsum(norms) / len(norms)


def _averaging_rows(
    networks: Sequence[Subject], data: CellData, settings: Settings, generator: torch.Generator
) -> list[Row]:
    model, test = networks[0].model(), chosen_images(data.test, settings.num_images)
    averaged = averaged_logits(
        model,
        [network.state for network in networks],
        test.inputs,
        batch_norm=_policy(model, settings),
        calibration=calibration_inputs(model, data, settings),
    )
    singles = [network.test_logits[: len(test.labels)].cpu() for network in networks]
    candidates = {
        AVERAGED: averaged,
        BEST: singles[_best(networks)],
        ENSEMBLE: ensemble_logits(singles, multi_label=is_multi_label(test.labels)),
    }
    compared = compared_with_mean(
        list(candidates.values()),
        singles,
        test.labels.cpu(),
        draws=settings.bootstrap_draws,
        generator=generator,
    )
    shared = {
        "num_instances": len(networks),
        "batch_norm": _said_policy(model, settings),
        "n": len(test.labels),
    }
    rows = [
        {"what": what, **_gains(found), **shared} for what, found in zip(candidates, compared, strict=True)
    ]
    mean = {
        "loss": rows[0]["loss"] + rows[0]["loss_gain"],
        "metric": rows[0]["metric"] - rows[0]["metric_gain"],
    }
    nothing = dict.fromkeys(f"{value}_gain{end}" for value in mean for end in ("", "_low", "_high"))
    return [rows[0], {"what": MEAN, **mean, **nothing, **shared}, *rows[1:]]


def _gains(found: Compared) -> Row:
    return {
        "loss": found.loss,
        "loss_gain": found.loss_gain.estimate,
        "loss_gain_low": found.loss_gain.low,
        "loss_gain_high": found.loss_gain.high,
        "metric": found.metric,
        "metric_gain": found.metric_gain.estimate,
        "metric_gain_low": found.metric_gain.low,
        "metric_gain_high": found.metric_gain.high,
    }


def _best(networks: Sequence[Subject]) -> int:
    """The instance with the largest training metric at the end, the first of equals: no test image has a say."""
    finals = [network.history.filter(epoch=network.epoch)["train_metric"].item() for network in networks]
    return max(range(len(finals)), key=lambda index: finals[index])


def measure_plane(
    subjects: Mapping[str, Subject], data: CellData, settings: Settings
) -> dict[str, list[Row]]:
    """Rows of `barriers_plane`: the grid, then what is marked.

    Args:
        subjects: by name; the plane goes through the first three, the others are projected onto it.
        data: of their target.
        settings: the analysis's.

    Raises:
        TaskFailed: an instance has another loss than its stored predictions.
    """
    names, networks = list(subjects), list(subjects.values())
    model, test = networks[0].model(), data.test.first(settings.plane_images)
    found = plane(
        model,
        [network.state for network in networks[:ANCHORS]],
        (test.inputs, test.labels),
        others=[network.state for network in networks[ANCHORS:]],
        size=settings.plane_size,
        margin=settings.plane_margin,
        batch_norm=_policy(model, settings),
        calibration=calibration_inputs(model, data, settings),
    )
    for name, network, evaluation in zip(names, networks, found.anchor_evaluations, strict=False):
        if _policy(model, settings) == "interpolate" and network.epoch:
            check_stored(evaluation.losses, network, test.labels, name)
    shared = {"batch_norm": _said_policy(model, settings), "n": found.n}
    rows = [_place(None, point) for point in found.grid]
    rows += [_place(name, point) for name, point in zip(names, found.anchors, strict=False)]
    rows += [
        {**_place(name, point), "loss": None, "metric": None}
        for name, point in zip(names[ANCHORS:], found.others, strict=True)
    ]
    return {"barriers_plane": [{**row, **shared} for row in rows]}


def _place(name: str | None, point: PlanePoint) -> Row:
    return {
        "instance": name,
        "x": point.x,
        "y": point.y,
        "off_plane": point.off_plane,
        "loss": point.loss,
        "metric": point.metric,
    }


def _policy(model: nn.Module, settings: Settings) -> SpanBatchNorm:
    """Where no end is nearer, statistics can't be kept; where there are none, nothing is re-estimated."""
    has_batch_norm = bool(batch_norm_statistics(model))
    return "re-estimate" if settings.batch_norm == "re-estimate" and has_batch_norm else "interpolate"


def _said_policy(model: nn.Module, settings: Settings) -> str:
    return _policy(model, settings) if batch_norm_statistics(model) else NO_BATCH_NORM
