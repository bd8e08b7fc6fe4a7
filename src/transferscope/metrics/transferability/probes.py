"""Probes: what a simple classifier finds in fixed features."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import optimize, special
from torch import Tensor

from transferscope.core.errors import BadInput
from transferscope.metrics.evaluation.scores import score
from transferscope.metrics.inputs.arguments import real_numbers, tensor, whole_number
from transferscope.metrics.inputs.guard import guarded
from transferscope.metrics.transferability.arguments import features_of, labels_of

PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
NEIGHBOURS = (1, 3, 5, 10, 20, 50)
GRADIENT = 1e-6
"""Largest entry of the gradient at which a fit ends; the loss is in nats per example."""
MOST_STEPS = 2000
ROWS_AT_ONCE = 512
"""Test examples whose distances to all training examples are held at a time."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A probe of one set of features."""

    metric: float
    """On the test examples: accuracy, or mean AUC of several labels."""
    logits: Tensor
    """(n_test, k) float64 scores of the classes: of a linear probe logits, of k-NN shares of the neighbours."""
    chosen: float
    """The penalty, or the number of neighbours."""
    held_out: Mapping[float, float]
    """Option -> metric on the held-out examples, by which it was chosen; options ascend."""

    @property
    def is_at_edge(self) -> bool:
        """True if the smallest or largest of several options was chosen: one beyond might do better."""
        return len(self.held_out) > 1 and self.chosen in (min(self.held_out), max(self.held_out))


@guarded
def linear_probe(
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    *,
    held_out: Tensor,
    penalties: Sequence[float] = PENALTIES,
) -> Probe:
    """Logistic regression on fixed features, with a penalty that held-out training examples choose.

    Minimizes mean loss + penalty / 2 * |weights|^2. The loss is the cross entropy of the softmax; of several labels an
    example, the sum of their binary cross entropies. Features are standardized with the mean and standard deviation of
    the training examples, and intercepts are not penalized: for three and more classes it is scikit-learn's
    `make_pipeline(StandardScaler(), LogisticRegression(C=1 / (penalty * n)))`. The penalty with the highest metric on
    the held-out examples, the largest of equals, is then fitted to all training examples.

    Args:
        train: features (n, ...) and labels (n,) int64 or (n, k) float of 0 and 1.
        test: features and labels that choose nothing.
        held_out: (n,) bool: the training examples that choose the penalty. Hold all examples of a patient out together.
        penalties: above 0.

    Returns:
        The probe, with its logits on the test examples. A class without training examples has logits of -inf.

    Raises:
        BadInput: shapes or values that don't fit; held-out or other training examples of a single class.

    >>> import torch
    >>> x = torch.tensor([[0.0], [1.0], [2.0], [7.0], [8.0], [9.0]])
    >>> labels = (x[:, 0] > 5).long()
    >>> held_out = torch.tensor([True, False, False, False, False, True])
    >>> linear_probe((x, labels), (x + 0.5, labels), held_out=held_out).metric
    1.0
    """
    options = real_numbers(penalties, "penalties")
    if not options or not all(0 < option < math.inf for option in options):
        raise BadInput(f"penalties are numbers above 0, such as [0.001, 0.1], got {options}.")

    def predictions(bank: _Examples, queries: Tensor, penalties: Sequence[float]) -> dict[float, Tensor]:
        found, weights = {}, None
        for penalty in sorted(penalties, reverse=True):  # each fit starts at the smoother one before
            weights = _fitted(bank, penalty, weights)
            found[penalty] = bank.completed(_affine(queries, weights))
        return found

    return _probe(train, test, held_out, sorted(set(options)), predictions)


@guarded
def knn_probe(
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    *,
    held_out: Tensor,
    neighbours: Sequence[int] = NEIGHBOURS,
) -> Probe:
    """k nearest neighbours on fixed features, with a k that held-out training examples choose.

    An example gets the class of most of its k nearest training examples, by the Euclidean distance of features that are
    standardized with the mean and standard deviation of the training examples: scikit-learn's
    `make_pipeline(StandardScaler(), KNeighborsClassifier(k))`. The k with the highest metric on the held-out examples,
    the largest of equals, is then used with all training examples.

    Args:
        train, test, held_out: as of `linear_probe`.
        neighbours: at least 1; those that are more than the training examples are left out.

    Returns:
        The probe; its "logits" are shares of the neighbours, and of equal shares the first class counts.

    Raises:
        BadInput: shapes or values that don't fit; held-out or other training examples of a single class.

    >>> import torch
    >>> x = torch.tensor([[0.0], [1.0], [2.0], [7.0], [8.0], [9.0]])
    >>> labels = (x[:, 0] > 5).long()
    >>> held_out = torch.tensor([True, False, False, False, False, True])
    >>> probe = knn_probe((x, labels), (x + 0.5, labels), held_out=held_out)
    >>> probe.metric, probe.chosen
    (1.0, 3)
    """
    options = sorted({whole_number(k, "neighbours", least=1) for k in neighbours})
    features, _ = _examples_of(train, "train")
    num_bank = int((~_mask(held_out, len(features))).sum())
    fitting = [k for k in options if k <= num_bank]
    if not fitting:
        raise BadInput(
            f"neighbours {options} are all more than the {num_bank} examples that are not held out."
        )

    def predictions(bank: _Examples, queries: Tensor, neighbours: Sequence[float]) -> dict[float, Tensor]:
        most = int(max(neighbours))
        parts: dict[float, list[Tensor]] = {k: [] for k in neighbours}
        for rows in queries.split(ROWS_AT_ONCE):
            nearest = torch.cdist(rows, bank.features).topk(most, dim=1, largest=False).indices
            votes = bank.targets[nearest].cumsum(1)
            for k in neighbours:
                parts[k].append(votes[:, int(k) - 1] / k)
        return {k: torch.cat(found) for k, found in parts.items()}

    return _probe(train, test, held_out, fitting, predictions)


