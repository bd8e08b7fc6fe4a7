"""Common and uncommon mistakes of pairs of models, compared with independent mistakes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from transferscope.core.errors import BadInput
from transferscope.metrics.agreement.kappa import (
    NUM_CELLS,
    Floats,
    Ints,
    agreement,
    error_cell,
    percentile_ends,
    stratified_kappa,
)
from transferscope.metrics.evaluation.samples import decision_tensors, sample_problems
from transferscope.metrics.inputs.arguments import generator_of, pairs_of, whole_number
from transferscope.metrics.inputs.guard import guarded

ALL = "all"
MULTINOMIALS_AT_ONCE = 2**21
"""Counts drawn in one block of the bootstrap."""

PairsOfModels = Iterable[tuple[str, str]]


@dataclass(frozen=True)
class _Decisions:
    """Predictions of all models, and which of them are wrong."""

    predicted: Mapping[str, NDArray]
    wrong: Mapping[str, NDArray]
    """(n,) or (n, k) of bool."""
    num_wrong: Ints
    """Number of models that are wrong on each decision."""
    scopes: list[str]
    """Classes that occur; in multi-label data, the labels."""
    scope: Ints
    """(n,) or (n, k): place of each decision's scope."""

    def counts(self, a: str, b: str) -> Ints:
        """(scopes, strata, 4) of `error_cell`; the stratum is the number of other models that err."""
        pair = {a, b}
        strata = len(self.wrong) - len(pair) + 1
        stratum = self.num_wrong - sum(self.wrong[name].astype(np.int64) for name in pair)
        flat = (self.scope * strata + stratum) * NUM_CELLS + error_cell(self.wrong[a], self.wrong[b])
        found = np.bincount(flat.ravel(), minlength=len(self.scopes) * strata * NUM_CELLS)
        return found.reshape(len(self.scopes), strata, NUM_CELLS)


@guarded
def mistakes(
    predictions: Mapping[str, Tensor],
    labels: Tensor,
    *,
    ids: Mapping[str, Sequence[object]] | None = None,
    pairs: PairsOfModels | None = None,
    bootstrap: int = 1000,
    generator: torch.Generator | None = None,
) -> pl.DataFrame:
    """Common and uncommon mistakes of pairs of models, in total and per class (or label).

    The counts are those of Neyshabur, Sedghi, Zhang 2020; `kappa.agreement` explains kappa and its bounds. Shared
    difficulty increases all of them, so compare them with a pair of other seeds, and with kappa_stratified, which
    measures agreement only among decisions on which the same number of other models are wrong
    (`kappa.stratified_kappa`). Churn is that of Milani Fard, Cormier, Canini,
    Gupta 2016: the share of decisions on which the two models differ.

    Args:
        predictions: model name -> (n,) int64 predicted classes, or (n, k) 0/1 predicted labels.
        labels: the true labels in the same form.
        ids: model name -> ids of the n images of its predictions; if given, all models must have the same ids in the
            same order.
        pairs: the pairs (a, b); default: all. All models define the strata. A model may be paired with itself.
        bootstrap: number of resamples of the images for the interval of kappa; 0 for none. The interval of a class
            resamples the images of that class.
        generator: generator of the resamples; default: seed 0.

    Returns:
        One row per pair (in the given order) and scope. Columns: a, b; scope ("all", or the index
        of a class or label, as text); n (number of decisions: images, or images x labels in the multi-label "all");
        both_wrong, only_a, only_b (counts: only_a means a wrong and b right); expected_both_wrong,
        expected_uncommon (under independence; the latter of both models together); kappa in [-1, 1], NaN
        where both models are always right or both always wrong; kappa_low, kappa_high (95 % percentile
        bootstrap over images; resamples without a kappa are left out; NaN without bootstrap); kappa_min,
        kappa_max (its bounds); kappa_stratified (NaN without other models, too); same_wrong_label (share of
        both_wrong with the same label; NaN where both_wrong is 0, null for multi-label, where two wrong
        decisions are always equal); churn in [0, 1].

    Raises:
        BadInput: fewer than two models, unknown pairs, shapes or values that don't match, images without a
            label (an index below 0, such as -100), different images.

    >>> import torch
    >>> truth = torch.tensor([0, 0, 0, 0])
    >>> table = mistakes({"x": torch.tensor([0, 0, 1, 1]), "y": torch.tensor([0, 1, 1, 2])}, truth)
    >>> table.filter(scope="all").select("both_wrong", "only_a", "only_b", "kappa", "same_wrong_label").row(0)
    (2, 0, 1, 0.5, 0.5)
    """
    predictions, labels = decision_tensors(predictions, labels)
    wanted = None if pairs is None else pairs_of(pairs, predictions, "model")
    _check(predictions, labels, ids)
    bootstrap = whole_number(bootstrap, "bootstrap", least=0)
    decisions = _decisions(predictions, labels)
    rng = numpy_generator(generator)
    tables = []
    for a, b in itertools.combinations(predictions, 2) if wanted is None else wanted:
        counts = decisions.counts(a, b)
        counts = np.concatenate([counts.sum(0, keepdims=True), counts])
        cells = counts.sum(1)
        ends = np.full((len(cells), 2), np.nan)
        if bootstrap:
            ends = _kappa_ends(cells, bootstrap, rng)
            if labels.ndim == 2:
                # The decisions of one label are images; over all labels, an image has k decisions.
                ends[0] = _clustered_kappa_ends(decisions.wrong[a], decisions.wrong[b], bootstrap, rng)
        tables.append(_table(decisions, a, b, counts, ends))
    return pl.concat(tables)


