"""The result of a training run, or the reason for its failure."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
from torch import Tensor

from transferscope.core.errors import TaskFailed

HISTORY_SCHEMA = {
    "epoch": pl.Int64,
    "learning_rate": pl.Float64,
    "train_loss": pl.Float64,
    "train_metric": pl.Float64,
    "held_out_loss": pl.Float64,
    "held_out_metric": pl.Float64,
    "test_loss": pl.Float64,
    "test_metric": pl.Float64,
}


class Diverged(TaskFailed):
    """The loss or the outputs of a training are not finite."""

    history: pl.DataFrame
    """Like `Trained.history`, up to the epoch of the divergence, whose numbers are NaN."""


@dataclass(frozen=True, kw_only=True)
class Best:
    """The network at the epoch that the recipe's `best_by` chose."""

    epoch: int
    """From 1: the initialization is not a candidate."""
    metric: float
    """The metric by which it was chosen."""
    state: dict[str, Tensor]
    """On the CPU."""
    test_logits: Tensor
    """(n_test, num_classes) float32."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The result of a training run."""

    checkpoints: dict[int, dict[str, Tensor]]
    """Epoch -> state on the CPU, for all kept epochs; 0 is the initialization. Of several processes, only the first
    has them."""
    history: pl.DataFrame
    """One row per epoch; 0 is the initialization. The train columns are means during the epoch (null at 0), on
    augmented and
    mixed images if the recipe has these: the loss for smoothed and mixed labels, and the metric for the label with the
    larger weight. Held-out and test columns are null at epochs without an evaluation; kept epochs are evaluated, and
    all epochs if `best_by` names these images."""
    test_logits: Tensor
    """(n_test, num_classes) float32 at the last epoch; empty without test images."""
    best: Best | None = None
    """The best epoch; None if the recipe has no `best_by`."""
    data_share: float | None = None
    """Measured share of the time that was spent on loading batches; None if nothing was trained. Only this value
    differs between identical runs."""