@dataclass(frozen=True)
class _Examples:
    """Training examples, standardized."""

    features: Tensor
    """(n, d)."""
    targets: Tensor
    """(n, k) one-hot, or several labels."""
    several: bool

    @property
    def varying(self) -> Tensor:
        """(k,) bool: classes that occur; labels that some examples have and some don't."""
        return (self.targets.amin(0) != self.targets.amax(0)) if self.several else (self.targets.amax(0) > 0)

    def completed(self, logits: Tensor) -> Tensor:
        """Logits of the varying columns among those of all: a class that never occurs has -inf, a label 0."""
        found = logits.new_full((len(logits), len(self.varying)), 0.0 if self.several else -math.inf)
        found[:, self.varying] = logits
        return found


Predictions = Callable[[_Examples, Tensor, Sequence[float]], dict[float, Tensor]]


def _probe(
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    held_out: Tensor,
    options: Sequence[float],
    predictions: Predictions,
) -> Probe:
    """The option that the held-out examples choose, with all training examples."""
    features, labels = _examples_of(train, "train")
    test_features, test_labels = _examples_of(test, "test")
    if features.shape[1] != test_features.shape[1] or labels.shape[1:] != test_labels.shape[1:]:
        raise BadInput(
            f"Expected training and test examples of the same features and kind of labels, got features "
            f"{tuple(features.shape)} and {tuple(test_features.shape)}, labels {tuple(labels.shape)} and "
            f"{tuple(test_labels.shape)}."
        )
    chooses = _mask(held_out, len(features))
    several = labels.ndim == 2
    for name, some in (("held-out examples", labels[chooses]), ("other training examples", labels[~chooses])):
        if not (some != some[:1]).any():
            raise BadInput(
                f"Expected {name} of at least two classes, got {len(some)} of the same. Choose another held_out."
            )
    num_classes = labels.shape[1] if several else int(max(labels.max(), test_labels.max())) + 1
    targets = labels if several else torch.nn.functional.one_hot(labels, num_classes).double()

    def predicted(rows: Tensor, queries: Tensor, which: Sequence[float]) -> dict[float, Tensor]:
        mean, std = features[rows].mean(0), features[rows].std(0, correction=0)
        std = torch.where(std > 1e-12 * mean.abs(), std, 1.0)  # constant but for rounding
        bank = _Examples((features[rows] - mean) / std, targets[rows], several)
        return predictions(bank, (queries - mean) / std, which)

    trial = predicted(~chooses, features[chooses], options)
    metrics = {option: score(trial[option], labels[chooses]) for option in options}
    if any(map(math.isnan, metrics.values())):
        raise BadInput("No label has both values among the held-out examples. Hold more examples out.")
    chosen = max(options, key=lambda option: (metrics[option], option))
    logits = predicted(torch.ones_like(chooses), test_features, [chosen])[chosen]
    return Probe(metric=score(logits, test_labels), logits=logits, chosen=chosen, held_out=metrics)


def _examples_of(examples: Any, name: str) -> tuple[Tensor, Tensor]:
    if not isinstance(examples, (tuple, list)) or len(examples) != 2:
        raise BadInput(f"{name} are (features, labels), two tensors, got a {type(examples).__name__}.")
    features = features_of(examples[0], f"{name}[0]")
    return features, labels_of(examples[1], len(features), f"{name}[1]")


def _mask(held_out: Any, count: int) -> Tensor:
    values = tensor(held_out, "held_out").cpu()
    if values.dtype != torch.bool or tuple(values.shape) != (count,):
        raise BadInput(
            f"held_out says of each of the {count} training examples whether it chooses: ({count},) bool, got "
            f"{tuple(values.shape)} {values.dtype}."
        )
    if not values.any() or values.all():
        raise BadInput(
            f"held_out holds {int(values.sum())} of {count} training examples out: some must choose, and some must be "
            "left to fit."
        )
    return values


def _affine(features: Tensor, weights: np.ndarray) -> Tensor:
    return features @ torch.from_numpy(weights[:-1]) + torch.from_numpy(weights[-1])


def _fitted(bank: _Examples, penalty: float, start: np.ndarray | None) -> np.ndarray:
    """(d + 1, k) weights of the varying columns, the intercepts last."""
    targets = bank.targets[:, bank.varying].numpy()
    ones = np.ones((len(targets), 1))
    inputs = np.hstack([bank.features.numpy(), ones])
    shape = (inputs.shape[1], targets.shape[1])

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = flat.reshape(shape)
        logits = inputs @ weights
        if bank.several:
            losses, shares = np.logaddexp(0, logits).sum(1), special.expit(logits)
        else:
            losses, shares = special.logsumexp(logits, axis=1), special.softmax(logits, axis=1)
        value = (losses - (targets * logits).sum(1)).mean() + penalty / 2 * (weights[:-1] ** 2).sum()
        gradient = inputs.T @ (shares - targets) / len(inputs)
        gradient[:-1] += penalty * weights[:-1]
        return float(value), gradient.ravel()

    first = np.zeros(shape) if start is None else start
    options: Any = {"gtol": GRADIENT, "ftol": 0.0, "maxiter": MOST_STEPS, "maxfun": 2 * MOST_STEPS}
    found: Any = optimize.minimize(loss, first.ravel(), jac=True, method="L-BFGS-B", options=options)
    return found.x.reshape(shape)
