"""The only training loop."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import torch
from torch import Tensor, nn

from transferscope.config import Recipe
from transferscope.data.base import ImageSplit
from transferscope.data.normalize import normalize
from transferscope.errors import TaskFailed
from transferscope.metrics.scores import check_labels, per_example_loss, score
from transferscope.options import Normalization
from transferscope.train.evaluate import predict
from transferscope.train.optimizer import learning_rate_at
from transferscope.train.step import Stepped, Stepper

NORMALISED_AT_ONCE = 2**27
"""Numbers of training images that are kept as floats where nothing varies them: half a GiB."""
ON_DEVICE_BYTES = 2**35
"""Training images, as uint8, that are put on the device all at once: 32 GiB."""
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
    """State by kept epoch, on the CPU; 0 is the init."""
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


def train(
    model: nn.Module,
    train_split: ImageSplit,
    test_split: ImageSplit | None,
    recipe: Recipe,
    *,
    normalization: Normalization,
    seed: int,
    device: torch.device,
    held_out_split: ImageSplit | None = None,
    on_progress: Callable[[float, Mapping[str, float]], None] = lambda *_: None,
) -> Trained:
    """Train by the recipe.

    Args:
        model: the network at its initialization; trained in place.
        train_split: images to train on, already shuffled where the view asks for it.
        test_split: images to evaluate on at the kept epochs, if any; they decide nothing unless `best_by` is
            "test".
        recipe: how to train.
        normalization: how pixels become inputs.
        seed: of the order of the batches, and of augmentation and mixup.
        device: where to train.
        held_out_split: images held out of the training, where the recipe holds some out.
        on_progress: told the share that is done after each epoch, and its row of the history; at the start, epoch 0's.

    Raises:
        Diverged: the loss is not finite, or what a kept network gives; says the step or epoch, and the rate.
        TaskFailed: no epoch is the best.
    """
    # channels_last is what makes small convolutions fast on CPUs and tensor cores alike
    model = model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    generator = torch.Generator().manual_seed(seed)
    # more images than a device should hold stay where they are, and go there batch by batch
    place = device if train_split.images.nbytes <= ON_DEVICE_BYTES else train_split.images.device
    images, labels = train_split.images.to(place), train_split.labels.to(place)
    batch_size = min(recipe.batch_size, len(images))
    steps = len(images) // batch_size
    stepper = Stepper(
        model,
        recipe,
        num_steps=recipe.epochs * steps,
        normalization=normalization,
        generator=torch.Generator().manual_seed(_noise_seed(seed)),
    )
    evaluation = _Evaluation(
        model, {"held_out": held_out_split, "test": test_split}, recipe, normalization, device
    )
    rows: list[dict[str, Any]] = [{"epoch": 0, **evaluation.at(0, recipe.learning_rate)}]
    on_progress(0.0, rows[0])
    if recipe.augmentation == "none" and images.numel() <= NORMALISED_AT_ONCE:
        # once instead of at every step, and laid out as the network reads: the same to the bit, image by image
        images = normalize(images, normalization).contiguous(memory_format=torch.channels_last)
    # all at once and beforehand: looking at the labels of a batch would wait for a GPU at every step
    check_labels(evaluation.an_output.expand(len(labels), -1), train_split.labels)
    data_seconds = all_seconds = 0.0
    for epoch in range(1, recipe.epochs + 1):
        model.train()
        order = torch.randperm(len(images), generator=generator).to(place)
        stepped = []
        began = time.perf_counter()
        for i in range(steps):
            asked = time.perf_counter()
            batch = order[i * batch_size : (i + 1) * batch_size]
            inputs, seen = images[batch].to(device), labels[batch].to(device)
            data_seconds += time.perf_counter() - asked
            stepped.append(stepper.step(inputs, seen, (epoch - 1) * steps + i))
        all_seconds += time.perf_counter() - began
        row = {"epoch": epoch, "learning_rate": stepped[-1].rate}
        try:
            row |= _train_scores(stepped, epoch, steps, recipe)
            row |= evaluation.at(epoch, stepped[-1].rate)
        except Diverged as diverged:
            unknown = dict.fromkeys(set(HISTORY_SCHEMA) - {*row}, math.nan)
            diverged.history = pl.DataFrame([*rows, row | unknown], schema=HISTORY_SCHEMA)
            raise
        rows.append(row)
        on_progress(epoch / recipe.epochs, row)
    return Trained(
        checkpoints=evaluation.checkpoints,
        history=pl.DataFrame(rows, schema=HISTORY_SCHEMA),
        test_logits=evaluation.test_logits,
        best=evaluation.best(),
        data_share=(data_seconds + stepper.data_seconds) / all_seconds,
    )


class _Evaluation:
    """Looks at a network after an epoch, and keeps the states that are asked for."""

    def __init__(
        self,
        model: nn.Module,
        splits: dict[str, ImageSplit | None],
        recipe: Recipe,
        normalization: Normalization,
        device: torch.device,
    ) -> None:
        self._model, self._recipe, self._device = model, recipe, device
        self._splits = {name: split for name, split in splits.items() if split is not None}
        self._normalization: Normalization = normalization
        self.checkpoints: dict[int, dict[str, Tensor]] = {}
        self.test_logits = torch.empty(0)
        self.an_output = torch.empty(0)
        """(1, num_classes)"""
        self._best: tuple[int, float, dict[str, Tensor]] | None = None

    def at(self, epoch: int, rate: float) -> dict[str, float]:
        """The row's part of an epoch.

        Raises:
            Diverged: outputs that are not finite: the last step is not seen by any training loss.
        """
        recipe = self._recipe
        is_kept = epoch in recipe.kept_epochs
        if is_kept:
            self.checkpoints[epoch] = _state(self._model)
        row = {}
        for name, split in self._splits.items():
            if not is_kept and recipe.best_by != name:
                continue
            logits = self._predict(split)
            self.an_output = logits[:1]
            if epoch and not logits.isfinite().all():
                raise Diverged(
                    f"the outputs on the {name.replace('_', '-')} images are not finite after epoch {epoch}, rate "
                    f"{rate:.4g}. Lower learning_rate or set clip_norm."
                )
            row[f"{name}_loss"] = per_example_loss(logits, split.labels).double().mean().item()
            row[f"{name}_metric"] = score(logits, split.labels)
            if name == "test":
                self.test_logits = logits
        if epoch and recipe.best_by != "none":
            metric = row[f"{recipe.best_by}_metric"]
            # NaN is never better
            if metric > (-1 if self._best is None else self._best[1]):
                state = self.checkpoints[epoch] if is_kept else _state(self._model)
                self._best = (epoch, metric, state)
        return row

    def best(self) -> Best | None:
        """The best network, evaluated; the model is left as it was."""
        if self._recipe.best_by == "none":
            return None
        if self._best is None:
            raise TaskFailed(
                f"best_by: {self._recipe.best_by} finds no best epoch: its metric is not defined at any, as where no "
                "finding has both classes among the images. Hold out more images, or set best_by to none."
            )
        epoch, metric, state = self._best
        logits, last = self.test_logits, self.checkpoints[self._recipe.epochs]
        if epoch != self._recipe.epochs:
            self._model.load_state_dict(state)
            logits = self._predict(self._splits["test"])
            self._model.load_state_dict(last)
        return Best(epoch=epoch, metric=metric, state=state, test_logits=logits)

    def _predict(self, split: ImageSplit) -> Tensor:
        return predict(self._model, split.images, self._normalization, self._device)


def _noise_seed(seed: int) -> int:
    """A seed of its own for augmentation and mixup: the order of the batches is the same without them."""
    return int.from_bytes(hashlib.sha256(f"augmentation {seed}".encode()).digest()[:4], "big")


def _train_scores(stepped: Sequence[Stepped], epoch: int, steps: int, recipe: Recipe) -> dict[str, float]:
    """Loss and metric of an epoch's steps. Raises Diverged."""
    losses = torch.stack([step.loss for step in stepped])
    _check_finite(losses, epoch, steps, recipe)
    outputs, labels = (
        torch.cat([step.outputs for step in stepped]),
        torch.cat([step.labels for step in stepped]),
    )
    return {"train_loss": losses.double().mean().item(), "train_metric": score(outputs, labels)}


def _check_finite(losses: Tensor, epoch: int, steps: int, recipe: Recipe) -> None:
    """Looked at once an epoch, so that a GPU isn't waited for at every step."""
    finite = losses.isfinite()
    if finite.all():
        return
    first = int((~finite).nonzero()[0])
    step = (epoch - 1) * steps + first
    rate = learning_rate_at(recipe, step, recipe.epochs * steps)
    last = f"{losses[first - 1].item():.4g}" if first else "none in this epoch"
    raise Diverged(
        f"the training loss is {losses[first].item()} at epoch {epoch}, step {step}, rate {rate:.4g} "
        f"(last finite loss: {last}). Lower learning_rate or set clip_norm."
    )


def _state(model: nn.Module) -> dict[str, Tensor]:
    """A copy of the state on the CPU, contiguous: what is stored doesn't depend on the memory format."""
    return {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in model.state_dict().items()
    }
