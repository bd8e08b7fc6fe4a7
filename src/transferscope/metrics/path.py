"""Networks along the straight path between two others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from transferscope.errors import BadInput
from transferscope.metrics.evaluation import Data, Evaluation, check_data, evaluate
from transferscope.metrics.states import (
    State,
    aligned,
    batch_norm_statistics,
    borrowed,
    is_continuous,
    re_estimate_batch_norm,
)

BatchNormPolicy = Literal["keep", "interpolate", "re-estimate"]
POLICIES: tuple[BatchNormPolicy, ...] = ("keep", "interpolate", "re-estimate")


@dataclass(frozen=True, kw_only=True)
class Path:
    """Every example's loss at every place on the path."""

    alphas: tuple[float, ...]
    """Places on the path: 0 is a, 1 is b."""
    losses: Tensor
    """(num_alphas, n) float64, in nats."""
    correct: Tensor | None
    """(num_alphas, n) float64 of 0 and 1 (NaN where the logits can't be ranked); None for multi-label."""
    logits: Tensor | None
    """(num_alphas, n, k), for multi-label alone."""
    labels: Tensor
    """(n,) or (n, k)."""
    batch_norm: BatchNormPolicy
    stored: Mapping[float, Evaluation]
    """The endpoints among the alphas with the running statistics of their own checkpoints."""

    def at(self, index: int) -> Evaluation:
        """What the network at alphas[index] gives."""
        return Evaluation(
            losses=self.losses[index],
            correct=None if self.correct is None else self.correct[index],
            logits=None if self.logits is None else self.logits[index],
            labels=self.labels,
        )


def path_losses(
    model: nn.Module,
    a: State,
    b: State,
    data: Data,
    *,
    alphas: Sequence[float],
    batch_norm: BatchNormPolicy = "keep",
    calibration: Tensor | None = None,
    batch_size: int = 256,
) -> Path:
    """Every example's loss at the weights (1 - alpha) a + alpha b, in evaluation mode.

    At alpha 0 and 1 the tensors of a and b themselves are loaded, so that these losses are those of a direct
    evaluation. Integer buffers are those of a, at alpha 1 those of b. What a network with BatchNorm gives on
    the way depends on its running statistics:

    - "keep": those of the nearer end (a at 1/2), so that the path from b to a is the same one;
    - "interpolate": they move along the path like the weights;
    - "re-estimate": at every alpha, the ends included, the plain average over batches of `calibration`.

    Source: Neyshabur, Sedghi, Zhang 2020, on performance barriers; re-estimation as in
    Jordan et al. 2023 (REPAIR).

    Args:
        model: the architecture; its own weights and modes are put back at the end, also after an exception.
        a, b: networks or state dicts of that architecture; `model` itself may be one.
        data: inputs (n, ...) and labels (n,) int64 or (n, k) float.
        alphas: places on the path; beyond [0, 1] it goes on straight.
        batch_norm: see above; without BatchNorm they are all the same.
        calibration: (m, ...) training inputs for "re-estimate".
        batch_size: examples in one forward pass.

    Returns:
        Losses (num_alphas, n), and what the metric needs. An overflow on the way, or a negative interpolated
        variance beyond the ends, is a loss of NaN.

    Raises:
        BadInput: states that don't fit the model, data that don't go together, no or not finite alphas, an
            unknown policy, "re-estimate" without `calibration`.

    >>> import torch
    >>> net = torch.nn.Linear(1, 2, bias=False)
    >>> a, b = {"weight": torch.tensor([[0.0], [0.0]])}, {"weight": torch.tensor([[2.0], [0.0]])}
    >>> path = path_losses(net, a, b, (torch.ones(1, 1), torch.tensor([0])), alphas=[0, 0.5, 1])
    >>> [round(loss, 4) for loss in path.losses[:, 0].tolist()]
    [0.6931, 0.3133, 0.1269]
    """
    places = tuple(float(alpha) for alpha in alphas)
    _check(places, batch_norm, calibration)
    check_data(data, batch_size)
    points, stored = [], {}
    with borrowed(model) as live:
        start, end = aligned(a, live, "a"), aligned(b, live, "b")
        statistics = batch_norm_statistics(model)
        for alpha in places:
            _load(live, start, end, alpha, statistics if batch_norm == "keep" else set())
            is_end = alpha in (0.0, 1.0)
            if batch_norm == "re-estimate" and statistics and calibration is not None:
                if is_end:
                    stored[alpha] = evaluate(model, data, batch_size)
                re_estimate_batch_norm(model, calibration, batch_size)
            points.append(evaluate(model, data, batch_size))
            if is_end:
                stored.setdefault(alpha, points[-1])
    correct = [point.correct for point in points if point.correct is not None]
    logits = [point.logits for point in points if point.logits is not None]
    return Path(
        alphas=places,
        losses=torch.stack([point.losses for point in points]),
        correct=torch.stack(correct) if correct else None,
        logits=torch.stack(logits) if logits else None,
        labels=points[0].labels,
        batch_norm=batch_norm,
        stored=stored,
    )


def _load(
    live: Mapping[str, Tensor],
    a: Mapping[str, Tensor],
    b: Mapping[str, Tensor],
    alpha: float,
    kept: set[str],
) -> None:
    """Writes the weights at alpha into `live`; entries in `kept` and integer ones come from one end."""
    for name, own in live.items():
        if alpha == 0 or (alpha != 1 and not is_continuous(own)):
            own.copy_(a[name])
        elif alpha == 1:
            own.copy_(b[name])
        elif name in kept:
            own.copy_(a[name] if alpha <= 0.5 else b[name])
        else:
            torch.lerp(a[name], b[name], alpha, out=own)


def _check(alphas: tuple[float, ...], batch_norm: str, calibration: Tensor | None) -> None:
    problems = []
    if not alphas or not all(math.isfinite(alpha) for alpha in alphas):
        problems.append(f"Expected at least one finite alpha, got {list(alphas)}.")
    if batch_norm not in POLICIES:
        problems.append(f"Unknown policy for BatchNorm: {batch_norm!r}. Valid: {', '.join(POLICIES)}.")
    if batch_norm == "re-estimate" and (calibration is None or not len(calibration)):
        problems.append(
            "Re-estimating BatchNorm's statistics needs inputs; give training inputs as `calibration`."
        )
    if problems:
        raise BadInput(problems)
