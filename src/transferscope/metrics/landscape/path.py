"""Networks along the straight path between two others."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from transferscope.core.errors import BadInput
from transferscope.metrics.evaluation.evaluate import Data, Evaluation, check_data, evaluate
from transferscope.metrics.evaluation.folding import TRIED_EXAMPLES, Folding
from transferscope.metrics.evaluation.forward_checks import check_forward
from transferscope.metrics.evaluation.states import (
    aligned,
    batch_norm_statistics,
    device_of,
    re_estimate_batch_norm,
)
from transferscope.metrics.inputs.arguments import network, pairs_of, real_numbers, tensor
from transferscope.metrics.inputs.guard import Lent, guarded, lent
from transferscope.metrics.inputs.state_dicts import State, is_continuous

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
        """The evaluation of the network at alphas[index]."""
        return Evaluation(
            losses=self.losses[index],
            correct=None if self.correct is None else self.correct[index],
            logits=None if self.logits is None else self.logits[index],
            labels=self.labels,
        )


@guarded
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
    fold: bool = False,
) -> Path:
    """Every example's loss at the weights (1 - alpha) a + alpha b, in evaluation mode.

    At alpha 0 and 1 the tensors of a and b themselves are loaded, so that these losses are those of a direct
    evaluation. Integer buffers are those of a, at alpha 1 those of b. What a network with BatchNorm gives on
    the way depends on its running statistics:

    - "keep": those of the nearer end; at 1/2, where both are equally near, their mean. So the path from b to a
      is the same one;
    - "interpolate": they move along the path like the weights;
    - "re-estimate": at every alpha, the ends included, the plain average over batches of `calibration`.

    Source: Neyshabur, Sedghi, Zhang 2020, on performance barriers; re-estimation as in
    Jordan et al. 2023 (REPAIR).

    Args:
        model: the architecture; it is the same afterwards, also after an exception.
        a, b: networks or state dicts of that architecture; `model` itself may be one.
        data: inputs (n, ...) and labels (n,) int64 or (n, k) float.
        alphas: places on the path; beyond [0, 1] it goes on straight.
        batch_norm: see above; without BatchNorm they are all the same.
        calibration: (m, ...) training inputs for "re-estimate".
        batch_size: examples in one forward pass.
        fold: evaluate with BatchNorm folded into the convolutions where that is possible (see `Folding`):
            quicker, and equal up to rounding only.

    Returns:
        Losses (num_alphas, n), and what the metric needs. An overflow on the way, or a negative interpolated
        variance beyond the ends, is a loss of NaN.

    Raises:
        BadInput: states that don't fit the model, data that don't match, no or not finite alphas, an
            unknown policy, "re-estimate" without `calibration`.

    >>> import torch
    >>> net = torch.nn.Linear(1, 2, bias=False)
    >>> a, b = {"weight": torch.tensor([[0.0], [0.0]])}, {"weight": torch.tensor([[2.0], [0.0]])}
    >>> path = path_losses(net, a, b, (torch.ones(1, 1), torch.tensor([0])), alphas=[0, 0.5, 1])
    >>> [round(loss, 4) for loss in path.losses[:, 0].tolist()]
    [0.6931, 0.3133, 0.1269]
    """
    return paths(
        model,
        {"a": a, "b": b},
        data,
        pairs=[("a", "b")],
        alphas=alphas,
        batch_norm=batch_norm,
        calibration=calibration,
        batch_size=batch_size,
        fold=fold,
    )["a", "b"]


@guarded
def paths(
    model: nn.Module,
    states: Mapping[str, State],
    data: Data,
    *,
    pairs: Iterable[tuple[str, str]] | None = None,
    alphas: Sequence[float],
    batch_norm: BatchNormPolicy = "keep",
    calibration: Tensor | None = None,
    batch_size: int = 256,
    fold: bool = False,
) -> dict[tuple[str, str], Path]:
    """`path_losses` of many pairs of networks, each network itself evaluated once.

    Args:
        model, data, alphas, batch_norm, calibration, batch_size, fold: as for `path_losses`.
        states: networks or state dicts by name.
        pairs: the pairs (a, b) wanted; all by default.

    Returns:
        The path of each pair, in their order: the same to the bit as one by one.

    Raises:
        BadInput: as `path_losses`; an unknown name.

    >>> import torch
    >>> net = torch.nn.Linear(1, 2, bias=False)
    >>> states = {name: {"weight": torch.tensor([[x], [0.0]])} for name, x in zip("abc", [0.0, 2.0, 4.0])}
    >>> found = paths(net, states, (torch.ones(1, 1), torch.tensor([0])), alphas=[0, 1])
    >>> {pair: round(path.losses[1, 0].item(), 4) for pair, path in found.items()}
    {('a', 'b'): 0.1269, ('a', 'c'): 0.0181, ('b', 'c'): 0.0181}
    """
    places = tuple(real_numbers(alphas, "alphas"))
    if not isinstance(states, Mapping):
        raise BadInput(f"Expected networks or state dicts by name, got a {type(states).__name__}.")
    every = itertools.combinations(states, 2)
    wanted = list(every) if pairs is None else pairs_of(pairs, states, "network")
    _check(places, batch_norm, calibration, states, wanted)
    check_data(data, batch_size)
    network(model)
    found = {}
    with lent(model) as live:
        line = _Line(
            model=model,
            live=live,
            ends={
                name: aligned(states[name], live, name) for name in dict.fromkeys(itertools.chain(*wanted))
            },
            data=data,
            statistics=batch_norm_statistics(model),
            batch_norm=batch_norm,
            calibration=calibration,
            batch_size=batch_size,
            folding=Folding(model, data[0][:TRIED_EXAMPLES].to(device_of(model))) if fold else None,
        )
        some = line.ends[wanted[0][0]]
        with live.writing():
            _load(live, some, some, 0, set())
        check_forward(model, data[0])
        for pair in wanted:
            points = [line.at(*pair, alpha) for alpha in places]
            stored = {
                alpha: line.stored[pair[int(alpha)]] for alpha in dict.fromkeys(places) if alpha in (0.0, 1.0)
            }
            found[pair] = _path(places, points, batch_norm, stored)
    return found


@dataclass(frozen=True, kw_only=True)
class _Line:
    """Data shared by all points of all paths."""

    model: nn.Module
    live: Lent
    ends: Mapping[str, Mapping[str, Tensor]]
    data: Data
    statistics: set[str]
    batch_norm: BatchNormPolicy
    calibration: Tensor | None
    batch_size: int
    folding: Folding | None
    known: dict[str, Evaluation] = field(default_factory=dict)
    """Evaluations of the networks themselves, under the BatchNorm policy."""
    stored: dict[str, Evaluation] = field(default_factory=dict)
    """Evaluations of the networks with their own running statistics."""

    def at(self, a: str, b: str, alpha: float) -> Evaluation:
        """The evaluation of the network at alpha on the path from a to b; the ends are cached."""
        end = {0.0: a, 1.0: b}.get(alpha)
        if end in self.known:
            return self.known[end]
        kept = self.statistics if self.batch_norm == "keep" else set()
        with self.live.writing():
            _load(self.live, self.ends[a], self.ends[b], alpha, kept)
        if self.batch_norm == "re-estimate" and self.statistics and self.calibration is not None:
            if end is not None:
                self.stored[end] = self._evaluate()
            re_estimate_batch_norm(self.model, self.calibration, self.batch_size)
        found = self._evaluate()
        if end is not None:
            self.known[end] = found
            self.stored.setdefault(end, found)
        return found

    def _evaluate(self) -> Evaluation:
        with self.folding.folded() if self.folding else nullcontext():
            return evaluate(self.model, self.data, self.batch_size)


def _path(
    alphas: tuple[float, ...],
    points: Sequence[Evaluation],
    batch_norm: BatchNormPolicy,
    stored: Mapping[float, Evaluation],
) -> Path:
    correct = [point.correct for point in points if point.correct is not None]
    logits = [point.logits for point in points if point.logits is not None]
    return Path(
        alphas=alphas,
        losses=torch.stack([point.losses for point in points]),
        correct=torch.stack(correct) if correct else None,
        logits=torch.stack(logits) if logits else None,
        labels=points[0].labels,
        batch_norm=batch_norm,
        stored=stored,
    )


def _load(
    live: Lent,
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
        elif name in kept and alpha != 0.5:
            own.copy_(a[name] if alpha < 0.5 else b[name])
        else:
            torch.lerp(a[name], b[name], alpha, out=own)


def _check(
    alphas: tuple[float, ...],
    batch_norm: str,
    calibration: Tensor | None,
    states: Mapping[str, State],
    pairs: Sequence[tuple[str, str]],
) -> None:
    problems = []
    if not pairs:
        problems.append(f"Paths lie between pairs of networks; got the networks {list(states)} and no pair.")
    if not alphas or not all(math.isfinite(alpha) for alpha in alphas):
        problems.append(f"Expected at least one finite alpha, got {list(alphas)}.")
    if batch_norm not in POLICIES:
        problems.append(f"Unknown policy for BatchNorm: {batch_norm!r}. Valid: {', '.join(POLICIES)}.")
    if calibration is not None:
        tensor(calibration, "calibration")
    if batch_norm == "re-estimate" and (calibration is None or not calibration.ndim or not len(calibration)):
        problems.append(
            "Re-estimating BatchNorm's statistics needs inputs; give training inputs as `calibration`."
        )
    if problems:
        raise BadInput(problems)
