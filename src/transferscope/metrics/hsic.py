"""Hilbert-Schmidt independence criterion of linear kernels: Grams, centring, jackknife, permutations.

Shapes: P layers, m samples of one batch, G groups of the jackknife, R permutations.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

WIDENED_AT_ONCE = {"cpu": 2**16}
"""Numbers widened to float64 at a time, by device: on a CPU they stay in the cache, three times faster."""
WIDENED_ELSEWHERE = 2**24
"""The same on other devices, which want few large products; a whole layer could fill the memory."""


def gram(features: Tensor) -> Tensor:
    """(m, m) float64 Gram of the features (m, ...), flattened per sample and centred over the samples.

    The first sample is taken off before the mean: the difference of two float32 numbers is exact in float64,
    so that neither an offset nor its rounding reaches the product, and constant features give exact zeros.
    """
    flat = features.detach().reshape(len(features), -1)
    total = torch.zeros(len(flat), len(flat), dtype=torch.float64, device=flat.device)
    at_once = WIDENED_AT_ONCE.get(flat.device.type, WIDENED_ELSEWHERE)
    for block in flat.split(max(1, at_once // len(flat)), dim=1):
        wide = block.double()
        wide = wide - wide[:1]
        wide -= wide.mean(0)
        total.addmm_(wide, wide.T)
    return total


def centred(grams: Tensor, debiased: bool) -> Tensor:
    """(P, m, m) Grams, double-centred; U-centred with a zero diagonal where debiased.

    Szekely and Rizzo 2014: with U-centred Grams the unbiased HSIC of Song et al. 2012 is their inner product
    over m (m - 3).
    """
    m = grams.shape[-1]
    if not debiased:
        row, column = grams.mean(2, keepdim=True), grams.mean(1, keepdim=True)
        return grams - row - column + grams.mean((1, 2), keepdim=True)
    off = _without_diagonal(grams)
    row, column = off.sum(2, keepdim=True) / (m - 2), off.sum(1, keepdim=True) / (m - 2)
    return _without_diagonal(off - row - column + off.sum((1, 2), keepdim=True) / ((m - 1) * (m - 2)))


def leave_group_out_hsic(grams: Tensor, groups: Tensor, num_groups: int, debiased: bool) -> Tensor:
    """(1 + G, P, P): m times the HSIC of all pairs of layers, of all samples and without each group.

    The weight m makes the sum over batches behave as a mean over samples when a group is left out.

    Args:
        grams: (P, m, m), centred.
        groups: (m,) group of each sample, in 0..G-1.
        num_groups: G.
        debiased: unbiased HSIC (NaN below 4 samples) or the biased one.
    """
    num_layers, m, _ = grams.shape
    sums = grams.sum(2)
    members = [(groups == group).nonzero()[:, 0].to(grams.device) for group in range(num_groups)]
    # Inner products of the rows of each group: they add up to those of the whole.
    rows = [_inner(grams[:, inside]) for inside in members]
    whole = torch.stack(rows).sum(0)
    found = [_weighted_hsic(whole, sums, m, debiased)]
    for inside, row in zip(members, rows, strict=True):
        # Without the group's rows and columns; what lies in both was taken off twice.
        products = whole - 2 * row + _inner(grams[:, inside][:, :, inside])
        kept_sums = sums - grams[:, :, inside].sum(2)
        kept_sums[:, inside] = 0
        found.append(_weighted_hsic(products, kept_sums, m - len(inside), debiased))
    return torch.stack(found).reshape(1 + num_groups, num_layers, num_layers)


def permuted_hsic(
    grams: Tensor, owners: Sequence[slice], num_permutations: int, debiased: bool, generator: torch.Generator
) -> Tensor:
    """(R, P, P): m times the HSIC of layers of different models whose samples are matched at random.

    One permutation a model and round; only the blocks above the diagonal of models are filled. In float32
    on Grams of unit norm, as the quantile of a null needs no more.

    Args:
        grams: (P, m, m), centred.
        owners: which layers belong to each model.
        num_permutations: R.
        debiased: which HSIC.
        generator: of the permutations.
    """
    num_layers, m, _ = grams.shape
    norms = grams.flatten(1).norm(dim=1)
    flat = (grams / norms.clamp_min(torch.finfo(norms.dtype).tiny)[:, None, None]).float().flatten(1)
    # Grams are symmetric: the lower triangle holds all, each entry off the diagonal standing for two.
    row, column = torch.tril_indices(m, m, offset=-1 if debiased else 0, device=grams.device)
    twice = torch.where(row == column, 1.0, 2.0).to(grams.device)
    cross = torch.zeros(num_permutations, num_layers, num_layers, dtype=torch.float64, device=grams.device)
    for permutation in range(num_permutations):
        packed = torch.empty(num_layers, len(row), device=grams.device)
        for own in owners:
            order = torch.randperm(m, generator=generator, device=generator.device).to(grams.device)
            torch.index_select(flat[own], 1, order[row] * m + order[column], out=packed[own])
            before = slice(0, own.start)
            cross[permutation, before, own] = ((packed[before] * twice) @ packed[own].T).double()
    scale = m / (m * (m - 3)) if debiased else m / (m - 1) ** 2
    return cross * (norms[:, None] * norms[None, :]) * scale


def _weighted_hsic(products: Tensor, sums: Tensor, m: int, debiased: bool) -> Tensor:
    """m times the HSIC, from the Grams' inner products (P, P) and row sums (P, m)."""
    row_products = sums @ sums.T
    totals = sums.sum(1)
    total_products = totals[:, None] * totals[None, :]
    if not debiased:
        return m * (products - 2 / m * row_products + total_products / m**2) / (m - 1) ** 2
    if m < 4:
        return torch.full_like(products, torch.nan)
    centred_products = products + total_products / ((m - 1) * (m - 2)) - 2 / (m - 2) * row_products
    return m * centred_products / (m * (m - 3))


def _inner(grams: Tensor) -> Tensor:
    flat = grams.flatten(1)
    return flat @ flat.T


def _without_diagonal(grams: Tensor) -> Tensor:
    diagonal = torch.eye(grams.shape[-1], dtype=torch.bool, device=grams.device)
    return grams.masked_fill(diagonal, 0.0)
