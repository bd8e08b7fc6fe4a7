"""Hilbert-Schmidt independence criterion of linear kernels: Grams, centring, jackknife, permutations, influence.

Shapes: P layers, m samples of one batch, G groups of the jackknife, R permutations.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

WIDENED_AT_ONCE = {"cpu": 2**16}
"""Numbers widened to float64 at a time, by device: on a CPU they stay in the cache, three times faster."""
WIDENED_ELSEWHERE = 2**24
"""The same on other devices, which want few large products; a whole layer could fill the memory."""

ENTRIES_AT_ONCE = 2048
"""Entries of the Grams permuted at a time: they stay in the cache for the product."""
REST_OF_ONE = 1e-9
"""Share of its HSIC below which a layer without one sample counts as constant."""


def gram(features: Tensor) -> Tensor:
    """(m, m) float64 Gram of the features (m, ...), flattened per sample, with the first sample as the origin.

    The difference of two float32 numbers is exact in float64, so that neither an offset nor its rounding reaches
    the product, and constant features give exact zeros. Centring the Gram afterwards (`centred`) is the same as
    centring the features, which would be another pass over them.
    """
    flat = flattened(features)
    m, p = flat.shape
    total = torch.zeros(m, m, dtype=torch.float64, device=flat.device)
    at_once = max(1, WIDENED_AT_ONCE.get(flat.device.type, WIDENED_ELSEWHERE) // m)
    # one piece of memory for all blocks: it stays in the cache
    room = torch.empty(m, min(at_once, p), dtype=torch.float64, device=flat.device)
    for block in flat.split(at_once, dim=1):
        wide = room[:, : block.shape[1]].copy_(block)
        wide -= wide[:1].clone()
        total.addmm_(wide, wide.T)
    return total


def flattened(features: Tensor) -> Tensor:
    """(m, p) of (m, ...); of complex features the real and the imaginary parts, as 2 p features."""
    own = features.detach()
    return (torch.view_as_real(own) if own.is_complex() else own).reshape(len(own), -1)


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
    """m times the HSIC of all pairs of layers: first with all samples, then without each group; (1 + G, P, P).

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


def permuted_hsic(grams: Tensor, num_permutations: int, debiased: bool, generator: torch.Generator) -> Tensor:
    """(R, P, P): m times the HSIC of each layer with each other one whose samples are matched at random.

    One permutation a round for all pairs of layers, so that a maximum over layers can be taken in each round;
    entry (x, y) keeps x and permutes y. In float32 on Grams of unit norm, as the quantile of a null needs no
    more.

    Args:
        grams: (P, m, m), centred.
        num_permutations: R.
        debiased: which HSIC.
        generator: of the permutations.
    """
    num_layers, m, _ = grams.shape
    norms = grams.flatten(1).norm(dim=1)
    unit = (grams / norms.clamp_min(torch.finfo(norms.dtype).tiny)[:, None, None]).float()
    # Samples in front: an entry of all layers at once is moved, which is what makes the permuting quick.
    flat = unit.flatten(1).T.contiguous()
    # Grams are symmetric: the lower triangle holds all, each entry off the diagonal standing for two.
    row, column = torch.tril_indices(m, m, offset=-1 if debiased else 0, device=grams.device)
    twice = torch.where(row == column, 1.0, 2.0).float()[:, None]
    kept = flat.index_select(0, row * m + column) * twice
    cross = torch.zeros(num_permutations, num_layers, num_layers, dtype=torch.float32, device=grams.device)
    for found in cross:
        order = torch.randperm(m, generator=generator, device=generator.device).to(grams.device)
        matched = order[row] * m + order[column]
        for places, own in zip(matched.split(ENTRIES_AT_ONCE), kept.split(ENTRIES_AT_ONCE), strict=True):
            found.addmm_(own.T, flat.index_select(0, places))
    scale = m / (m * (m - 3)) if debiased else m / (m - 1) ** 2
    return cross.double() * (norms[:, None] * norms[None, :]) * scale


def leave_one_out_terms(grams: Tensor, debiased: bool) -> Tensor:
    """What each sample of a batch adds to m times the batch's HSIC, for all pairs of layers.

    With the rows D_i = sum_j K_ij L_ij of the centred Grams' inner product S = sum_i D_i, leaving out sample i
    and centring anew gives the inner product S - 2 D_i (1 + 1 / (m - 3)) (debiased, m samples before) or
    S - 2 D_i (1 + 1 / (m - 1)) + K_ii L_ii (m / (m - 1))^2 (biased): the rows of a centred Gram add up to zero,
    which removes all other terms. HSIC is that over m (m - 3) or (m - 1)^2, of the samples that are left.

    Args:
        grams: (P, m, m), centred; m at least 5 (debiased) or 3.
        debiased: which HSIC.

    Returns:
        (m, P, P) float64: m HSIC minus (m - 1) times the HSIC without the sample.
    """
    m = grams.shape[-1]
    factor = 2 * (1 + 1 / (m - 3)) if debiased else 2 * (1 + 1 / (m - 1))
    whole = _inner(grams)
    rows = grams.transpose(0, 1)
    left = whole - factor * (rows @ rows.transpose(1, 2))
    if not debiased:
        own = grams.diagonal(dim1=1, dim2=2).T
        left += own[:, :, None] * own[:, None, :] * (m / (m - 1)) ** 2
    scale, scale_left = (m - 3, m - 4) if debiased else ((m - 1) ** 2 / m, (m - 2) ** 2 / (m - 1))
    return whole / scale - left / scale_left


def largest_influence(
    total: Tensor, terms: Iterable[tuple[Tensor, Tensor]], cells: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """The largest change of CKA when a single sample is left out, for some pairs of layers.

    Args:
        total: (P, P), m HSIC added up over batches.
        terms: of each batch (m, N) for the pairs and (m, P) for each layer with itself, out of `leave_one_out_terms`.
        cells: (N,) int64 each, the layers of each pair.

    Returns:
        (N,) float64: CKA without that sample minus CKA; and (N,) int64: its place among the samples in the order
        of the batches. NaN where CKA, or CKA without some sample, doesn't exist: then that sample's place.
    """
    x, y = cells
    estimate = normalized(total)[x, y]
    own_total = total.diagonal()
    largest = torch.full_like(estimate, -torch.inf)
    change, place = torch.full_like(estimate, torch.nan), torch.zeros_like(x)
    start = 0
    for batch, own in terms:
        own_left = own_total - own
        # What is left of a layer's own HSIC when one sample made nearly all of it is rounding.
        own_left.masked_fill_(own_left <= REST_OF_ONE * own_total, torch.nan)
        root = own_left.sqrt()
        changes = (total[x, y] - batch) / (root[:, x] * root[:, y]) - estimate
        size = changes.abs().nan_to_num(nan=torch.inf)
        most, where = size.max(0)
        is_larger = most > largest
        largest = torch.where(is_larger, most, largest)
        change = torch.where(is_larger, changes.gather(0, where[None])[0], change)
        place = torch.where(is_larger, where + start, place)
        start += len(batch)
    return change, place


def normalized(hsic: Tensor) -> Tensor:
    """(..., P, P) CKA from the HSIC of layers with each other, those with themselves on the diagonal."""
    root = hsic.diagonal(dim1=-2, dim2=-1).sqrt()
    return hsic / (root[..., :, None] * root[..., None, :])


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
