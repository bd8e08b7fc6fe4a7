"""Inner products of centred Grams from the features, for many samples of few features."""

from __future__ import annotations

import torch
from torch import Tensor

from transferscope.metrics.similarity.hsic import flattened

FEWEST_SAMPLES = 1024
"""Below, Grams cost next to nothing."""
CANCELLED = 1e-3
"""Share of a squared norm below which the terms of the debiased one cancel, so that rounding would be felt: the
products are then summed entry by entry."""
ENTRIES_AT_ONCE = 2**23
"""Entries of a Gram computed at a time where they are summed one by one: 64 MiB."""


def is_smaller_in_feature_space(x: Tensor, y: Tensor) -> bool:
    """True if there are many samples, and more of them than features of x and y together."""
    n = len(x)
    return n >= FEWEST_SAMPLES and sum(flattened(own).shape[1] for own in (x, y)) < n


def products_of_features(x: Tensor, y: Tensor, debiased: bool) -> tuple[Tensor, Tensor, Tensor]:
    """The inner product of the centred Grams K and L, without the (n, n) matrices, at a cost of n (p + q)^2.

    With X and Y centred over the samples, and d and e the squared lengths of their rows: biased, ||X^T Y||_F^2;
    debiased, the inner product of the U-centred Grams (Song et al. 2012, equation 5, with K 1 = L 1 = 0):

        ||X^T Y||_F^2 - n / (n - 2) d.e + sum(d) sum(e) / ((n - 1) (n - 2)).

    Args:
        x, y: (n, ...) features of the same samples, on one device.
        debiased: whether the Grams are U-centred.

    Returns:
        The inner product of K and L; (2,) squared norms of the Grams with the first sample as the origin, before
        centring; (2,) squared norms of K and L. All float64.
    """
    shifted = [_shifted(features) for features in (x, y)]
    size = torch.stack([(own.T @ own).square().sum() for own in shifted])
    a, b = (own - own.mean(0) for own in shifted)
    whole = torch.stack([_squared(a, b), _squared(a, a), _squared(b, b)])
    if not debiased:
        return whole[0], size, whole[1:]
    d, e = a.square().sum(1), b.square().sum(1)
    n = len(a)
    diagonal = torch.stack([d @ e, d @ d, e @ e])
    sums = torch.stack([d.sum() * e.sum(), d.sum().square(), e.sum().square()])
    products = whole - n / (n - 2) * diagonal + sums / ((n - 1) * (n - 2))
    if (products[1:] < CANCELLED * size).any():
        products = _entry_by_entry((a, d), (b, e))
    return products[0], size, products[1:]


def _shifted(features: Tensor) -> Tensor:
    """(n, p) float64 with the first sample as the origin: the difference of float32 numbers is exact."""
    wide = flattened(features).double()
    return wide - wide[:1]


def _squared(a: Tensor, b: Tensor) -> Tensor:
    return (a.T @ b).square().sum()


def _entry_by_entry(*sides: tuple[Tensor, Tensor]) -> Tensor:
    """(3,) products of K and L, K and K, L and L: U-centred Grams, some rows at a time."""
    n = len(sides[0][0])
    total = torch.zeros(3, dtype=torch.float64, device=sides[0][0].device)
    for rows in torch.arange(n, device=total.device).split(max(1, ENTRIES_AT_ONCE // n)):
        k, ell = (_u_centred_rows(features, squares, rows) for features, squares in sides)
        total += torch.stack([(k * ell).sum(), k.square().sum(), ell.square().sum()])
    return total


def _u_centred_rows(features: Tensor, squares: Tensor, rows: Tensor) -> Tensor:
    """(rows, n) of the U-centred Gram of centred features; without its diagonal, row i adds up to -squares[i]."""
    n = len(features)
    means = -squares / (n - 2)
    middle = -squares.sum() / ((n - 1) * (n - 2))
    found = features[rows] @ features.T - means[rows, None] - means + middle
    return found.scatter_(1, rows[:, None], 0.0)
