"""Averages of weights, against averages and evaluations written down in float64."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from sklearn.metrics import accuracy_score
from torch import nn

from transferscope.core.errors import BadInput
from transferscope.metrics.landscape.soup import soup

CLASSES = 3


def net(seed: int, *, normed: bool = False) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers: list[nn.Module] = [nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, CLASSES)]
        if normed:
            layers.insert(1, nn.BatchNorm1d(8))
        return nn.Sequential(*layers).double().eval()


def examples(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(n, 5, generator=generator, dtype=torch.float64)
    return inputs, (inputs[:, :3] + 0.3 * torch.randn(n, 3, generator=generator).double()).argmax(1)


HELD_OUT = examples(60, 1)


def related(count: int) -> dict[str, dict[str, torch.Tensor]]:
    """States around one network, at growing distances."""
    base, generator = net(0).state_dict(), torch.Generator().manual_seed(5)
    return {
        f"n{i}": {
            name: tensor + 0.4 * i * torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
            for name, tensor in base.items()
        }
        for i in range(count)
    }


def mixed(states: dict[str, Any], factors: dict[str, float]) -> nn.Module:
    made = copy.deepcopy(net(0))
    first = next(iter(states.values()))
    made.load_state_dict(
        {name: sum(share * states[own][name] for own, share in factors.items()) for name in first}
    )
    return made


def literal(states: dict[str, Any], factors: dict[str, float]) -> tuple[float, float]:
    """Accuracy and loss of an average."""
    logits = mixed(states, factors)(HELD_OUT[0]).detach()
    loss = nn.functional.cross_entropy(logits, HELD_OUT[1]).item()
    return float(accuracy_score(HELD_OUT[1], logits.argmax(1))), loss


def test_a_uniform_average_is_the_mean_of_the_weights() -> None:
    states = related(3)
    found = soup(net(9), states, HELD_OUT)
    assert found.factors == dict.fromkeys(states, 1 / 3)
    for name, tensor in found.state.items():
        assert torch.allclose(tensor, sum(state[name] for state in states.values()) / 3, rtol=0, atol=1e-15)
    assert (found.held_out.metric, found.held_out.loss) == pytest.approx(literal(states, found.factors))
    assert found.singles["n1"].metric == literal(states, {"n1": 1.0})[0]


@pytest.mark.parametrize("count", [2, 4, 6])
def test_a_greedy_average_takes_what_does_not_harm(count: int) -> None:
    states = related(count)
    scores = {name: literal(states, {name: 1.0}) for name in states}
    ranked = sorted(states, key=lambda name: (-scores[name][0], scores[name][1]))
    chosen, best = [ranked[0]], scores[ranked[0]][0]
    for name in ranked[1:]:
        metric = literal(states, {one: 1 / (len(chosen) + 1) for one in [*chosen, name]})[0]
        if metric >= best:
            chosen, best = [*chosen, name], metric
    found = soup(net(9), states, HELD_OUT, how="greedy")
    assert found.factors == {name: 1 / len(chosen) for name in chosen}
    assert found.held_out.metric == best


def test_the_best_place_on_a_line_is_that_of_all_places() -> None:
    states = dict(zip(("p", "p_t"), related(4).values(), strict=False))
    states["p_t"] = related(4)["n3"]
    found = soup(net(9), states, HELD_OUT, how="line")
    places = {k / 20: literal(states, {"p": 1 - k / 20, "p_t": k / 20}) for k in range(21)}
    best = min(places, key=lambda place: (-places[place][0], places[place][1]))
    expected = {name: share for name, share in (("p", 1 - best), ("p_t", best)) if share}
    assert found.factors == pytest.approx(expected)


def test_statistics_of_batch_norm_are_those_of_the_average_on_training_inputs() -> None:
    states = {"a": net(1, normed=True), "b": net(2, normed=True)}
    calibration = examples(40, 3)[0]
    found = soup(net(3, normed=True), states, HELD_OUT, calibration=calibration)
    weight = sum(one[0].weight for one in states.values()) / 2
    bias = sum(one[0].bias for one in states.values()) / 2
    hidden = calibration @ weight.T + bias
    assert torch.allclose(found.state["1.running_mean"], hidden.mean(0))
    assert torch.allclose(found.state["1.running_var"], hidden.var(0))


def test_the_network_and_the_states_stay_as_they_are() -> None:
    model, states = net(9), related(2)
    before = copy.deepcopy((model.state_dict(), states))
    soup(model, states, HELD_OUT, how="line")
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[0][name])
    assert all(torch.equal(states[a][b], before[1][a][b]) for a in states for b in states[a])


@pytest.mark.parametrize(
    ("states", "how", "message"),
    [
        (related(1), "uniform", "at least two networks"),
        (related(3), "line", "Expected two networks for 'line', got 3"),
        (related(2), "best", "unknown. Valid: uniform, greedy, line"),
    ],
)
def test_wrong_arguments_are_refused(states: Any, how: Any, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        soup(net(9), states, HELD_OUT, how=how)
