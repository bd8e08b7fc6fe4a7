"""Linear CKA between the layers of any number of networks, in one pass over the data."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import polars as pl
import torch
from scipy import stats
from torch import Tensor, nn

from transferscope.errors import BadInput
from transferscope.metrics.capture import LayerGrams, chosen_layers
from transferscope.metrics.hsic import centred, gram, leave_group_out_hsic, permuted_hsic

Batch = Tensor | Sequence[Tensor]
LEVEL = 0.95
NUM_GROUPS = 20
"""Groups of the delete-d jackknife."""
SMALLEST_BATCH = 8
"""Fewest samples in a batch: the unbiased HSIC needs 4, and the jackknife leaves some out."""
DEGENERATE = 1e-12
"""Size of a centred Gram over the Gram's at which the rest is rounding."""
COLUMNS = {
    "model_x": pl.String,
    "layer_x": pl.String,
    "model_y": pl.String,
    "layer_y": pl.String,
    "linear_cka": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "null": pl.Float64,
    "n": pl.Int64,
    "status": pl.String,
}


@dataclass
class _Sums:
    """What is added up over the batches, for P layers."""

    hsic: Tensor | float = 0.0
    """(1 + G, P, P), see `leave_group_out_hsic`."""
    null: Tensor | float = 0.0
    """(R, P, P), see `permuted_hsic`."""
    size: Tensor | float = 0.0
    """(P,) squared norms of the Grams before centring."""
    rest: Tensor | float = 0.0
    """(P,) squared norms of the centred Grams."""
    num_samples: int = 0
    largest_batch: int = 0


def linear_cka(x: Tensor, y: Tensor, *, debiased: bool = True) -> float:
    """Linear centred kernel alignment of two sets of features of the same samples.

    HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)) with K = X X^T, L = Y Y^T and X, Y centred over the samples
    (Kornblith, Norouzi, Lee, Hinton 2019). Debiased: HSIC is the unbiased estimator of Song, Smola, Gretton,
    Bedo, Borgwardt 2012, equation 5; biased: tr(K H L H) / (n - 1)^2. All in float64.

    Args:
        x: (n, ...) features; all axes but the first are flattened.
        y: (n, ...) features of the same samples in the same order; any other number of them.
        debiased: the biased estimator grows with the number of features over n: .86 for unrelated layers at
            n = 32.

    Returns:
        At most 1, up to rounding; 1 for features equal up to rotation, scale and offset. Debiased, unrelated
        features give values around 0, negative ones too, which are kept. NaN where features are constant, not
        finite, or all pairs of samples lie equally far apart (debiased).

    Raises:
        BadInput: other numbers of samples, or fewer than 4 (2 if biased).

    >>> import torch
    >>> x = torch.tensor([[0.0, 1.0], [2.0, 0.0], [1.0, 5.0], [4.0, 4.0], [0.0, 2.0]])
    >>> round(linear_cka(x, -3 * x + 7), 6), round(linear_cka(x, x[:, :1]), 4)
    (1.0, 0.4035)
    """
    least = 4 if debiased else 2
    if x.ndim == 0 or y.ndim == 0 or len(x) != len(y) or len(x) < least:
        raise BadInput(
            f"Expected features (n, ...) of the same samples with n >= {least}, got shapes {tuple(x.shape)} "
            f"and {tuple(y.shape)}."
        )
    grams = torch.stack([gram(x), gram(y).to(x.device)])
    centres = centred(grams, debiased)
    size, rest = _squared_norms(grams), _squared_norms(centres)
    if any(_problem(float(size[side]), float(rest[side])) for side in (0, 1)):
        return math.nan
    return float((centres[0] * centres[1]).sum() / (rest[0].sqrt() * rest[1].sqrt()))


