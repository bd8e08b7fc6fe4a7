"""One network from several: averages of weights whose members or place are chosen on held-out examples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from transferscope.core.errors import BadInput
from transferscope.metrics.evaluation.evaluate import Data, Evaluation, evaluate
from transferscope.metrics.evaluation.forward_checks import check_forward
from transferscope.metrics.inputs.arguments import network, whole_number
from transferscope.metrics.inputs.guard import guarded, lent
from transferscope.metrics.inputs.state_dicts import State
from transferscope.metrics.landscape.span import Span, policy_problems, span_of

How = Literal["uniform", "greedy", "line"]
LINE_STEPS = 20
"""Steps of equal length from the first network to the second."""


@dataclass(frozen=True, kw_only=True)
class Soup:
    """An average of networks."""

    state: Mapping[str, Tensor]
    """All tensors of the average, on the CPU."""
    factors: Mapping[str, float]
    """Share of each network; they add up to 1."""
    held_out: Evaluation
    """Of the average, on the held-out examples."""
    singles: Mapping[str, Evaluation]
    """Of each network alone, on the held-out examples."""


@guarded
def soup(
    model: nn.Module,
    states: Mapping[str, State],
    held_out: Data,
    *,
    how: How = "uniform",
    calibration: Tensor | None = None,
    batch_size: int = 256,
) -> Soup:
    """An average of the weights of several networks.

    - "uniform": all of them, in equal shares.
    - "greedy": from the best network on, each next one is taken if the average with it is at least as good on the
      held-out examples.
    - "line": of two networks, such as the pre-trained and the fine-tuned one, the best of 21 places on the line between
      them, by the held-out examples; of equal ones the one with the smaller loss.

    "Better" means a higher metric. Running statistics of BatchNorm are re-estimated on `calibration` if that is given,
    else they are averaged like the weights.

    Source: Izmailov et al. 2018; Wortsman et al., "Model soups", ICML 2022 (uniform, greedy); Wortsman et al., "Robust
    fine-tuning of zero-shot models", CVPR 2022 (line).

    Args:
        model: the architecture; it is the same afterwards, also after an exception.
        states: name -> network or state dict, at least two; two for "line".
        held_out: inputs (n, ...) and labels (n,) int64 or (n, k) float that none of the networks was trained on.
        how: see above.
        calibration: (m, ...) training inputs for BatchNorm's statistics.
        batch_size: examples in one forward pass.

    Raises:
        BadInput: too few networks, states that don't fit the model, data that don't match.

    >>> import torch
    >>> net = torch.nn.Linear(1, 2, bias=False)
    >>> ends = {name: {"weight": torch.tensor(w)} for name, w in (("a", [[0.0], [4.0]]), ("b", [[2.0], [0.0]]))}
    >>> soup(net, ends, (torch.ones(1, 1), torch.tensor([0])), how="greedy").factors
    {'b': 1.0}
    """
    network(model)
    batch_size = whole_number(batch_size, "batch_size", least=1)
    policy = "interpolate" if calibration is None else "re-estimate"
    problems = policy_problems(policy, calibration)
    if how not in get_args(How):
        problems.append(f"how {how!r}: unknown. Valid: {', '.join(get_args(How))}.")
    if len(states) < 2 or (how == "line" and len(states) != 2):
        wanted = "two networks" if how == "line" else "at least two networks"
        problems.append(f"Expected {wanted} for {how!r}, got {len(states)}.")
    if problems:
        raise BadInput(problems)
    names = list(states)
    with lent(model) as live:
        span = span_of(
            model,
            live,
            list(states.values()),
            batch_norm=policy,
            calibration=calibration,
            batch_size=batch_size,
        )
        check_forward(model, held_out[0])
        tried = _Tried(span, names, held_out)
        singles = {name: tried.at({name: 1.0}) for name in names}
        factors = {
            "uniform": lambda: _equal(names),
            "greedy": lambda: _greedy(tried, singles),
            "line": lambda: _best_on_line(tried),
        }[how]()
        found = tried.at(factors)
        state = {
            name: live[name].detach().to("cpu", copy=True) for name in model.state_dict() if name in live
        }
    return Soup(state=state, factors=factors, held_out=found, singles=singles)


class _Tried:
    """Averages, evaluated on the held-out examples; the network holds the last one."""

    def __init__(self, span: Span, names: list[str], held_out: Data) -> None:
        self._span, self.names, self._held_out = span, names, held_out

    def at(self, factors: Mapping[str, float]) -> Evaluation:
        self._span.place(torch.tensor([factors.get(name, 0.0) for name in self.names], dtype=torch.float64))
        return evaluate(self._span.model, self._held_out, self._span.batch_size)


def _equal(names: list[str]) -> dict[str, float]:
    return dict.fromkeys(names, 1 / len(names))


def _greedy(tried: _Tried, singles: Mapping[str, Evaluation]) -> dict[str, float]:
    ranked = sorted(tried.names, key=lambda name: (-singles[name].metric, singles[name].loss))
    chosen, best = ranked[:1], singles[ranked[0]].metric
    for name in ranked[1:]:
        metric = tried.at(_equal([*chosen, name])).metric
        if metric >= best:
            chosen, best = [*chosen, name], metric
    return _equal(chosen)


def _best_on_line(tried: _Tried) -> dict[str, float]:
    first, second = tried.names
    places = [step / LINE_STEPS for step in range(LINE_STEPS + 1)]
    found = {place: tried.at({first: 1 - place, second: place}) for place in places}
    best = min(places, key=lambda place: (-found[place].metric, found[place].loss))
    return {name: share for name, share in ((first, 1 - best), (second, best)) if share}
