"""Common and uncommon mistakes of pairs of models, and how far they exceed what independence gives."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from transferscope.errors import BadInput

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ALL = "all"
MULTINOMIALS_AT_ONCE = 2**21
"""Counts drawn in one block of the bootstrap."""
LEVEL = 0.95


def mistakes(
    predictions: Mapping[str, Tensor],
    labels: Tensor,
    *,
    ids: Mapping[str, Sequence[object]] | None = None,
    bootstrap: int = 1000,
    generator: torch.Generator | None = None,
) -> pl.DataFrame:
    """Mistakes that every pair of models shares and does not share, per class (or finding) and in all.

    kappa = (c_obs - c_exp) / (1 - c_exp) is Cohen's kappa of the errors (Geirhos, Meding, Wichmann 2020):
    c_obs is the share of decisions on which both are right or both are wrong, and c_exp = p_a p_b +
    (1 - p_a)(1 - p_b) what two independent models of these accuracies would give. Given the accuracies, c_obs
    lies between |p_a + p_b - 1| and 1 - |p_a - p_b|: these are kappa_min and kappa_max. Counts are those of
    Neyshabur, Sedghi, Zhang 2020, on mistakes. Difficulty that both models share inflates all of them: put
    them beside a pair of another seed.

    Args:
        predictions: model name -> (n,) int64 predicted classes, or (n, k) 0/1 predicted findings.
        labels: the truth in the same form.
        ids: model name -> n names of the images behind its predictions; given, they must be the same ones in
            the same order for all models.
        bootstrap: resamples of the images behind the interval of kappa; 0 for none. A class's interval
            resamples that class's images.
        generator: of the resamples; one with seed 0 by default.

    Returns:
        One row a pair (unordered, in the order given) and scope. Columns: a, b; scope ("all", or the index
        of a class or finding, as text); n (decisions: images, in the multi-label "all" images x findings);
        both_wrong, only_a, only_b (counts: only_a means a wrong and b right); expected_both_wrong (under
        independence); kappa in [-1, 1], NaN where both models are always right or both always wrong;
        kappa_low, kappa_high (95 % percentile bootstrap over images; resamples without a kappa are left out;
        NaN without bootstrap); kappa_min, kappa_max; same_wrong_label (share of both_wrong with the same
        label; NaN where both_wrong is 0, null for multi-label, where two wrong decisions are always equal).

    Raises:
        BadInput: fewer than two models, shapes or values that don't go together, other images.

    >>> import torch
    >>> truth = torch.tensor([0, 0, 0, 0])
    >>> table = mistakes({"x": torch.tensor([0, 0, 1, 1]), "y": torch.tensor([0, 1, 1, 2])}, truth)
    >>> table.filter(scope="all").select("both_wrong", "only_a", "only_b", "kappa", "same_wrong_label").row(0)
    (2, 0, 1, 0.5, 0.5)
    """
    _check(predictions, labels, ids, bootstrap)
    names = list(predictions)
    predicted = {name: predictions[name].cpu().numpy() for name in names}
    truth = labels.cpu().numpy()
    wrong = {name: predicted[name] != truth for name in names}
    seeds = generator or torch.Generator().manual_seed(0)
    drawn = torch.randint(2**62, (1,), generator=seeds, device=seeds.device)
    rng = np.random.default_rng(int(drawn))
    tables = []
    for a, b in itertools.combinations(names, 2):
        same = predicted[a] == predicted[b]
        scopes, counts, same_wrong = (_by_finding if truth.ndim == 2 else _by_class)(
            wrong[a], wrong[b], same, truth
        )
        ends = np.full((len(scopes), 2), np.nan)
        if bootstrap:
            ends = _kappa_ends(counts, bootstrap, rng)
            if truth.ndim == 2:
                # A finding's decisions are images; over all findings an image brings k decisions at once.
                ends[0] = _clustered_kappa_ends(wrong[a], wrong[b], bootstrap, rng)
        tables.append(_table(a, b, scopes, counts, ends, same_wrong))
    return pl.concat(tables)


def _by_class(
    wrong_a: NDArray, wrong_b: NDArray, same: NDArray, truth: NDArray
) -> tuple[list[str], Ints, Floats]:
    """Scopes; (scopes, 4) counts: both right, only b, only a, both wrong; share of same labels."""
    present, index = np.unique(truth, return_inverse=True)
    cell = 2 * wrong_a + wrong_b
    counts = np.bincount(4 * index + cell, minlength=4 * len(present)).reshape(-1, 4)
    agreeing = np.bincount(index, weights=same & wrong_a, minlength=len(present))
    counts = np.concatenate([counts.sum(0, keepdims=True), counts])
    agreeing = np.concatenate([agreeing.sum(keepdims=True), agreeing])
    with np.errstate(invalid="ignore"):
        return [ALL, *map(str, present.tolist())], counts, agreeing / counts[:, 3]


def _by_finding(
    wrong_a: NDArray, wrong_b: NDArray, same: NDArray, truth: NDArray
) -> tuple[list[str], Ints, None]:
    del same
    cell = 2 * wrong_a + wrong_b
    counts = np.stack([(cell == value).sum(0) for value in range(4)], 1)
    counts = np.concatenate([counts.sum(0, keepdims=True), counts])
    return [ALL, *map(str, range(truth.shape[1]))], counts, None


def _agreement(counts: NDArray) -> tuple[Floats, Floats, Floats, Floats]:
    """Kappa, its bounds and the expected number of common mistakes, over the last axis of counts."""
    n = counts.sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        wrong_a, wrong_b = (counts[..., 2] + counts[..., 3]) / n, (counts[..., 1] + counts[..., 3]) / n
        observed = (counts[..., 0] + counts[..., 3]) / n
        # 1 - c_exp without the cancellation of 1 - (p_a p_b + ...), which is 0 only up to rounding.
        room = wrong_a * (1 - wrong_b) + wrong_b * (1 - wrong_a)
        expected = 1 - room
        room = np.where(room > 0, room, np.nan)
        kappa = (observed - expected) / room
        lowest = (np.abs(1 - wrong_a - wrong_b) - expected) / room
        highest = (1 - np.abs(wrong_a - wrong_b) - expected) / room
    return kappa, lowest, highest, n * wrong_a * wrong_b


def _kappa_ends(counts: Ints, draws: int, rng: np.random.Generator) -> Floats:
    """(scopes, 2): resampling n images is drawing the four counts from a multinomial."""
    blocks = []
    rows = max(1, MULTINOMIALS_AT_ONCE // (4 * draws))
    for start in range(0, len(counts), rows):
        block = counts[start : start + rows]
        n = block.sum(1)
        drawn = rng.multinomial(n, block / n[:, None], size=(draws, len(block)))
        blocks.append(_ends(_agreement(drawn)[0]))
    return np.concatenate(blocks)


def _clustered_kappa_ends(wrong_a: NDArray, wrong_b: NDArray, draws: int, rng: np.random.Generator) -> Floats:
    """(2,): images are resampled with all their findings: a multinomial over the distinct kinds of image."""
    cell = 2 * wrong_a + wrong_b
    per_image = np.stack([(cell == value).sum(1) for value in range(4)], 1)
    kinds, num_images = np.unique(per_image, axis=0, return_counts=True)
    drawn = rng.multinomial(len(cell), num_images / len(cell), size=draws)
    return _ends(_agreement(drawn @ kinds)[0][:, None])[0]


def _ends(kappa: Floats) -> Floats:
    """(scopes, 2) ends of (draws, scopes) replicates, without those that have no kappa."""
    ordered = np.sort(kappa, axis=0)  # NaN last
    last = (~np.isnan(kappa)).sum(0) - 1
    places = np.array([[(1 - LEVEL) / 2], [(1 + LEVEL) / 2]]) * last
    below = np.floor(places).astype(np.int64)
    above = np.minimum(below + 1, last)
    # Without any kappa the place is -1, the last of all: NaN.
    lower, upper = (np.take_along_axis(ordered, index, axis=0) for index in (below, above))
    return (lower + (places - below) * (upper - lower)).T


def _table(
    a: str, b: str, scopes: list[str], counts: Ints, ends: Floats, same_wrong: Floats | None
) -> pl.DataFrame:
    kappa, lowest, highest, expected = _agreement(counts)
    rows = len(scopes)
    return pl.DataFrame(
        {
            "a": [a] * rows,
            "b": [b] * rows,
            "scope": scopes,
            "n": counts.sum(1),
            "both_wrong": counts[:, 3],
            "only_a": counts[:, 2],
            "only_b": counts[:, 1],
            "expected_both_wrong": expected,
            "kappa": kappa,
            "kappa_low": ends[:, 0],
            "kappa_high": ends[:, 1],
            "kappa_min": lowest,
            "kappa_max": highest,
            "same_wrong_label": pl.Series([None] * rows, dtype=pl.Float64)
            if same_wrong is None
            else same_wrong,
        }
    )


def _check(
    predictions: Mapping[str, Tensor],
    labels: Tensor,
    ids: Mapping[str, Sequence[object]] | None,
    bootstrap: int,
) -> None:
    problems = []
    if len(predictions) < 2:
        problems.append(f"Mistakes need at least two models, got {list(predictions)}.")
    if labels.ndim not in (1, 2) or not len(labels):
        problems.append(f"Expected labels (n,) or (n, k) with n > 0, got {tuple(labels.shape)}.")
    for name, predicted in predictions.items():
        if predicted.shape != labels.shape:
            problems.append(
                f"Predictions of '{name}' have shape {tuple(predicted.shape)}, the labels "
                f"{tuple(labels.shape)}; give predicted labels (logits.argmax(1), or logits > 0), not logits."
            )
    for name, values in {"labels": labels, **predictions}.items():
        if values.ndim == 1 and values.is_floating_point():
            problems.append(f"'{name}' holds float numbers; give class indices of an integer type.")
        if values.ndim == 2 and not ((values == 0) | (values == 1)).all():
            problems.append(f"'{name}' holds other numbers than 0 and 1; give decisions such as logits > 0.")
    if bootstrap < 0:
        problems.append(f"bootstrap is a number of resamples, got {bootstrap}.")
    problems += _id_problems(predictions, ids, len(labels)) if ids is not None else []
    if problems:
        raise BadInput(problems)


def _id_problems(predictions: Mapping[str, Tensor], ids: Mapping[str, Sequence[object]], n: int) -> list[str]:
    problems = [f"ids lack the model '{name}'." for name in predictions if name not in ids]
    known = [(name, list(ids[name])) for name in predictions if name in ids]
    problems += [f"'{name}' has {len(own)} ids for {n} images." for name, own in known if len(own) != n]
    for name, own in known[1:]:
        first_name, first = known[0]
        if own == first or len(own) != len(first):
            continue
        place = next(i for i, (x, y) in enumerate(zip(first, own, strict=True)) if x != y)
        kind = (
            "the same images in another order; sort them by id" if set(own) == set(first) else "other images"
        )
        problems.append(
            f"'{name}' was run on {kind}: place {place} is {own[place]!r}, "
            f"but {first[place]!r} for '{first_name}'."
        )
    return problems
