"""Forecasts of transfer that train nothing: LogME, H-score and LEEP.

Each is a function of what a network computes on the target's training images, and of their labels. Published
comparisons find none of them reliable (arXiv 2308.07444, 2504.20121): hold a forecast against what a training gave.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from scipy import optimize
from torch import Tensor

from transferscope.core.errors import BadInput
from transferscope.metrics.inputs.arguments import tensor
from transferscope.metrics.inputs.guard import guarded
from transferscope.metrics.transferability.arguments import features_of, labels_of, one_hot

PLACES = 401
"""Ratios of the two precisions that are looked at, before the best of them is refined."""
REACH = 1e10
"""How far these go beyond the largest and below the smallest squared singular value, as a factor."""
SUM_ERROR = 1e-3
"""How far the sum of an example's probabilities may lie from 1: half precision."""


@guarded
def log_maximum_evidence(features: Tensor, labels: Tensor) -> float:
    """LogME: the log of the maximum evidence of a Bayesian linear regression of the labels on the features.

    For one label vector y of n examples with features F (n, d): the weights are Gaussian with precision a, the noise is
    Gaussian with precision b, so that y ~ N(0, I / b + F F^T / a). The value is the maximum of log p(y | F, a, b) / n
    over a > 0 and b > 0; of classes, the mean over the one-hot vectors of those that occur. There is no intercept, as
    in the paper.

    The maximum is exact: b has a closed form for a given a / b, and a / b is sought on a grid and refined. The
    iteration in the authors' code adds 1e-5 to its denominators and stops at a change of 0.1 to 1 %, so its numbers
    are slightly smaller, and much smaller where the features give the labels almost without error. Run to its end, it
    may find a lower maximum.

    Source: You, Liu, Wang, Long, "LogME: Practical assessment of pre-trained models for transfer learning", ICML 2021.

    Args:
        features: (n, ...) of the target's training images; all axes but the first are flattened.
        labels: (n,) int64 class indices, or (n, k) float of 0 and 1.

    Returns:
        In nats per example; larger forecasts a better transfer. Infinite where the features give the labels without
        error, so that the evidence has no maximum.

    Raises:
        BadInput: shapes or values that don't fit; a single class.

    >>> import torch
    >>> features = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
    >>> round(log_maximum_evidence(features, torch.tensor([0, 0, 1, 1])), 3)
    0.077
    """
    values = features_of(features)
    columns = one_hot(labels_of(labels, len(values)))
    left, singular, _ = torch.linalg.svd(values, full_matrices=False)
    kept = singular > _rounding(singular, values)
    squares = singular[kept].square().numpy()
    along = (left[:, kept].T @ columns).square().numpy()
    totals = columns.square().sum(0).numpy()
    found = [
        _maximum_evidence(squares, along[:, column], totals[column], len(values))
        for column in range(columns.shape[1])
    ]
    return float(np.mean(found))


def _maximum_evidence(squares: np.ndarray, along: np.ndarray, total: float, n: int) -> float:
    """Of one label vector.

    Args:
        squares: (r,) squared singular values of the features.
        along: (r,) squared projections of the labels on their left singular vectors.
        total: squared norm of the labels.
        n: examples.
    """
    beyond = total - along.sum()
    if beyond <= 1e-12 * total:
        beyond = 0.0
    if len(squares) < n and beyond == 0.0:
        return math.inf

    def negative(log_ratio: float) -> float:
        # with t = a / b: y ~ N(0, (I + F F^T / t) / b), whose best 1 / b is the mean square of whitened labels
        growth = np.log1p(squares * math.exp(-log_ratio))
        noise = (along @ np.exp(-growth) + beyond) / n
        return 0.5 * (math.log(2 * math.pi * noise) + 1 + growth.sum() / n)

    no_weights = 0.5 * (math.log(2 * math.pi * total / n) + 1)  # a / b without bound
    if not len(squares):
        return -no_weights
    grid = np.linspace(math.log(squares.min() / REACH), math.log(squares.max() * REACH), PLACES)
    values = [negative(place) for place in grid]
    best = int(np.argmin(values))
    ends = grid[max(best - 1, 0)], grid[min(best + 1, PLACES - 1)]
    refined: Any = optimize.minimize_scalar(negative, bounds=ends, method="bounded", options={"xatol": 1e-9})
    return -min(no_weights, values[best], float(refined.fun))


