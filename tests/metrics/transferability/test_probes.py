"""Probes against scikit-learn."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import transferscope as ts
from transferscope.core.errors import BadInput

PENALTIES = (1e-3, 1e-2, 1e-1)


def made_up(classes: int, seed: int = 0, n: int = 240, d: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    """Classes whose features overlap, on scales that differ a lot."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % classes)
    features = rng.normal(size=(n, d)) + 0.7 * np.random.default_rng(99).normal(size=(classes, d))[labels]
    return torch.tensor(features * np.logspace(-2, 2, d) + 5), torch.tensor(labels)


def several(n: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    features, labels = made_up(6, seed, n)
    return features, torch.stack([labels < 2, labels % 2 == 0, labels == 5], 1).double()


def mask(n: int) -> torch.Tensor:
    return torch.arange(n) % 4 == 0


def accuracies(make, options, train, test, held_out) -> tuple[dict[float, float], dict[float, float]]:
    """Of scikit-learn on held-out and on test examples, with each option."""
    (x, y), (x_test, y_test) = ((features.numpy(), labels.numpy()) for features, labels in (train, test))
    chooses = held_out.numpy()
    inner = {
        o: make(o, (~chooses).sum()).fit(x[~chooses], y[~chooses]).score(x[chooses], y[chooses])
        for o in options
    }
    outer = {o: make(o, len(x)).fit(x, y).score(x_test, y_test) for o in options}
    return inner, outer


def best(metrics: Mapping[float, float]) -> float:
    return max(metrics, key=lambda option: (metrics[option], option))


def regression(penalty: float, n: int, classes: int):
    # scikit-learn has one weight vector for two classes, the softmax has two of half its length
    strength = (2 if classes == 2 else 1) / (penalty * n)
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, tol=1e-8, max_iter=5000))


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_a_linear_probe_is_scikit_learns(classes: int) -> None:
    train, test = made_up(classes), made_up(classes, seed=1, n=400)
    held_out = mask(240)
    found = ts.linear_probe(train, test, held_out=held_out, penalties=PENALTIES)
    inner, outer = accuracies(lambda p, n: regression(p, n, classes), PENALTIES, train, test, held_out)
    assert found.held_out == pytest.approx(inner, abs=1e-4)
    assert found.chosen == best(inner)
    assert found.metric == pytest.approx(outer[found.chosen], abs=1e-4)
    whole = regression(found.chosen, 240, classes).fit(train[0].numpy(), train[1].numpy())
    expected = whole.predict_proba(test[0].numpy())
    assert found.logits.softmax(1).numpy() == pytest.approx(expected, abs=1e-4)


def test_of_several_labels_each_has_a_regression_of_its_own() -> None:
    train, test = several(240), several(400, seed=1)
    found = ts.linear_probe(train, test, held_out=mask(240), penalties=[0.01])
    expected = []
    for label in range(3):
        own = make_pipeline(StandardScaler(), LogisticRegression(C=1 / (0.01 * 240), tol=1e-8, max_iter=5000))
        own.fit(train[0].numpy(), train[1][:, label].numpy())
        expected.append(own.decision_function(test[0].numpy()))
    assert found.logits.numpy() == pytest.approx(np.stack(expected, 1), abs=2e-3)
    assert found.metric == pytest.approx(roc_auc_score(test[1].numpy(), np.stack(expected, 1)), abs=1e-4)


def test_nearest_neighbours_are_scikit_learns() -> None:
    train, test, held_out, ks = made_up(4), made_up(4, seed=1, n=600), mask(240), (1, 5, 15)
    found = ts.knn_probe(train, test, held_out=held_out, neighbours=ks)
    inner, outer = accuracies(
        lambda k, _: make_pipeline(StandardScaler(), KNeighborsClassifier(k)), ks, train, test, held_out
    )
    assert found.held_out == pytest.approx(inner, abs=1e-12)
    assert found.chosen == best(inner)
    assert found.metric == pytest.approx(outer[found.chosen], abs=1e-12)


@pytest.mark.parametrize("probe", [ts.linear_probe, ts.knn_probe])
def test_test_examples_choose_nothing(probe) -> None:
    train, (x, y) = made_up(3), made_up(3, seed=1)
    found = probe(train, (x, y), held_out=mask(240))
    shuffled = probe(train, (x, (y + 1) % 3), held_out=mask(240))
    assert (found.chosen, found.held_out) == (shuffled.chosen, shuffled.held_out)
    assert torch.equal(found.logits, shuffled.logits)
    assert shuffled.metric < 0.4 < found.metric


@pytest.mark.parametrize("probe", [ts.linear_probe, ts.knn_probe])
def test_a_class_without_training_examples_is_never_predicted(probe) -> None:
    (x, y), (x_test, y_test) = made_up(3), made_up(3, seed=1)
    kept = y != 1
    found = probe((x[kept], y[kept]), (x_test, y_test), held_out=mask(int(kept.sum())))
    assert found.logits.shape[1] == 3
    assert not (found.logits.argmax(1) == 1).any()


def test_constant_features_change_nothing() -> None:
    (x, y), (x_test, y_test) = made_up(3), made_up(3, seed=1)
    plain = ts.linear_probe((x, y), (x_test, y_test), held_out=mask(240))
    wide = [torch.cat([each, torch.full((len(each), 2), 0.1)], 1) for each in (x, x_test)]
    assert ts.linear_probe((wide[0], y), (wide[1], y_test), held_out=mask(240)).metric == plain.metric


def test_the_edge_of_the_options_is_told() -> None:
    train, test = made_up(3), made_up(3, seed=1)
    assert ts.linear_probe(train, test, held_out=mask(240), penalties=[10.0, 100.0]).is_at_edge
    assert not ts.linear_probe(train, test, held_out=mask(240), penalties=[0.1]).is_at_edge


X, Y = torch.randn(8, 2, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 2
FEW = torch.arange(8) < 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"held_out": torch.ones(8).bool()}, "holds 8 of 8"),
        ({"held_out": torch.zeros(8).bool()}, "holds 0 of 8"),
        ({"held_out": torch.arange(8)}, "bool"),
        ({"held_out": Y == 0}, "two classes"),
        ({"train": X}, "features, labels"),
        ({"train": (X, Y.float())}, "integers"),
        ({"train": (X * math.nan, Y)}, "NaN"),
        ({"test": (X[:, :1], Y)}, "same features"),
        ({"test": (X, torch.eye(8)[:, :2])}, "kind of labels"),
    ],
)
@pytest.mark.parametrize("probe", [ts.linear_probe, ts.knn_probe])
def test_what_does_not_fit_is_refused(probe, change, message: str) -> None:
    given = {"train": (X, Y), "test": (X, Y), "held_out": FEW, **change}
    with pytest.raises(BadInput, match=message):
        probe(given["train"], given["test"], held_out=given["held_out"])


def test_options_out_of_range_are_refused() -> None:
    for penalties in ([], [0.0], [-1.0], [math.nan]):
        with pytest.raises(BadInput, match="above 0"):
            ts.linear_probe((X, Y), (X, Y), held_out=FEW, penalties=penalties)
    for neighbours, message in (([0], "at least 1"), ([9], "more than the 4 examples")):
        with pytest.raises(BadInput, match=message):
            ts.knn_probe((X, Y), (X, Y), held_out=FEW, neighbours=neighbours)