def cka(
    models: Mapping[str, nn.Module],
    data: Tensor | tuple[Tensor, Tensor] | Iterable[Batch],
    *,
    layers: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    debiased: bool = True,
    batch_size: int = 128,
    permutations: int = 100,
    generator: torch.Generator | None = None,
) -> pl.DataFrame:
    """Linear CKA of every layer of every model with every layer of every other model.

    Each model sees each batch once, and all models the same batch. HSIC is computed within batches and its
    mean over the samples of all batches goes into one CKA (Nguyen, Raghu, Kornblith 2021, equation 3); with a
    batch as large as the data it is `linear_cka`. Unbiased HSIC has the same mean whatever the batch size;
    biased CKA depends on it. All spatial axes are flattened, as in the paper.

    The interval is a delete-d jackknife (Shao and Wu 1989): each batch is split at random into 20 groups, the
    g-th group of all batches is left out in turn, and the spread of the 20 CKAs gives a Student t interval
    with 19 degrees of freedom. A bootstrap would be wrong: duplicates act like the diagonal that debiasing
    removes. The null is the 0.95 quantile of CKA with the samples of the one model permuted within batches:
    of R rounds the ceil(0.95 (R + 1))-th smallest value. Interval and null speak of other samples, not of
    other seeds.

    Args:
        models: two or more networks by name; put into evaluation mode, and back.
        data: inputs (n, ...), dealt into batches of equal size at random; or (inputs, labels) tensors, of
            which the inputs count; or batches, as tensors or (inputs, ...) sequences, gone through once:
            shuffled, as HSIC within batches of one class would be another number.
        layers: names of modules, the same for all models or by model; the top-level children by default.
        debiased: see `linear_cka`.
        batch_size: samples in one batch, at least 8; for tensors only. Smaller batches of an iterable are
            joined.
        permutations: rounds behind the null; 0 for none.
        generator: of the batches, groups and permutations; one with seed 0 by default.

    Returns:
        One row a pair of models (unordered, in the order given) and pair of layers. Columns: model_x,
        layer_x, model_y, layer_y; linear_cka (at most 1; negative values are kept); low, high (95 % interval,
        not cut at 1); null (NaN without permutations); n (samples); status: "ok", or why linear_cka is NaN:
        "non-finite", "constant" (the same output for all samples of each batch), "degenerate" (all samples
        equally far apart), "not called", "no tensor", "other batch size" (the first axis isn't the batch).

    Raises:
        BadInput: fewer than two models, unknown layers (all are named), too few samples.

    >>> import torch
    >>> x = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
    >>> nets = {"p": torch.nn.Sequential(torch.nn.Flatten()), "q": torch.nn.Sequential(torch.nn.Identity())}
    >>> row = cka(nets, x).row(0, named=True)
    >>> row["layer_x"], row["layer_y"], round(row["linear_cka"], 6), row["null"] < 0.2, row["status"]
    ('0', '0', 1.0, True, 'ok')
    """
    if len(models) < 2:
        raise BadInput(f"CKA compares at least two models, got {list(models)}.")
    chosen = chosen_layers(models, layers)
    source = torch.Generator().manual_seed(0) if generator is None else generator
    captures = {name: LayerGrams(model, chosen[name]) for name, model in models.items()}
    keys = [(name, layer) for name in models for layer in chosen[name]]
    owners = _owners([len(chosen[name]) for name in models])
    sums, reasons = _Sums(), dict[tuple[str, str], str]()
    with ExitStack() as stack:
        for capture in captures.values():
            stack.enter_context(capture.hooked())
        for batch in _batches(data, batch_size, source):
            grams = _layer_grams(captures, batch, reasons)
            _add(sums, grams, owners, debiased, permutations, source)
    return _table(keys, owners, sums, reasons)


def _layer_grams(
    captures: Mapping[str, LayerGrams], batch: Tensor, reasons: dict[tuple[str, str], str]
) -> Tensor:
    """(P, m, m) Grams of one batch; NaN for a layer without one, and the reason noted."""
    grams: list[Tensor] = []
    for name, capture in captures.items():
        for layer, found in capture.of(batch).items():
            if isinstance(found, str):
                reasons[name, layer] = found
                found = torch.full((len(batch), len(batch)), math.nan, dtype=torch.float64)
            grams.append(found)
    device = grams[0].device
    return torch.stack([found.to(device) for found in grams])


def _add(
    sums: _Sums,
    grams: Tensor,
    owners: Sequence[slice],
    debiased: bool,
    permutations: int,
    generator: torch.Generator,
) -> None:
    m = grams.shape[-1]
    centres = centred(grams, debiased)
    groups = torch.randperm(m, generator=generator, device=generator.device) % NUM_GROUPS
    sums.hsic = sums.hsic + leave_group_out_hsic(centres, groups, NUM_GROUPS, debiased)
    if permutations:
        sums.null = sums.null + permuted_hsic(centres, owners, permutations, debiased, generator)
    sums.size = sums.size + _squared_norms(grams)
    sums.rest = sums.rest + _squared_norms(centres)
    sums.num_samples += m
    sums.largest_batch = max(sums.largest_batch, m)