@guarded
def h_score(features: Tensor, labels: Tensor) -> float:
    """H-score: how much of the whitened features' variance lies between the means of the classes.

    trace(cov(f)^+ cov(mean of f given the class)), with the pseudo-inverse of the covariance of the features f.

    Source: Bao, Li, Huang, Zhang, Zheng, Zamir, Guibas, "An information-theoretic approach to transferability in task
    transfer learning", ICIP 2019.

    Args:
        features: (n, ...) of the target's training images; all axes but the first are flattened.
        labels: (n,) int64 class indices.

    Returns:
        From 0 to the smaller of the number of features and that of classes minus 1; larger forecasts a better
        transfer. NaN where the features, centred, have rank n - 1: then it is the number of classes minus 1 whatever
        the labels are. Give more examples than features.

    Raises:
        BadInput: shapes or values that don't fit; several labels an example; a single class.

    >>> import torch
    >>> features = torch.tensor([[1.0], [1.2], [3.0], [3.2]])
    >>> round(h_score(features, torch.tensor([0, 0, 1, 1])), 4)
    0.9901
    """
    values = features_of(features)
    columns = one_hot(labels_of(labels, len(values), multi_label=False))
    centred = values - values.mean(0)
    left, singular, _ = torch.linalg.svd(centred, full_matrices=False)
    whitened = left[:, singular > _rounding(singular, centred)]
    if whitened.shape[1] >= len(values) - 1:
        return math.nan
    sums = columns.T @ whitened
    return float((sums.square().sum(1) / columns.sum(0)).sum())


@guarded
def leep(probabilities: Tensor, labels: Tensor) -> float:
    """LEEP: log expected empirical prediction of the target's labels from a classifier of the source.

    With p(z | x) the classifier's probability of the source class z for the image x, and p(y | z) the share of the
    target class y among the images, weighted by p(z | x): the mean over images of log sum over z of p(y | z) p(z | x).

    Source: Nguyen, Hassner, Seeger, Archambeau, "LEEP: A new measure to evaluate transferability of learned
    representations", ICML 2020.

    Args:
        probabilities: (n, z) of the source's classes for the target's training images: logits.softmax(1).
        labels: (n,) int64 class indices of the target.

    Returns:
        In nats, at most 0; larger forecasts a better transfer. Never below minus the entropy of the labels, which is
        its value where the classifier says the same of all images.

    Raises:
        BadInput: shapes or values that don't fit; logits instead of probabilities; several labels an example; a single
            class.

    >>> import torch
    >>> labels = torch.tensor([0, 0, 1, 1])
    >>> round(leep(torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]), labels), 4)
    -0.2393
    """
    given = tensor(probabilities, "probabilities")
    if given.ndim != 2 or not given.is_floating_point():
        raise BadInput(
            f"'probabilities' are (n, z) float, got {tuple(given.shape)} {given.dtype}. Of logits: logits.softmax(1)."
        )
    values = features_of(given, "probabilities")
    sums = values.sum(1)
    if (values < 0).any() or ((sums - 1).abs() > SUM_ERROR).any():
        raise BadInput(
            f"'probabilities' are at least 0 and add up to 1 for each example; got {float(values.min()):.3g} as the "
            f"smallest, and sums from {float(sums.min()):.3g} to {float(sums.max()):.3g}. Of logits: "
            "logits.softmax(1). A classifier of several labels an image has no LEEP."
        )
    columns = one_hot(labels_of(labels, len(values), multi_label=False))
    joint = columns.T @ values / len(values)
    conditional = joint / joint.sum(0).clamp_min(torch.finfo(torch.float64).tiny)
    return float((values * (columns @ conditional)).sum(1).log().mean())


def _rounding(singular: Tensor, values: Tensor) -> Tensor:
    """Singular values up to this are 0 but for rounding, as in `torch.linalg.matrix_rank`."""
    return singular.max() * max(values.shape) * torch.finfo(torch.float64).eps
