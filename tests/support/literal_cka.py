"""CKA and HSIC as they are defined: over 4-tuples, and in feature space."""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch


def features(seed, n, p, q, dtype=torch.float64):
    """Two sets of features that share a part."""
    generator = torch.Generator().manual_seed(seed)
    shared = torch.randn(n, 2, generator=generator, dtype=torch.float64)
    x = torch.randn(n, p, generator=generator, dtype=torch.float64)
    y = torch.randn(n, q, generator=generator, dtype=torch.float64)
    x[:, :2] += shared[:, : min(2, p)]
    y[:, :2] += shared[:, : min(2, q)]
    return x.to(dtype), y.to(dtype)


def hsic_over_tuples(k, el):
    """Song et al. 2012: the mean of k_ij l_ij + k_ij l_qr - 2 k_ij l_iq over distinct i, j, q, r."""
    tuples = list(itertools.permutations(range(len(k)), 4))
    return math.fsum(k[i, j] * (el[i, j] + el[q, r] - 2 * el[i, q]) for i, j, q, r in tuples) / len(tuples)


def literal_over_tuples(x, y):
    k, el = x @ x.T, y @ y.T
    return hsic_over_tuples(k, el) / math.sqrt(hsic_over_tuples(k, k) * hsic_over_tuples(el, el))


def unbiased_hsic(x, y):
    """Song et al. 2012, equation 5, in feature space: no Gram is formed."""
    n = len(x)
    x, y = x - x.mean(0), y - y.mean(0)
    d, e = (x**2).sum(1), (y**2).sum(1)
    trace = ((x.T @ y) ** 2).sum() - (d * e).sum()
    return (trace + d.sum() * e.sum() / ((n - 1) * (n - 2)) - 2 * (d * e).sum() / (n - 2)) / (n * (n - 3))


def biased_hsic(x, y):
    h = np.eye(len(x)) - 1 / len(x)
    return np.trace(x @ x.T @ h @ y @ y.T @ h) / (len(x) - 1) ** 2


def in_feature_space(x, y, hsic=unbiased_hsic):
    x, y = (z.double().flatten(1).numpy() for z in (x, y))
    return hsic(x, y) / math.sqrt(hsic(x, x) * hsic(y, y))