def mistakes_by_difficulty(
    predictions: Mapping[str, Tensor], labels: Tensor, *, pairs: PairsOfModels | None = None
) -> pl.DataFrame:
    """Common and uncommon mistakes of pairs of models, by the number of other models that are wrong.

    Args:
        predictions, labels, pairs: as `mistakes`.

    Returns:
        One row per pair and number of other models that are wrong, from 0 to all of them. Columns: a, b;
        others_wrong, num_others; n (decisions), both_wrong, only_a, only_b; expected_both_wrong,
        expected_uncommon and kappa as in `mistakes`, within the row's decisions; NaN without any.

    Raises:
        BadInput: as `mistakes`.

    >>> import torch
    >>> truth = torch.zeros(4, dtype=torch.int64)
    >>> guesses = {"x": [0, 0, 1, 1], "y": [0, 1, 1, 0], "z": [0, 0, 0, 1]}
    >>> table = mistakes_by_difficulty({name: torch.tensor(own) for name, own in guesses.items()}, truth)
    >>> table.select("a", "b", "others_wrong", "both_wrong", "only_a", "only_b").row(1)
    ('x', 'y', 1, 0, 1, 0)
    """
    predictions, labels = decision_tensors(predictions, labels)
    wanted = None if pairs is None else pairs_of(pairs, predictions, "model")
    _check(predictions, labels, None)
    decisions = _decisions(predictions, labels)
    tables = []
    for a, b in itertools.combinations(predictions, 2) if wanted is None else wanted:
        counts = decisions.counts(a, b).sum(0)
        found = agreement(counts)
        tables.append(
            pl.DataFrame(
                {
                    "a": [a] * len(counts),
                    "b": [b] * len(counts),
                    "others_wrong": range(len(counts)),
                    "num_others": [len(counts) - 1] * len(counts),
                    **_named(counts),
                    "expected_both_wrong": found.expected_both_wrong,
                    "expected_uncommon": found.expected_uncommon,
                    "kappa": found.kappa,
                }
            )
        )
    return pl.concat(tables)


def numpy_generator(generator: torch.Generator | None) -> np.random.Generator:
    """A generator of NumPy, seeded by one of torch; one with seed 0 by default."""
    seeds = generator_of(generator)
    return np.random.default_rng(int(torch.randint(2**62, (1,), generator=seeds, device=seeds.device)))


def _decisions(predictions: Mapping[str, Tensor], labels: Tensor) -> _Decisions:
    predicted = {name: _numpy(own) for name, own in predictions.items()}
    truth = _numpy(labels)
    wrong = {name: own != truth for name, own in predicted.items()}
    if truth.ndim == 2:
        present, scope = np.arange(truth.shape[1]), np.broadcast_to(np.arange(truth.shape[1]), truth.shape)
    else:
        present, scope = np.unique(truth, return_inverse=True)
    return _Decisions(
        predicted=predicted,
        wrong=wrong,
        num_wrong=np.stack(list(wrong.values())).sum(0, dtype=np.int64),
        scopes=[str(name) for name in present.tolist()],
        scope=scope.astype(np.int64),
    )


