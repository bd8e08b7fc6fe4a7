"""LogME, H-score and LEEP against their formulas, written out in NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import optimize, stats

import transferscope as ts
from transferscope.core.errors import BadInput


def made_up(seed: int, n: int, d: int, signal: float, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Features whose means differ between classes by about `signal`."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    return rng.normal(size=(n, d)) + signal * rng.normal(size=(classes, d))[labels] + 0.3, labels


def dense_evidence(features: np.ndarray, y: np.ndarray) -> float:
    """The largest log density of N(0, I / b + F F^T / a) over a and b, per example."""
    n = len(y)
    eye, outer = np.eye(n), features @ features.T

    def negative(logs: np.ndarray) -> float:
        covariance = eye * math.exp(-logs[1]) + outer * math.exp(-logs[0])
        return -stats.multivariate_normal.logpdf(y, np.zeros(n), covariance, allow_singular=True) / n

    options = {"xatol": 1e-9, "fatol": 1e-14, "maxiter": 4000}
    starts = ([2.0, 1.0], [8.0, 1.0])
    found = [
        optimize.minimize(negative, start, method="Nelder-Mead", options=options).fun for start in starts
    ]
    return -min(found)


def iterated_evidence(features: np.ndarray, y: np.ndarray) -> float:
    """The paper's fixed-point iteration (algorithm 1), until nothing changes."""
    n, d = features.shape
    a = b = 1.0
    for _ in range(100_000):
        precision = a * np.eye(d) + b * features.T @ features
        m = b * np.linalg.solve(precision, features.T @ y)
        gamma = d - a * np.trace(np.linalg.inv(precision))
        before = a / b
        a, b = gamma / (m @ m), (n - gamma) / ((features @ m - y) ** 2).sum()
        if abs(a / b - before) <= 1e-13 * before:
            break
    precision = a * np.eye(d) + b * features.T @ features
    m = b * np.linalg.solve(precision, features.T @ y)
    value = n / 2 * np.log(b) + d / 2 * np.log(a) - n / 2 * np.log(2 * np.pi)
    value -= b / 2 * ((features @ m - y) ** 2).sum() + a / 2 * m @ m + np.linalg.slogdet(precision)[1] / 2
    return value / n


@pytest.mark.parametrize(("n", "d", "signal"), [(24, 3, 1.0), (24, 6, 0.2), (12, 20, 0.7)])
def test_log_maximum_evidence_is_that_of_the_dense_gaussian(n: int, d: int, signal: float) -> None:
    features, labels = made_up(n + d, n, d, signal)
    expected = np.mean([dense_evidence(features, (labels == k) * 1.0) for k in range(3)])
    found = ts.log_maximum_evidence(torch.tensor(features), torch.tensor(labels))
    assert found == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize(("n", "d", "signal"), [(60, 4, 1.0), (300, 40, 0.5), (200, 10, 2.0)])
def test_log_maximum_evidence_is_where_the_papers_iteration_ends(n: int, d: int, signal: float) -> None:
    features, labels = made_up(d, n, d, signal)
    expected = np.mean([iterated_evidence(features, (labels == k) * 1.0) for k in range(3)])
    assert ts.log_maximum_evidence(torch.tensor(features), torch.tensor(labels)) == pytest.approx(
        expected, abs=1e-8
    )


def test_one_hot_columns_are_classes_and_unused_classes_count_for_nothing() -> None:
    features, labels = made_up(1, 30, 4, 1.0)
    x, y = torch.tensor(features), torch.tensor(labels)
    expected = ts.log_maximum_evidence(x, y)
    assert ts.log_maximum_evidence(x, torch.nn.functional.one_hot(y).float()) == expected
    assert ts.log_maximum_evidence(x, y * 5) == expected


def test_evidence_without_a_maximum_is_infinite() -> None:
    labels = torch.arange(12) % 2
    x = torch.stack([labels, 1 - labels], 1).double()
    assert ts.log_maximum_evidence(x, labels) == math.inf


