"""The share of nearest neighbours that two sets of features have in common: a similarity other than CKA."""

from __future__ import annotations

import torch
from torch import Tensor

from transferscope.core.errors import BadInput
from transferscope.metrics.inputs.arguments import tensor, whole_number

DEFAULT_NEIGHBOURS = 10
ENTRIES_AT_ONCE = 2**18
"""Distances held at a time: few steps for many small Grams, and no memory for many large ones."""
ROUNDING = 64
"""Distances count as equal if they differ by less than this many rounding errors of the numbers they come from."""


def mutual_knn(grams: Tensor, k: int = DEFAULT_NEIGHBOURS) -> Tensor:
    """Mean share of the k nearest neighbours that two layers have in common, for all pairs of layers.

    The mutual nearest-neighbour metric of Huh, Cheung, Wang, Isola 2024, with Euclidean distances: the
    nearest other samples of each sample i are N_x(i) and N_y(i), and the value is the mean over i of
    |N_x(i) & N_y(i)| / k. Where samples are equally far away, so that not all of them fit, each counts by the
    chance that it is drawn: the value is the mean over all ways to break the ties. Distances are equal if they
    differ by no more than the rounding of the Grams can explain.

    Args:
        grams: (P, m, m) Grams of the layers' features, centred or not.
        k: neighbours.

    Returns:
        (P, P) float64 in [0, 1]; k / (m - 1) is chance. All NaN where there are no k + 1 samples; NaN for a
        layer whose Gram is.

    Raises:
        BadInput: not Grams, complex ones among them (take the real part), or k below 1.

    >>> x = torch.tensor([[0.0], [1.0], [3.0], [7.0]])
    >>> y = torch.tensor([[0.0], [-1.0], [9.0], [11.0]])
    >>> mutual_knn(torch.stack([x @ x.T, y @ y.T]), k=1)[0].tolist()
    [1.0, 0.75]
    """
    grams, k = tensor(grams, "grams"), whole_number(k, "k", least=1)
    if grams.ndim != 3 or grams.shape[1] != grams.shape[2] or not grams.is_floating_point():
        raise BadInput(f"Expected float Grams (P, m, m), got shape {tuple(grams.shape)} {grams.dtype}.")
    num_layers, m, _ = grams.shape
    if not 0 < k < m:
        return torch.full((num_layers, num_layers), torch.nan, dtype=torch.float64)
    at_once = max(1, ENTRIES_AT_ONCE // m**2)
    shares = torch.cat([_neighbour_shares(some, k) for some in grams.split(at_once)]).flatten(1)
    return (shares @ shares.T).double().cpu() / (m * k)


def _neighbour_shares(grams: Tensor, k: int) -> Tensor:
    """(p, m, m) float32: 1 for a neighbour, 0 for none, between for those equally far away; rows sum to k."""
    own = grams.diagonal(dim1=1, dim2=2)
    distances = own[:, :, None] + own[:, None, :] - 2 * grams
    distances.diagonal(dim1=1, dim2=2).fill_(torch.inf)
    furthest, place = (found[:, :, -1:] for found in distances.topk(k, dim=2, largest=False))
    rounding = (own[:, :, None] + own[:, None, :]) * (ROUNDING * torch.finfo(grams.dtype).eps)
    rounding = rounding + rounding.gather(2, place)
    gaps = distances - furthest
    nearer, tied = gaps < -rounding, gaps.abs() <= rounding
    left = k - nearer.sum(2, keepdim=True)
    # Sums of at most m k shares, each 1 where there are no ties: exact in float32 below 2^24.
    return nearer.float() + tied.float() * (left / tied.sum(2, keepdim=True)).float()