def _numpy(decisions: Tensor) -> NDArray:
    """Class indices; 0 and 1 of several findings as bool, of whatever dtype they are."""
    return (decisions != 0 if decisions.ndim == 2 else decisions).cpu().numpy()


def _kappa_ends(counts: Ints, draws: int, rng: np.random.Generator) -> Floats:
    """(scopes, 2): resampling n images is drawing the four counts from a multinomial."""
    blocks = []
    rows = max(1, MULTINOMIALS_AT_ONCE // (NUM_CELLS * draws))
    for start in range(0, len(counts), rows):
        block = counts[start : start + rows]
        n = block.sum(1)
        drawn = rng.multinomial(n, block / n[:, None], size=(draws, len(block)))
        blocks.append(percentile_ends(agreement(drawn).kappa))
    return np.concatenate(blocks)


def _clustered_kappa_ends(wrong_a: NDArray, wrong_b: NDArray, draws: int, rng: np.random.Generator) -> Floats:
    """(2,): images are resampled with all their findings: a multinomial over the distinct kinds of image."""
    cell = error_cell(wrong_a, wrong_b)
    per_image = np.stack([(cell == value).sum(1) for value in range(NUM_CELLS)], 1)
    kinds, num_images = np.unique(per_image, axis=0, return_counts=True)
    drawn = rng.multinomial(len(cell), num_images / len(cell), size=draws)
    return percentile_ends(agreement(drawn @ kinds).kappa)


def _table(decisions: _Decisions, a: str, b: str, counts: Ints, ends: Floats) -> pl.DataFrame:
    """Rows of one pair, from (scopes, strata, 4) counts: the first scope is all."""
    rows, strata, _ = counts.shape
    cells = counts.sum(1)
    found = agreement(cells)
    same = decisions.predicted[a] == decisions.predicted[b]
    same_wrong = pl.Series([None] * rows, dtype=pl.Float64)
    if same.ndim == 1:
        with np.errstate(invalid="ignore"):
            same_wrong = pl.Series(_per_scope(decisions, same & decisions.wrong[a]) / cells[:, 3])
    return pl.DataFrame(
        {
            "a": [a] * rows,
            "b": [b] * rows,
            "scope": [ALL, *decisions.scopes],
            **_named(cells),
            "expected_both_wrong": found.expected_both_wrong,
            "expected_uncommon": found.expected_uncommon,
            "kappa": found.kappa,
            "kappa_low": ends[:, 0],
            "kappa_high": ends[:, 1],
            "kappa_min": found.lowest,
            "kappa_max": found.highest,
            "kappa_stratified": stratified_kappa(counts) if strata > 1 else np.full(rows, np.nan),
            "same_wrong_label": same_wrong,
            "churn": _per_scope(decisions, ~same) / cells.sum(1),
        }
    )


def _named(cells: Ints) -> dict[str, Ints]:
    return {"n": cells.sum(-1), "both_wrong": cells[:, 3], "only_a": cells[:, 2], "only_b": cells[:, 1]}


def _per_scope(decisions: _Decisions, where: NDArray) -> Floats:
    """Decisions of which something is true: of all scopes, then of each."""
    found = np.bincount(decisions.scope[where], minlength=len(decisions.scopes))
    return np.concatenate([[found.sum()], found]).astype(np.float64)


def _check(
    predictions: Mapping[str, Tensor],
    labels: Tensor,
    ids: Mapping[str, Sequence[object]] | None,
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
        elif predicted.dtype == torch.bool and labels.ndim == 1 and labels.max() > 1:
            problems.append(
                f"Predictions of '{name}' are True and False, the labels go up to {int(labels.max())}; give "
                "the predicted classes (logits.argmax(1)), not whether they are right."
            )
    if ids is not None and not isinstance(ids, Mapping):
        problems += sample_problems(ids, len(labels))
    elif ids is not None:
        problems += [f"ids lack the model '{name}'." for name in predictions if name not in ids]
        problems += sample_problems({name: ids[name] for name in predictions if name in ids}, len(labels))
    if problems:
        raise BadInput(problems)
