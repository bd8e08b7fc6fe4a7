"""The loss on the plane through three networks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from transferscope.core.errors import BadInput
from transferscope.metrics.evaluation.evaluate import Data, Evaluation, check_data, evaluate
from transferscope.metrics.evaluation.forward_checks import check_forward
from transferscope.metrics.evaluation.states import aligned
from transferscope.metrics.inputs.arguments import network, real_number, states_of, whole_number
from transferscope.metrics.inputs.guard import guarded, lent
from transferscope.metrics.inputs.state_dicts import State
from transferscope.metrics.landscape.span import SpanBatchNorm, differences_gram, policy_problems, span_of

ANCHORS = 3
LINE = 1e-6
"""Height of the triangle over its sides below which three networks count as lying on one line."""


@dataclass(frozen=True, kw_only=True)
class PlanePoint:
    """One place on the plane; lengths are L2 distances of all parameters."""

    x: float
    y: float
    loss: float
    """Mean loss there, in nats; NaN where it was not measured."""
    metric: float
    """Accuracy or mean AUC there; NaN where it was not measured."""
    off_plane: float = 0.0
    """How far from the plane the network itself lies whose nearest place this is."""


@dataclass(frozen=True, kw_only=True)
class Plane:
    """The loss on the plane through three networks."""

    grid: tuple[PlanePoint, ...]
    """Row by row, x fastest, both rising by the same step."""
    anchors: tuple[PlanePoint, ...]
    """The three networks: the first at (0, 0), the second at (x, 0) with x > 0, the third with y > 0."""
    anchor_evaluations: tuple[Evaluation, ...]
    """What each of the three gives on the data."""
    others: tuple[PlanePoint, ...]
    """The nearest places of further networks; nothing is measured there."""
    n: int
    """Examples behind each loss."""


@guarded
def plane(
    model: nn.Module,
    anchors: Sequence[State],
    data: Data,
    *,
    others: Sequence[State] = (),
    size: int = 13,
    margin: float = 0.25,
    batch_norm: SpanBatchNorm = "interpolate",
    calibration: Tensor | None = None,
    batch_size: int = 256,
) -> Plane:
    """Mean loss and metric on a square grid of the plane through three networks w1, w2, w3.

    The axes are orthonormal in the space of all parameters, after Gram and Schmidt: e1 = (w2 - w1) / ||w2 -
    w1||, and e2 from w3 - w1 less its part along e1. So distances in the drawing are L2 distances. The square
    holds the three networks, the nearest places of the others, and a margin (Garipov, Izmailov, Podoprikhin,
    Vetrov, Wilson 2018, appendix, draw such planes).

    Args:
        model: the architecture; it is the same afterwards, also after an exception.
        anchors: three networks or state dicts.
        data: inputs (n, ...) and labels (n,) int64 or (n, k) float.
        others: networks to mark by their orthogonal projection.
        size: places along each side, at least 2.
        margin: room on each side, as a fraction of the larger extent of what is marked.
        batch_norm: running statistics are mixed like the weights, or re-estimated on `calibration` at every
            place; mixed ones can turn into negative variances outside the triangle, and the loss into NaN.
        calibration: (m, ...) training inputs for "re-estimate".
        batch_size: examples in one forward pass.

    Returns:
        The grid, the networks' own places with their losses, and the others' nearest places. NaN where a loss is.

    Raises:
        BadInput: other than three anchors, anchors on one line, states that don't fit the model, options out of
            range.

    >>> import torch
    >>> net = torch.nn.Linear(1, 2, bias=False)
    >>> corners = [{"weight": torch.tensor(w)} for w in ([[0.0], [0.0]], [[3.0], [0.0]], [[1.0], [4.0]])]
    >>> found = plane(net, corners, (torch.ones(1, 1), torch.tensor([0])), size=2, margin=0.5)
    >>> [(point.x, point.y) for point in found.anchors], [(point.x, point.y) for point in found.grid]
    ([(0.0, 0.0), (3.0, 0.0), (1.0, 4.0)], [(-2.5, -2.0), (5.5, -2.0), (-2.5, 6.0), (5.5, 6.0)])
    """
    anchors, others = states_of(anchors, "anchors"), states_of(others, "others")
    size, margin = whole_number(size, "size"), real_number(margin, "margin")
    _check(anchors, size, margin, batch_norm, calibration)
    check_data(data, batch_size)
    network(model)
    with lent(model) as live:
        span = span_of(
            model, live, anchors, batch_norm=batch_norm, calibration=calibration, batch_size=batch_size
        )
        further = [aligned(state, live, f"other {index}") for index, state in enumerate(others)]
        axes = _axes(differences_gram([*span.states, *further], span.parameters))

        def evaluation_at(factors: Tensor) -> Evaluation:
            span.place(factors)
            return evaluate(model, data, batch_size)

        own = tuple(evaluation_at(corner) for corner in torch.eye(ANCHORS, dtype=torch.float64))
        check_forward(model, data[0])
        grid = []
        for x, y in _square(axes.places, size, margin):
            there = evaluation_at(axes.factors(x, y))
            grid.append(PlanePoint(x=x, y=y, loss=there.loss, metric=there.metric))
    marked = axes.places.tolist()
    return Plane(
        grid=tuple(grid),
        anchors=tuple(
            PlanePoint(x=x, y=y, loss=found.loss, metric=found.metric)
            for (x, y), found in zip(marked, own, strict=False)
        ),
        anchor_evaluations=own,
        others=tuple(
            PlanePoint(x=x, y=y, loss=math.nan, metric=math.nan, off_plane=height)
            for (x, y), height in zip(marked[ANCHORS:], axes.heights[ANCHORS:].tolist(), strict=True)
        ),
        n=len(data[0]),
    )


@dataclass(frozen=True, kw_only=True)
class _Axes:
    """The orthonormal axes, by what they make of the networks."""

    base: float
    """||w2 - w1||."""
    shear: float
    """Part of w3 - w1 along the first axis."""
    height: float
    """Part of w3 - w1 along the second axis."""
    places: Tensor
    """(k, 2) x and y of every network."""
    heights: Tensor
    """(k,) distance of every network from the plane."""

    def factors(self, x: float, y: float) -> Tensor:
        """(3,) factors of the anchors that add up to 1 and give the place (x, y)."""
        third = y / self.height
        second = (x - self.shear * third) / self.base
        return torch.tensor([1 - second - third, second, third], dtype=torch.float64)


def _axes(gram: Tensor) -> _Axes:
    """From the inner products (k, k) of the differences from the first network; its first three span the plane."""
    base = math.sqrt(gram[1, 1])
    shear = float(gram[1, 2]) / base if base else 0.0
    height = math.sqrt(max(float(gram[2, 2]) - shear**2, 0.0))
    if not height > LINE * max(base, math.sqrt(gram[2, 2])) or not base:
        raise BadInput("The three networks lie on one line and span no plane. Give three different ones.")
    x = gram[:, 1] / base
    y = (gram[:, 2] - shear * x) / height
    places = torch.stack([x, y], 1)
    places[0], places[1, 1] = 0.0, 0.0  # exactly, not up to rounding
    heights = (gram.diagonal() - x.square() - y.square()).clamp_min(0).sqrt()
    return _Axes(base=base, shear=shear, height=height, places=places, heights=heights)


def _square(places: Tensor, size: int, margin: float) -> list[tuple[float, float]]:
    """The places of the grid, row by row."""
    low, high = places.amin(0), places.amax(0)
    middle, side = (low + high) / 2, float((high - low).max()) * (1 + 2 * margin)
    steps = torch.linspace(-side / 2, side / 2, size, dtype=torch.float64)
    xs, ys = (float(middle[0]) + steps).tolist(), (float(middle[1]) + steps).tolist()
    return [(x, y) for y in ys for x in xs]


def _check(
    anchors: Sequence[State], size: int, margin: float, batch_norm: str, calibration: Tensor | None
) -> None:
    problems = []
    if len(anchors) != ANCHORS:
        problems.append(f"Expected three networks to define a plane, got {len(anchors)}.")
    if size < 2:
        problems.append(f"A grid has at least 2 places along a side, got {size}.")
    if not 0 <= margin < math.inf:
        problems.append(f"A margin is a fraction of at least 0, got {margin}.")
    problems += policy_problems(batch_norm, calibration)
    if problems:
        raise BadInput(problems)
