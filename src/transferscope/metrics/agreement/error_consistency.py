"""Error consistency of all pairs of models at once."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import polars as pl
from torch import Tensor

from transferscope.core.errors import BadInput
from transferscope.metrics.agreement.kappa import agreement
from transferscope.metrics.evaluation.samples import decision_tensors
from transferscope.metrics.inputs.guard import guarded


@guarded
def error_consistency(predictions: Mapping[str, Tensor], labels: Tensor) -> pl.DataFrame:
    """Cohen's kappa of the errors of all pairs of models, from one matrix product.

    The counts of common mistakes of all pairs are W W^T for the (models, images) matrix W that is 1 for
    wrong predictions. Kappa and its bounds are explained at `kappa.agreement` (Geirhos, Meding, Wichmann 2020).
    `mistakes` gives the same numbers with intervals, by class and beyond shared difficulty, at a higher cost.

    Args:
        predictions: model name -> (n,) int64 predicted classes.
        labels: (n,) int64, the true classes.

    Returns:
        One row per pair, in the order of `predictions`. Columns: a, b; n (images); both_wrong, only_a, only_b
        (counts: only_a means a wrong and b right); kappa in [-1, 1], NaN where both are always right or both
        always wrong; kappa_min, kappa_max (what the two accuracies allow).

    Raises:
        BadInput: fewer than two models, shapes that don't match, probabilities, or images without a label.

    >>> import torch
    >>> guesses = {"x": torch.tensor([0, 0, 1, 1]), "y": torch.tensor([0, 1, 1, 2])}
    >>> error_consistency(guesses, torch.tensor([0, 0, 0, 0])).row(0)
    ('x', 'y', 4, 2, 0, 1, 0.5, -0.5, 0.5)
    """
    predictions, labels = decision_tensors(predictions, labels, multi_label=False)
    n = len(labels) if labels.ndim else 0
    shapes = {name: tuple(own.shape) for name, own in predictions.items()}
    if len(shapes) < 2 or not n or set(shapes.values()) != {(n,)} or labels.shape != (n,):
        raise BadInput(
            "Expected at least two models with one predicted class an image, as many as labels (n,), got "
            f"predictions of shapes {shapes} and labels {tuple(labels.shape)}."
        )
    truth = labels.cpu().numpy()
    wrong = np.stack([own.cpu().numpy() != truth for own in predictions.values()])
    # whole numbers up to 2^53 are exact in float64
    floats = wrong.astype(np.float64)
    both = np.rint(floats @ floats.T).astype(np.int64)
    first, second = np.triu_indices(len(wrong), 1)
    both_wrong, only_a = both[first, second], both[first, first] - both[first, second]
    only_b = both[second, second] - both_wrong
    counts = np.stack([n - both_wrong - only_a - only_b, only_b, only_a, both_wrong], 1)
    found = agreement(counts)
    names = list(itertools.combinations(predictions, 2))
    return pl.DataFrame(
        {
            "a": [a for a, _ in names],
            "b": [b for _, b in names],
            "n": [n] * len(names),
            "both_wrong": both_wrong,
            "only_a": only_a,
            "only_b": only_b,
            "kappa": found.kappa,
            "kappa_min": found.lowest,
            "kappa_max": found.highest,
        }
    )
