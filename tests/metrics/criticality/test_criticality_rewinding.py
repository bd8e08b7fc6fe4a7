"""Rewinding against a copy of the network per module, its intervals against a bootstrap written out."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from test_criticality import examples, network
from torch import nn
from torch.nn import functional

from transferscope.core.errors import BadInput
from transferscope.metrics.criticality.rewinding import drop_intervals, rewind, rewind_to
from transferscope.metrics.evaluation.evaluate import evaluate
from transferscope.metrics.evaluation.repeated_passes import RepeatedPasses
from transferscope.metrics.inputs.guard import lent

TOLERANCE = 1e-12


@pytest.mark.parametrize("cumulative", [False, True])
def test_rewinding(cumulative):
    init, final, (x, y) = network(0), network(1), examples()
    table = rewind(network(2), init, final, (x, y), cumulative=cumulative)
    assert table.columns == [
        *(
            "module",
            "loss",
            "metric",
            "rise_loss",
            "drop_metric",
            "drop_low",
            "drop_high",
            "final_metric",
            "n",
        )
    ]
    with torch.no_grad():
        final_loss = functional.cross_entropy(final.eval()(x), y).item()
        final_accuracy = (final(x).argmax(1) == y).double().mean().item()
    modules = ["stem", "norm", "head"]
    for index, row in enumerate(table.iter_rows(named=True)):
        back = modules[: index + 1] if cumulative else [modules[index]]
        state = {n: (init if n.split(".")[0] in back else final).state_dict()[n] for n in final.state_dict()}
        net = network(2)
        net.load_state_dict(state)
        with torch.no_grad():
            logits = net.eval()(x)
        loss, accuracy = (
            functional.cross_entropy(logits, y).item(),
            (logits.argmax(1) == y).double().mean().item(),
        )
        assert row["module"] == modules[index]
        assert (row["loss"], row["metric"]) == pytest.approx((loss, accuracy), rel=TOLERANCE)
        assert row["rise_loss"] == pytest.approx(loss - final_loss, abs=TOLERANCE)
        assert row["drop_metric"] == pytest.approx(final_accuracy - accuracy, abs=TOLERANCE)
        assert row["drop_low"] <= row["drop_metric"] <= row["drop_high"]
        assert (row["final_metric"], row["n"]) == (pytest.approx(final_accuracy), len(y))


def test_modules_lie_below_a_wrapper():
    plain = rewind(network(2), network(0), network(1), examples(), draws=0)
    wrapped = [torch.nn.Sequential(torch.nn.Sequential(network(seed))) for seed in (2, 0, 1)]
    table = rewind(*wrapped, examples(), draws=0)
    assert table["module"].to_list() == [f"0.0.{name}" for name in plain["module"]]
    assert table.drop("module").equals(plain.drop("module"))


def test_given_modules_and_an_init_without_the_head():
    init = {n: t for n, t in network(0).state_dict().items() if not n.startswith("head")}
    modules = {"body": ["stem", "norm"]}
    assert rewind(network(2), init, network(1), examples(), modules=modules)["module"].to_list() == ["body"]
    with pytest.raises(BadInput, match="init"):
        rewind(network(2), init, network(1), examples())
    with pytest.raises(BadInput, match="Module 'tail'"):
        rewind(network(2), init, network(1), examples(), modules={"tail": ["tail"]})


@pytest.mark.parametrize("cumulative", [False, True])
def test_several_states_at_once_are_each_on_its_own(cumulative):
    """A checkpoint on the way, the init and a fresh draw; twice on the same passes."""
    final, data = network(1), examples()
    states = {"init": network(0), "epoch 3": network(3), "fresh draw": network(4)}
    passes = RepeatedPasses(network(2), data, batch_size=16)
    for _ in range(2):
        together = rewind_to(passes, states, final, cumulative=cumulative, draws=50)
        for to, state in states.items():
            alone = rewind(network(2), state, final, data, cumulative=cumulative, draws=50, batch_size=16)
            assert together.filter(to=to).drop("to").equals(alone)
    assert together["to"].unique(maintain_order=True).to_list() == list(states)


def outcomes(multi_label, num=3):
    """Evaluations of random networks on the same examples, and their logits."""
    x, y = examples(n=60)
    labels = functional.one_hot(y, 3).to(torch.float32) if multi_label else y
    nets = [network(seed) for seed in range(num)]
    found = []
    for net in nets:
        with lent(net):
            found.append((evaluate(net, (x, labels), 25), net(x)))
    return found, labels


@pytest.mark.parametrize("multi_label", [False, True])
def test_intervals_are_those_of_resamples_written_out(multi_label):
    found, labels = outcomes(multi_label)
    (reference, own), others = found[0], found[1:]
    draws = 60
    intervals = drop_intervals(
        reference,
        [outcome for outcome, _ in others],
        draws=draws,
        level=0.9,
        generator=torch.Generator().manual_seed(3),
    )
    picks = torch.randint(60, (draws, 60), generator=torch.Generator().manual_seed(3)).numpy()

    def score(logits, pick):
        chosen, truth = logits.numpy()[pick], labels.numpy()[pick]
        return roc_auc_score(truth, chosen) if multi_label else (chosen.argmax(1) == truth).mean()

    for interval, (outcome, logits) in zip(intervals, others, strict=True):
        drops = [score(own, pick) - score(logits, pick) for pick in picks]
        low, high = np.quantile(drops, [0.05, 0.95])
        assert interval.estimate == pytest.approx(reference.metric - outcome.metric, abs=TOLERANCE)
        assert (interval.low, interval.high) == pytest.approx((low, high), abs=1e-10)
        assert (interval.n, interval.level) == (60, 0.9)


def test_no_draws_no_ends():
    table = rewind(network(2), network(0), network(1), examples(), draws=0)
    assert table["drop_low"].is_nan().all()
    assert table["drop_high"].is_nan().all()
    assert table["drop_metric"].is_finite().all()


def test_an_init_of_nan_has_no_drop_and_no_interval():
    init = copy.deepcopy(network(0))
    with torch.no_grad():
        init.stem.weight[0, 0] = math.nan
    for row in rewind(network(2), init, network(1), examples()).iter_rows(named=True):
        numbers = [row[name] for name in ("metric", "drop_metric", "drop_low", "drop_high", "loss")]
        assert all(math.isnan(number) for number in numbers) == (row["module"] == "stem")
        assert any(math.isnan(number) for number in numbers) == (row["module"] == "stem")


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_torchscript_programs_are_rewound_as_networks_in_python_are():
    torch.manual_seed(0)
    model, init, final = (
        nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).double() for _ in range(3)
    )
    data = torch.randn(20, 3, dtype=torch.float64), torch.arange(20) % 2
    script = torch.jit.script(copy.deepcopy(model))
    expected = rewind(model, init, final, data)["loss"].to_list()
    assert rewind(script, init, final, data)["loss"].to_list() == pytest.approx(expected, rel=1e-12)
    assert torch.equal(script.state_dict()["0.weight"], model[0].weight)
    frozen = torch.jit.freeze(script.eval())
    with pytest.raises(BadInput, match="frozen TorchScript"):
        rewind(frozen, init, final, data)
