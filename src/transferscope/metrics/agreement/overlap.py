"""A test over images: do the mistakes of one kind of pair overlap more than those of another?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from transferscope.core.errors import BadInput, did_you_mean
from transferscope.metrics.agreement.kappa import (
    NUM_CELLS,
    Floats,
    Ints,
    agreement,
    error_cell,
    percentile_ends,
    stratified_kappa,
)
from transferscope.metrics.agreement.mistakes import numpy_generator

MEASURES = ("uncommon_share", "kappa", "kappa_stratified")
DRAWS_AT_ONCE = 2**21
"""Counts of kinds of images drawn in one block."""
SCHEMA = {
    "other": pl.String,
    "measure": pl.String,
    "value": pl.Float64,
    "value_other": pl.Float64,
    "effect": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "p": pl.Float64,
    "test": pl.String,
    "n": pl.Int64,
}


@dataclass(frozen=True)
class _Images:
    """Groups of images on which the same models are wrong, and the size of each group."""

    wrong: NDArray
    """(models, kinds of image, decisions) of bool."""
    number: Ints
    """(kinds of image,): they add up to the images."""

    def counts(self, a: int, b: int) -> Ints:
        """(kinds of image, strata * 4): the decisions of an image, counted by stratum (other models that are wrong)
        and `error_cell`."""
        num_models, kinds, _ = self.wrong.shape
        strata = num_models - 1
        stratum = self.wrong.sum(0) - self.wrong[a] - self.wrong[b]
        cell = stratum * NUM_CELLS + error_cell(self.wrong[a], self.wrong[b])
        flat = np.arange(kinds)[:, None] * strata * NUM_CELLS + cell
        found = np.bincount(flat.ravel(), minlength=kinds * strata * NUM_CELLS)
        return found.reshape(kinds, strata * NUM_CELLS)


def overlap_tests(
    wrong: Mapping[str, Tensor],
    kinds: Mapping[str, Sequence[tuple[str, str]]],
    *,
    reference: str,
    draws: int = 1000,
    generator: torch.Generator | None = None,
) -> pl.DataFrame:
    """Do pairs of the reference kind share more of their mistakes than pairs of every other kind?

    A kind's value is the mean over its pairs of the share of uncommon mistakes, of kappa, and of the kappa
    stratified by how many of the other models err (`mistakes.mistakes`). All kinds are seen on the same
    images. Intervals are percentile bootstraps over images, with all their labels. p is one-sided, against
    "not more overlap":

    - uncommon_share, "sign flips": a paired permutation test (Fisher 1935). Were the kinds alike, the
      difference of their shares on an image would be as likely with the other sign; p = (1 + draws with a mean
      difference at least as large) / (1 + draws).
    - kappas, "bootstrap": they depend on the error rates, which no exchange on single images leaves alone;
      p = (1 + resamples without an effect) / (1 + resamples).

    Both tests generalize to other images, not to other seeds.

    Args:
        wrong: model name -> (n,) or (n, k) bool: True for wrong decisions. All models define the strata.
        kinds: kind -> its pairs of models.
        reference: the kind that is claimed to overlap more.
        draws: number of resamples and of random signs, at least 1.
        generator: generator of both; default: seed 0.

    Returns:
        One row per other kind and measure. Columns: other, measure; value, value_other (of the reference and
        of the other kind); effect (how much more the reference overlaps: value_other - value for
        uncommon_share, value - value_other for kappas), low, high (its 95 % interval); p; test; n (images).
        NaN where a pair has no kappa.

    Raises:
        BadInput: unknown names, a kind without pairs, shapes that differ.

    >>> import torch
    >>> a, c = torch.tensor([1, 1, 0, 0, 0, 0] * 9).bool(), torch.tensor([0, 0, 1, 1, 0, 0] * 9).bool()
    >>> table = overlap_tests({"a": a, "b": a, "c": c}, {"same": [("a", "b")], "mixed": [("a", "c")]},
    ...                       reference="same")
    >>> table["measure"][1], round(table["value"][1], 6), round(table["value_other"][1], 6), max(table["p"]) < 0.01
    ('kappa', 1.0, -0.5, True)
    """
    _check(wrong, kinds, reference, draws)
    names = list(wrong)
    images = _images([wrong[name].cpu().numpy() for name in names])
    rng = numpy_generator(generator)
    n = int(images.number.sum())
    counts = {
        kind: [images.counts(names.index(a), names.index(b)) for a, b in pairs]
        for kind, pairs in kinds.items()
    }
    values = {kind: _values(images.number[None], own)[:, 0] for kind, own in counts.items()}
    resampled = _resampled(images, counts, draws, rng)
    decisions = images.wrong.shape[2]
    uncommon = {kind: _uncommon_an_image(own) / decisions for kind, own in counts.items()}
    rows = []
    for other in kinds:
        if other == reference:
            continue
        for place, measure in enumerate(MEASURES):
            sign = -1 if measure == "uncommon_share" else 1
            ours, theirs = values[reference][place], values[other][place]
            effect = sign * (ours - theirs)
            replicates = sign * (resampled[reference][place] - resampled[other][place])
            low, high = percentile_ends(replicates)
            if measure == "uncommon_share":
                p = _sign_flips(uncommon[other] - uncommon[reference], images.number, draws, rng)
            else:
                known = replicates[~np.isnan(replicates)]
                p = math.nan if math.isnan(effect) else (1 + int((known <= 0).sum())) / (1 + len(known))
            test = "sign flips" if measure == "uncommon_share" else "bootstrap"
            rows.append((other, measure, ours, theirs, effect, low, high, p, test, n))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def _images(wrong: Sequence[NDArray]) -> _Images:
    """The distinct kinds of image: a few dozen where a decision an image is made, by a few models."""
    stacked = np.stack([own.reshape(len(own), -1) for own in wrong], 1)
    n, num_models, decisions = stacked.shape
    kinds, number = np.unique(np.packbits(stacked.reshape(n, -1), axis=1), axis=0, return_counts=True)
    bits = np.unpackbits(kinds, axis=1, count=num_models * decisions).astype(bool)
    return _Images(bits.reshape(-1, num_models, decisions).transpose(1, 0, 2), number)


def _values(number: Ints, counts: Sequence[Ints]) -> Floats:
    """(measures, draws): means over the pairs of a kind; the input has the number of images (draws, kinds of image)."""
    found = []
    for own in counts:
        cells = (number @ own).reshape(len(number), -1, NUM_CELLS)
        total = cells.sum(1)
        uncommon = (total[:, 1] + total[:, 2]) / total.sum(1)
        stratified = stratified_kappa(cells) if cells.shape[1] > 1 else np.full(len(cells), np.nan)
        found.append(np.stack([uncommon, agreement(total).kappa, stratified]))
    return np.mean(found, axis=0)


def _resampled(
    images: _Images, counts: Mapping[str, Sequence[Ints]], draws: int, rng: np.random.Generator
) -> dict[str, Floats]:
    """(measures, draws) of each kind; all kinds see the same resamples of the images."""
    n = int(images.number.sum())
    block = max(1, DRAWS_AT_ONCE // len(images.number))
    parts: dict[str, list[Floats]] = {kind: [] for kind in counts}
    for start in range(0, draws, block):
        drawn = rng.multinomial(n, images.number / n, size=min(block, draws - start))
        for kind, own in counts.items():
            parts[kind].append(_values(drawn, own))
    return {kind: np.concatenate(found, axis=1) for kind, found in parts.items()}


def _uncommon_an_image(counts: Sequence[Ints]) -> Floats:
    """(kinds of image,): uncommon mistakes on one image, mean over the pairs."""
    per_pair = [own.reshape(len(own), -1, NUM_CELLS)[:, :, 1:3].sum((1, 2)) for own in counts]
    return np.mean(per_pair, axis=0)


def _sign_flips(difference: Floats, number: Ints, draws: int, rng: np.random.Generator) -> float:
    """p of a positive mean difference when the sign on each image is drawn anew; images of a kind together."""
    observed = float(difference @ number)
    exceeding = 0
    block = max(1, DRAWS_AT_ONCE // len(number))
    for start in range(0, draws, block):
        kept = rng.binomial(number, 0.5, size=(min(block, draws - start), len(number)))
        # equal sums in another order of adding must count as equal
        exceeding += int(((2 * kept - number) @ difference >= observed - 1e-9).sum())
    return (1 + exceeding) / (1 + draws)


def _check(
    wrong: Mapping[str, Tensor], kinds: Mapping[str, Sequence[tuple[str, str]]], reference: str, draws: int
) -> None:
    problems = []
    if reference not in kinds:
        problems.append(f"There is no kind '{reference}'.{did_you_mean(reference, kinds)}")
    problems += [f"The kind '{kind}' has no pairs." for kind, pairs in kinds.items() if not pairs]
    asked = dict.fromkeys(name for pairs in kinds.values() for pair in pairs for name in pair)
    problems += [
        f"There is no model '{name}'.{did_you_mean(name, wrong)}" for name in asked if name not in wrong
    ]
    shapes = {tuple(own.shape) for own in wrong.values()}
    if len(shapes) != 1 or not all(next(iter(shapes), ())):
        problems.append(f"Expected the same decisions (n,) or (n, k) of all models, got {sorted(shapes)}.")
    if any(own.dtype != torch.bool for own in wrong.values()):
        problems.append("Expected bool tensors that say which decisions are wrong.")
    if draws < 1:
        problems.append(f"A test needs at least 1 draw, got {draws}.")
    if problems:
        raise BadInput(problems)
