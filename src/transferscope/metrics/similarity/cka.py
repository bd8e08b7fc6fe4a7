"""Linear CKA between the layers of any number of networks, in one pass over the data."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack

import polars as pl
import torch
from torch import Tensor, nn

from transferscope.core.errors import BadInput
from transferscope.metrics.evaluation.batches import Data, placed_batches
from transferscope.metrics.evaluation.samples import sample_problems
from transferscope.metrics.inputs.arguments import generator_of, pairs_of, tensor, whole_number
from transferscope.metrics.inputs.guard import guarded
from transferscope.metrics.similarity.capture import LayerGrams, chosen_layers, uncompiled
from transferscope.metrics.similarity.cka_sums import SMALLEST_BATCH, CkaSums, problem_of, squared_norms
from transferscope.metrics.similarity.feature_space import is_smaller_in_feature_space, products_of_features
from transferscope.metrics.similarity.hsic import centred, gram
from transferscope.metrics.similarity.mutual_knn import DEFAULT_NEIGHBOURS


@guarded
def linear_cka(
    x: Tensor,
    y: Tensor,
    *,
    debiased: bool = True,
    ids: tuple[Sequence[object], Sequence[object]] | None = None,
) -> float:
    """Linear centred kernel alignment of two sets of features of the same samples.

    HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)) with K = X X^T, L = Y Y^T and X, Y centred over the samples
    (Kornblith, Norouzi, Lee, Hinton 2019). Debiased: HSIC is the unbiased estimator of Song, Smola, Gretton,
    Bedo, Borgwardt 2012, equation 5; biased: tr(K H L H) / (n - 1)^2. All in float64. Many samples of few features are
    computed in feature space, without the n x n matrices.

    Args:
        x: (n, ...) features; all axes but the first are flattened. A complex feature counts as two real ones, its
            real and its imaginary part.
        y: (n, ...) features of the same samples in the same order; any other number of them.
        debiased: the biased estimator grows with the number of features over n: .86 for unrelated layers at
            n = 32.
        ids: names of the samples behind x and behind y; given, they must be the same ones in the same order.

    Returns:
        At most 1, up to rounding; 1 for features equal up to rotation, scale and offset. Debiased, unrelated
        features give values around 0, negative ones too, which are kept. NaN where features are constant, not
        finite, or all pairs of samples lie equally far apart (debiased).

    Raises:
        BadInput: other samples, other numbers of samples, or fewer than 4 (2 if biased).

    >>> import torch
    >>> x = torch.tensor([[0.0, 1.0], [2.0, 0.0], [1.0, 5.0], [4.0, 4.0], [0.0, 2.0]])
    >>> round(linear_cka(x, -3 * x + 7), 6), round(linear_cka(x, x[:, :1]), 4)
    (1.0, 0.4035)
    """
    least = 4 if debiased else 2
    x, y = (tensor(features, name, complex_allowed=True) for features, name in ((x, "x"), (y, "y")))
    if x.ndim == 0 or y.ndim == 0 or len(x) != len(y) or len(x) < least:
        raise BadInput(
            f"Expected features (n, ...) of the same samples with n >= {least}, got shapes {tuple(x.shape)} "
            f"and {tuple(y.shape)}."
        )
    if ids is not None:
        if not isinstance(ids, (tuple, list)) or len(ids) != 2:
            raise BadInput(f"ids are the names of the samples behind x and behind y, two lists, got {ids!r}.")
        problems = sample_problems(dict(zip("xy", ids, strict=True)), len(x))
        if problems:
            raise BadInput(problems)
    if is_smaller_in_feature_space(x, y):
        product, size, rest = products_of_features(x, y.to(x.device), debiased)
    else:
        grams = torch.stack([gram(x), gram(y).to(x.device)])
        centres = centred(grams, debiased)
        size, rest = squared_norms(grams), squared_norms(centres)
        product = (centres[0] * centres[1]).sum()
    if any(problem_of(float(size[side]), float(rest[side])) for side in (0, 1)):
        return math.nan
    return float(product / (rest[0].sqrt() * rest[1].sqrt()))


@guarded
def cka(
    models: Mapping[str, nn.Module],
    data: Data,
    *,
    layers: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    pairs: Iterable[tuple[str, str]] | None = None,
    debiased: bool = True,
    batch_size: int = 128,
    permutations: int = 100,
    neighbours: int = DEFAULT_NEIGHBOURS,
    generator: torch.Generator | None = None,
) -> pl.DataFrame:
    """Linear CKA of every layer of every model with every layer of every other model.

    Each model sees each batch once, and all models a copy of the same batch. HSIC is computed within batches
    and its mean over the samples of all batches goes into one CKA (Nguyen, Raghu, Kornblith 2021, equation
    3); with a batch as large as the data it is `linear_cka`. Unbiased HSIC has the same mean whatever the
    batch size; biased CKA depends on it. Memory grows with the square of the batch, not with the data. All
    axes but the batch are flattened, as in the paper. The batch is the axis that grows with the number of samples,
    the first one as a rule; recurrent layers and some transformers have the tokens first. Two more passes of each model
    over four samples find it. They must give the same features as each other and as the first batch.

    The interval is a delete-d jackknife (Shao and Wu 1989): each batch is split at random into 20 groups, the
    g-th group of all batches is left out in turn, and the spread of the 20 CKAs gives a Student t interval
    with 19 degrees of freedom. A bootstrap would be wrong: duplicates act like the diagonal that debiasing
    removes. The null is the 0.95 quantile of CKA with the samples of the one model permuted within batches;
    null_max is that of the maximum over all pairs of layers of two models, which a CKA picked as the largest
    must exceed. Interval and null speak of other samples, not of other seeds.

    Args:
        models: networks by name, two or more unless `pairs` says otherwise; put into evaluation mode, and back.
        data: inputs (n, ...), dealt into batches of equal size at random; or (inputs, labels) tensors, as a tuple, a
            list or a TensorDataset, of which the inputs count; or batches, as tensors or (inputs, ...) sequences, such
            as a DataLoader, gone through once: shuffled, as HSIC within batches of one class would be another
            number.
        layers: names of modules, the same for all models or by model; by default the top-level children,
            below one that wraps the whole network.
        pairs: the pairs of models wanted; all by default. (name, name) compares the layers of one network.
        debiased: see `linear_cka`.
        batch_size: samples in one batch, at least 8; for tensors only. Smaller batches of an iterable are
            joined.
        permutations: rounds behind the nulls; 0 for none.
        neighbours: k of `mutual_knn`.
        generator: of the batches, groups and permutations; one with seed 0 by default.

    Returns:
        One row per pair of models (in the order given) and pair of layers. Columns: model_x, layer_x, model_y,
        layer_y; linear_cka (at most 1; negative values are kept); low, high (95 % interval, not cut at 1);
        null, null_max (NaN without permutations); influence, influence_place (the largest change of this CKA when
        one sample is left out of its batch, and that sample's place in the data, see `leave_one_out_terms`; NaN and
        the place where CKA doesn't exist without it; NaN and null where samples times pairs of layers, those asked for
        and each with itself, exceed 2^26: they would fill the memory); mutual_knn (see there; neighbours are sought
        within a batch, mean over the samples: among fewer, more neighbours are shared by chance, k / (batch - 1), so
        that only one batch size compares, and only one batch is all of the data; NaN where a batch has no k + 1); n
        (samples); smallest_batch (n where there is one); status: "ok", or why linear_cka is NaN: "non-finite",
        "constant" (the same output for all samples of each batch: a dead layer), "degenerate" (all samples
        equally far apart), "not called", "no tensor", "other batch size" (no axis of the output counts the samples),
        "batch axis unknown" (several axes may).

    Raises:
        BadInput: fewer than two models, unknown models or layers (all are named), a layer named twice, too few
            samples, data that can be read in two ways, options out of range; layers that are random in evaluation mode,
            or whose output for a sample depends on the other samples of its batch.

    >>> import torch
    >>> x = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
    >>> nets = {"p": torch.nn.Sequential(torch.nn.Flatten()), "q": torch.nn.Sequential(torch.nn.Identity())}
    >>> row = cka(nets, x).row(0, named=True)
    >>> row["layer_x"], row["layer_y"], round(row["linear_cka"], 6), row["null"] < 0.2, row["status"]
    ('0', '0', 1.0, True, 'ok')
    """
    models = uncompiled(models)
    chosen = chosen_layers(models, layers)
    wanted = list(itertools.combinations(models, 2)) if pairs is None else pairs_of(pairs, models, "model")
    if not wanted:
        raise BadInput(
            f"CKA compares at least two models, got {list(models)}. To compare the layers of one model: "
            "pairs=[(name, name)]."
        )
    permutations = whole_number(permutations, "permutations", least=0)
    neighbours = whole_number(neighbours, "neighbours", least=1)
    batch_size = whole_number(batch_size, "batch_size", least=1)
    source = generator_of(generator)
    captures = {name: LayerGrams(model, chosen[name], name) for name, model in models.items()}
    keys = [(name, layer) for name in models for layer in chosen[name]]
    sums = CkaSums(
        keys=keys,
        pairs=wanted,
        debiased=debiased,
        num_permutations=permutations,
        neighbours=neighbours,
        generator=source,
    )
    reasons: dict[tuple[str, str], str] = {}
    with ExitStack() as stack:
        for capture in captures.values():
            stack.enter_context(capture.hooked())
        for places, batch in placed_batches(data, batch_size, SMALLEST_BATCH, source):
            sums.add(_layer_grams(captures, batch, reasons), places)
    return sums.table(reasons)


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