def _table(
    keys: Sequence[tuple[str, str]],
    owners: Sequence[slice],
    sums: _Sums,
    reasons: Mapping[tuple[str, str], str],
) -> pl.DataFrame:
    hsic, null = torch.as_tensor(sums.hsic).cpu(), torch.as_tensor(sums.null).cpu()
    replicates = _normalized(hsic, hsic)
    # Where no batch has as many samples as there are groups, the last groups are empty.
    num_groups = min(NUM_GROUPS, sums.largest_batch)
    estimate, left_out = replicates[0], replicates[1 : 1 + num_groups]
    spread = (left_out - left_out.mean(0)).square().sum(0) * (num_groups - 1) / num_groups
    half = stats.t.ppf((1 + LEVEL) / 2, num_groups - 1) * spread.sqrt()
    upper = torch.full_like(estimate, math.nan)
    if null.ndim:
        # The order statistic that unrelated features exceed with probability 1 - LEVEL, were all drawn alike.
        rank = min(math.ceil(LEVEL * (len(null) + 1)), len(null))
        upper = _normalized(null, hsic[:1]).sort(dim=0).values[rank - 1]
    problems = [
        reasons.get(key) or _problem(float(size), float(rest))
        for key, size, rest in zip(keys, torch.as_tensor(sums.size), torch.as_tensor(sums.rest), strict=True)
    ]
    columns = [numbers.tolist() for numbers in (estimate, estimate - half, estimate + half, upper)]
    rows = []
    for first, second in itertools.combinations(owners, 2):
        for x, y in itertools.product(range(first.start, first.stop), range(second.start, second.stop)):
            problem = problems[x] or problems[y]
            numbers = [math.nan] * len(columns) if problem else [column[x][y] for column in columns]
            rows.append((*keys[x], *keys[y], *numbers, sums.num_samples, problem or "ok"))
    return pl.DataFrame(rows, schema=COLUMNS, orient="row")


def _normalized(cross: Tensor, own: Tensor) -> Tensor:
    """(..., P, P) HSIC over the roots of the layers' HSIC with themselves."""
    root = own.diagonal(dim1=1, dim2=2).sqrt()
    return cross / (root[:, :, None] * root[:, None, :])


def _problem(size: float, rest: float) -> str | None:
    """Why a layer with Grams of these squared norms, before and after centring, has no CKA."""
    if not math.isfinite(size):
        return "non-finite"
    if size == 0:
        return "constant"
    return "degenerate" if rest <= DEGENERATE**2 * size else None


def _squared_norms(grams: Tensor) -> Tensor:
    return grams.square().sum((1, 2))


def _owners(num_layers: Sequence[int]) -> list[slice]:
    """Which of all layers in a row belong to each model."""
    ends = list(itertools.accumulate(num_layers))
    return [slice(end - count, end) for end, count in zip(ends, num_layers, strict=True)]


def _batches(
    data: Tensor | tuple[Tensor, Tensor] | Iterable[Batch], batch_size: int, generator: torch.Generator
) -> Iterator[Tensor]:
    """Batches of at least SMALLEST_BATCH samples."""
    if isinstance(data, tuple) and len(data) == 2:
        inputs, labels = data
        # Two batches in a tuple look much the same; labels are as many as the inputs, with at most two axes.
        if isinstance(inputs, Tensor) and isinstance(labels, Tensor) and len(labels) == len(inputs):
            data = inputs if labels.ndim <= 2 else data
    if isinstance(data, Tensor):
        if min(len(data), batch_size) < SMALLEST_BATCH:
            raise BadInput(
                f"CKA needs batches of at least {SMALLEST_BATCH} samples, got {len(data)} samples and "
                f"batch_size={batch_size}."
            )
        order = torch.randperm(len(data), generator=generator, device=generator.device).to(data.device)
        # Rounded down where the last batch would be too small.
        count = min(-(-len(data) // batch_size), len(data) // SMALLEST_BATCH)
        for part in order.tensor_split(count):
            yield data[part]
        return
    yield from _joined(data)


def _joined(batches: Iterable[Batch]) -> Iterator[Tensor]:
    """Batches as they come, those too small joined to a neighbour."""
    ready: list[Tensor] = []
    growing: list[Tensor] = []
    for batch in batches:
        growing.append(batch if isinstance(batch, Tensor) else batch[0])
        if sum(map(len, growing)) >= SMALLEST_BATCH:
            if ready:
                yield torch.cat(ready)
            ready, growing = growing, []
    ready += growing
    if sum(map(len, ready)) < SMALLEST_BATCH:
        raise BadInput(f"CKA needs at least {SMALLEST_BATCH} samples, got {sum(map(len, ready))}.")
    yield torch.cat(ready)