def test_features_that_say_nothing_have_the_evidence_of_noise() -> None:
    labels = torch.arange(12) % 2
    expected = -0.5 * (math.log(2 * math.pi * 0.5) + 1)  # each one-hot vector has a mean square of a half
    assert ts.log_maximum_evidence(torch.zeros(12, 3), labels) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("n", "d", "signal"), [(40, 5, 1.0), (300, 60, 0.3), (50, 2, 0.0)])
def test_h_score_is_the_trace(n: int, d: int, signal: float) -> None:
    features, labels = made_up(n, n, d, signal)
    features[:, -1] = features[:, 0] * 2  # a covariance without an inverse
    means = np.stack([features[labels == k].mean(0) for k in range(3)])[labels]
    covariance = np.cov(features.T, ddof=0)
    expected = np.trace(np.linalg.pinv(covariance, rcond=1e-12) @ np.cov(means.T, ddof=0))
    found = ts.h_score(torch.tensor(features), torch.tensor(labels))
    assert found == pytest.approx(expected, abs=1e-8)
    assert 0 <= found <= 2


def test_h_score_of_as_many_features_as_examples_says_nothing() -> None:
    features, labels = made_up(0, 20, 30, 0.0)
    assert math.isnan(ts.h_score(torch.tensor(features), torch.tensor(labels)))


@pytest.mark.parametrize("seed", range(3))
def test_leep_is_the_mean_log_of_the_expected_prediction(seed: int) -> None:
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(5, 0.5), size=40)
    labels = rng.integers(3, size=40)
    joint = [[sum(p[i, z] for i in range(40) if labels[i] == y) / 40 for z in range(5)] for y in range(3)]
    given = [[joint[y][z] / sum(joint[k][z] for k in range(3)) for z in range(5)] for y in range(3)]
    terms = [math.log(sum(given[labels[i]][z] * p[i, z] for z in range(5))) for i in range(40)]
    assert ts.leep(torch.tensor(p), torch.tensor(labels)) == pytest.approx(sum(terms) / 40, abs=1e-8)


def test_leep_of_a_classifier_that_says_the_same_is_minus_the_entropy() -> None:
    labels = torch.tensor([0] * 3 + [1] * 9)
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    p = torch.tensor([[0.7, 0.3, 0.0]]).repeat(12, 1)
    assert ts.leep(p, labels) == pytest.approx(-entropy, abs=1e-7)


@pytest.mark.parametrize("name", ["log_maximum_evidence", "h_score", "leep"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": torch.zeros(6, dtype=torch.int64)}, "single class"),
        ({"labels": torch.tensor([0, 1, 0, 1, 0, -100])}, "no label"),
        ({"labels": torch.tensor([0, 1])}, "6 examples"),
        ({"labels": torch.tensor([0.0, 1, 0, 1, 0, 1])}, "integers"),
        ({"values": torch.full((6, 2), math.nan)}, "NaN|add up"),
        ({"values": torch.zeros(6, 0)}, "at least one example"),
    ],
)
def test_what_does_not_fit_is_refused(name: str, change: dict[str, torch.Tensor], message: str) -> None:
    given = {"values": torch.full((6, 2), 0.5), "labels": torch.tensor([0, 1, 0, 1, 0, 1]), **change}
    with pytest.raises(BadInput, match=message):
        getattr(ts, name)(given["values"], given["labels"])


def test_logits_are_no_probabilities() -> None:
    with pytest.raises(BadInput, match=r"logits\.softmax\(1\)"):
        ts.leep(torch.tensor([[3.0, -1.0], [0.0, 2.0]]), torch.tensor([0, 1]))


@pytest.mark.parametrize("name", ["h_score", "leep"])
def test_several_labels_an_example_are_refused(name: str) -> None:
    with pytest.raises(BadInput, match="integers"):
        getattr(ts, name)(torch.full((4, 2), 0.5), torch.eye(4)[:, :2])
