"""The epsilon of a basin against its definition: what 2 % more mistakes would cost."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from torch import nn

from transferscope.metrics.evaluation.evaluate import evaluate
from transferscope.metrics.landscape.basin import basin
from transferscope.metrics.landscape.basin_epsilon import epsilon_of


def evaluation(logits, labels):
    return evaluate(nn.Identity().eval(), (logits, labels), 256)


def test_class_indices():
    """scikit-learn's log loss of the misclassified images minus that of the others, times .02."""
    generator = torch.Generator().manual_seed(0)
    expected, evaluations = [], []
    for scale in (1.0, 5.0):
        labels = torch.randint(4, (60,), generator=generator)
        logits = scale * (
            torch.randn(60, 4, generator=generator, dtype=torch.float64) + nn.functional.one_hot(labels, 4)
        )
        right = (logits.argmax(1) == labels).numpy()
        shares = logits.softmax(1).numpy()
        wrong_loss, right_loss = (
            log_loss(labels.numpy()[which], shares[which], labels=range(4)) for which in (~right, right)
        )
        expected.append(0.02 * (wrong_loss - right_loss))
        evaluations.append(evaluation(logits, labels))
    value, source = epsilon_of(evaluations)
    assert value == pytest.approx(np.mean(expected), rel=1e-9)
    assert source == "two points of the metric"


def test_several_labels():
    """A decision is one label of an image."""
    logits = torch.tensor([[2.0, -1.0], [-3.0, 0.5]], dtype=torch.float64)
    labels = torch.tensor([[1.0, 1.0], [0.0, 1.0]])
    # right: 2 with 1, -3 with 0, .5 with 1; wrong: -1 with 1
    right = np.mean([np.log1p(np.exp(-2)), np.log1p(np.exp(-3)), np.log1p(np.exp(-0.5))])
    assert epsilon_of([evaluation(logits, labels)])[0] == pytest.approx(0.02 * (np.log1p(np.exp(1)) - right))


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_networks_that_are_always_right_or_always_wrong_have_none(sign):
    one = evaluation(sign * torch.tensor([[1.0, 0.0]] * 3), torch.zeros(3, dtype=torch.int64))
    assert epsilon_of([one]) == (0.1, "usual value")
    mixed = evaluation(torch.tensor([[1.0, 0.0], [0.0, 3.0]]), torch.zeros(2, dtype=torch.int64))
    assert epsilon_of([one, mixed]) == epsilon_of([mixed])


def test_networks_that_are_not_numbers_have_none():
    one = evaluation(torch.tensor([[np.nan, 0.0], [0.0, 1.0]]), torch.zeros(2, dtype=torch.int64))
    assert epsilon_of([one]) == (0.1, "usual value")


def test_a_basin_takes_it_from_its_ends():
    net = nn.Linear(3, 4).double()
    generator = torch.Generator().manual_seed(1)
    states = [
        {
            "weight": torch.randn(4, 3, generator=generator, dtype=torch.float64),
            "bias": torch.zeros(4, dtype=torch.float64),
        }
        for _ in range(2)
    ]
    x = torch.randn(40, 3, generator=generator, dtype=torch.float64)
    y = torch.randint(4, (40,), generator=generator)
    found = basin(net, states, (x, y), delta=1.0, draws=2, points=2)
    logits = [x @ state["weight"].T for state in states]
    assert found.epsilon == pytest.approx(epsilon_of([evaluation(each, y) for each in logits])[0], rel=1e-9)
    assert found.epsilon_source == "two points of the metric"
    assert basin(net, states, (x, y), delta=1.0, draws=2, points=2, epsilon=0).epsilon_source == "given"
