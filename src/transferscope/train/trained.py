"""What a training run leaves behind, or why it left nothing."""

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
    """A training whose loss, or what its network gives, is not finite."""

    history: pl.DataFrame
    """As `Trained.history`, up to the epoch where it happened; that row's numbers are NaN."""


@dataclass(frozen=True, kw_only=True)
class Best:
    """The network at the epoch that the recipe's `best_by` chose."""

    epoch: int
    """From 1: the init is no candidate."""
    metric: float
    """The metric that it was chosen by."""
    state: dict[str, Tensor]
    """On the CPU."""
    test_logits: Tensor
    """(n_test, num_classes) float32."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a training run leaves behind."""

    checkpoints: dict[int, dict[str, Tensor]]
    """State by kept epoch, on the CPU; 0 is the init. Where several processes train, only the first has them."""
    history: pl.DataFrame
    """A row an epoch, 0 is the init. The train columns are means over the epoch as it was trained (null at 0):
    on augmented and mixed images where the recipe says so, the loss toward smoothed and mixed labels, the metric
    against the label with the larger weight. Held-out and test columns are null at epochs where they weren't
    looked at: that is at kept epochs, and at all where `best_by` names them."""
    test_logits: Tensor
    """(n_test, num_classes) float32 at the last epoch; empty where no test images were given."""
    best: Best | None = None
    """Only where the recipe has a `best_by`."""
    data_share: float | None = None
    """Share of the time of the steps that went into getting their batches ready, measured; None where nothing was
    trained. The only thing here that differs from run to run."""
