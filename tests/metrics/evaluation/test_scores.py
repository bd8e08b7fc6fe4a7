"""Losses and scores against NumPy literals and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, roc_auc_score

from transferscope.core.errors import BadInput
from transferscope.metrics.evaluation.scores import auc_per_finding, per_example_loss, score

TOLERANCE = 1e-12
few = settings(deadline=None, max_examples=25)
seeds = st.integers(0, 2**32 - 1)


def single_label(seed, n=40, k=5, scale=3.0):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(n, k, generator=generator), torch.randint(k, (n,), generator=generator)


def multi_label(seed, n=40, k=3, decimals=None):
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(n, k, generator=generator)
    if decimals is not None:
        logits = logits.round(decimals=decimals)
    return logits, (torch.rand(n, k, generator=generator) < 0.4).float()


def cross_entropy_literal(logits, labels):
    losses = []
    for row, label in zip(logits.double().numpy(), labels.tolist(), strict=True):
        largest = max(row)
        losses.append(largest + math.log(math.fsum(math.exp(value - largest) for value in row)) - row[label])
    return np.array(losses)


def binary_cross_entropy_literal(logits, labels):
    z, y = logits.double().numpy(), labels.double().numpy()
    return (y * np.logaddexp(0, -z) + (1 - y) * np.logaddexp(0, z)).mean(1)


@few
@given(seed=seeds, scale=st.sampled_from([1e-3, 1.0, 30.0, 1e3]))
def test_cross_entropy(seed, scale):
    logits, labels = single_label(seed, scale=scale)
    found = per_example_loss(logits, labels)
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found, cross_entropy_literal(logits, labels), rtol=TOLERANCE, atol=TOLERANCE)


@few
@given(seed=seeds)
def test_binary_cross_entropy(seed):
    logits, labels = multi_label(seed)
    expected = binary_cross_entropy_literal(logits, labels)
    np.testing.assert_allclose(per_example_loss(logits, labels), expected, rtol=TOLERANCE, atol=TOLERANCE)


@few
@given(seed=seeds)
def test_accuracy(seed):
    logits, labels = single_label(seed)
    assert score(logits, labels) == pytest.approx(accuracy_score(labels, logits.argmax(1)), abs=TOLERANCE)


@few
@given(seed=seeds, decimals=st.sampled_from([None, 0, 1]))
def test_mean_auc_with_ties(seed, decimals):
    logits, labels = multi_label(seed, decimals=decimals)
    labels[0], labels[1] = 0, 1
    expected = roc_auc_score(labels.numpy(), logits.numpy(), average="macro")
    assert score(logits, labels) == pytest.approx(expected, abs=TOLERANCE)


@few
@given(seed=seeds)
def test_weighted_auc(seed):
    logits, labels = multi_label(seed, decimals=0)
    labels[0], labels[1] = 0, 1
    weights = torch.rand(4, len(labels), generator=torch.Generator().manual_seed(seed))
    found = auc_per_finding(logits, labels, weights)
    for draw, finding in np.ndindex(4, 3):
        y, z, w = labels[:, finding].numpy(), logits[:, finding].numpy(), weights[draw].double().numpy()
        assert found[draw, finding] == pytest.approx(roc_auc_score(y, z, sample_weight=w), abs=TOLERANCE)


def test_finding_with_one_class_is_left_out():
    logits, labels = multi_label(0)
    labels[:, 1] = 1
    expected = np.mean([roc_auc_score(labels[:, k].numpy(), logits[:, k].numpy()) for k in (0, 2)])
    assert score(logits, labels) == pytest.approx(expected, abs=TOLERANCE)
    assert auc_per_finding(logits, labels).isnan().tolist() == [False, True, False]
    assert math.isnan(score(logits, torch.zeros_like(labels)))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_logits_that_cannot_be_ranked_have_no_score(bad):
    logits, labels = single_label(0)
    logits[3, 2] = bad
    assert math.isnan(score(logits, labels))
    assert not per_example_loss(logits, labels)[3].isfinite()
    logits, labels = multi_label(0)
    logits[3, 2] = bad
    assert math.isnan(score(logits, labels))


def test_masked_classes_are_allowed():
    logits, labels = single_label(0)
    logits[:, 4] = -math.inf
    labels %= 4
    assert score(logits, labels) == pytest.approx(accuracy_score(labels, logits[:, :4].argmax(1)))


def test_no_examples():
    assert math.isnan(score(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64)))


@pytest.mark.parametrize(
    ("logits", "labels", "says"),
    [
        (torch.zeros(3, 2), torch.zeros(3), "int64"),
        (torch.zeros(3, 2), torch.zeros(3, 2, dtype=torch.int64), "labels.float()"),
        (torch.zeros(3, 2), torch.zeros(4, dtype=torch.int64), "same examples"),
        (torch.zeros(3, 2), torch.zeros(3, 4), "same examples"),
        (torch.zeros(3, 2), torch.tensor([0, 1, 2]), "0..1"),
        (torch.zeros(3, 2), torch.tensor([0, 1, -100]), "-100"),
    ],
)
def test_mismatches_are_refused(logits, labels, says):
    with pytest.raises(BadInput, match=says.replace("(", r"\(").replace(")", r"\)").replace(".", r"\.")):
        per_example_loss(logits, labels)
    with pytest.raises(BadInput):
        score(logits, labels)


def test_uncertain_labels_are_refused():
    with pytest.raises(BadInput, match="0 and 1"):
        score(torch.zeros(2, 1), torch.tensor([[0.5], [1.0]]))
