"""The only training loop."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl
import torch
from torch import Tensor, nn

from transferscope.core.config import Recipe
from transferscope.core.datasets import ImageSplit
from transferscope.core.errors import TaskFailed
from transferscope.core.options import Normalization
from transferscope.data.normalize import normalize
from transferscope.metrics.evaluation.scores import check_labels, score
from transferscope.train.evaluate import Evaluation
from transferscope.train.optimizer import learning_rate_at, moments, restore_moments
from transferscope.train.ranks import ALONE, Ranks
from transferscope.train.snapshot import Snapshot, Snapshots, State, copied, prefixed, unprefixed
from transferscope.train.step import Stepped, Stepper, dtype_of, memory_format_of
from transferscope.train.trained import HISTORY_SCHEMA, Diverged, Trained

NORMALISED_AT_ONCE = 2**27
"""Maximum number of values of training images that are kept as floats if there is no augmentation: half a GiB."""
ON_DEVICE_BYTES = 2**35
"""Maximum size of uint8 training images that are moved to the device at once: 32 GiB."""


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
    snapshots: Snapshots | None = None,
    ranks: Ranks = ALONE,
) -> Trained:
    """Train by the recipe.

    Args:
        model: the network at its initialization; trained in place.
        train_split: images to train on, already shuffled if the view requires it.
        test_split: images to evaluate on at the kept epochs, if any; they affect the result only if `best_by` is
            "test".
        recipe: how to train.
        normalization: how pixels become inputs.
        seed: seed of the order of the batches, of augmentation and of mixup.
        device: where to train.
        held_out_split: images held out from the training, if the recipe holds out some.
        on_progress: called after each epoch with the completed share and the epoch's row of the history; at the
            start, with the row of epoch 0, or the rows of all epochs before the training was interrupted.
        snapshots: storage of snapshots. If it contains one, the training resumes from it; on a CPU, the result is
            bit-identical to that of an uninterrupted training.
        ranks: the processes that train together, each with a replica of the model and all images. Each computes its
            part of every batch; the steps are those of one process, up to the rounding of sums.

    Raises:
        Diverged: the loss or the outputs of a kept network are not finite; names the step or epoch, and the rate.
        TaskFailed: no epoch is the best; too little memory; batches too small for the number of processes.
    """
    model = model.to(device=device, memory_format=memory_format_of(model))  # type: ignore[call-overload]
    if recipe.precision == "fp64":
        model = model.double()
    splits = {"held_out": held_out_split, "test": test_split}
    evaluation = Evaluation(model, splits, recipe, normalization, device, ranks)
    training = _Training(model, train_split, recipe, evaluation, normalization, seed, device, ranks)
    found = None if snapshots is None else _found(snapshots, device, ranks)
    if found is None:
        training.begin()
    else:
        training.restore(found)
    for row in training.rows:
        on_progress(row["epoch"] / recipe.epochs, row)
    try:
        while training.epoch < recipe.epochs:
            training.run_epoch()
            if snapshots is not None and ranks.told(int(snapshots.is_due()), device):
                snapshot = training.snapshot()
                if ranks.is_first:
                    snapshots.write(snapshot)
            on_progress(training.epoch / recipe.epochs, training.rows[-1])
    except torch.OutOfMemoryError as error:
        raise TaskFailed(_too_large(recipe, len(train_split), device, error)) from None
    return Trained(
        checkpoints=evaluation.checkpoints,
        history=pl.DataFrame(training.rows, schema=HISTORY_SCHEMA),
        test_logits=evaluation.test_logits,
        best=evaluation.best(),
        data_share=training.data_share,
    )


class _Training:
    """The state of a training between two epochs, and the step to the next one."""

    def __init__(
        self,
        model: nn.Module,
        split: ImageSplit,
        recipe: Recipe,
        evaluation: Evaluation,
        normalization: Normalization,
        seed: int,
        device: torch.device,
        ranks: Ranks,
    ) -> None:
        self._model, self._recipe, self._evaluation, self._ranks = model, recipe, evaluation, ranks
        self._device = device
        larger = split.larger if recipe.augmentation != "none" else None
        images = split.images if larger is None else larger
        # more images than a device should hold stay where they are, and go there batch by batch
        place = device if images.nbytes <= ON_DEVICE_BYTES else images.device
        self._images, self._labels = images.to(place), split.labels.to(place)
        if recipe.augmentation == "none" and self._images.numel() <= NORMALISED_AT_ONCE:
            # once instead of at every step, and laid out as the network reads: the same to the bit, image by image
            images = normalize(self._images, normalization, dtype_of(recipe))
            self._images = images.contiguous(memory_format=memory_format_of(model))
        self._batch_size = min(recipe.batch_size, len(self._images))
        self._steps = len(self._images) // self._batch_size
        _check_parts(self._batch_size, recipe, ranks)
        self._order = torch.Generator().manual_seed(seed)
        self._noise = torch.Generator().manual_seed(_noise_seed(seed))
        self._stepper = Stepper(
            model,
            recipe,
            num_steps=recipe.epochs * self._steps,
            normalization=normalization,
            generator=self._noise,
            device=device,
            ranks=ranks,
            size_px=split.images.shape[-1],
        )
        self.epoch = 0
        self.rows: list[dict[str, Any]] = []
        self._last_loss: float | None = None
        """Of the last step of the last epoch."""
        self._seconds = self._earlier_data_seconds = 0.0

    @property
    def data_share(self) -> float:
        return (self._earlier_data_seconds + self._stepper.data_seconds) / self._seconds

    def begin(self) -> None:
        """Evaluate the initial network, and check that all labels fit."""
        self.rows = [{"epoch": 0, **self._evaluation.at(0, self._recipe.learning_rate)}]
        # all at once and beforehand: looking at the labels of a batch would wait for a GPU at every step
        check_labels(self._evaluation.an_output.expand(len(self._labels), -1), self._labels.cpu())

    def run_epoch(self) -> None:
        """Train for one epoch, and evaluate the network."""
        epoch, steps, size = self.epoch + 1, self._steps, self._batch_size
        self._model.train()
        order = torch.randperm(len(self._images), generator=self._order).to(self._images.device)
        began = time.perf_counter()
        stepped = [
            self._stepper.step(
                self._images, self._labels, order[i * size : (i + 1) * size], (epoch - 1) * steps + i
            )
            for i in range(steps)
        ]
        self._seconds += time.perf_counter() - began
        row = {"epoch": epoch, "learning_rate": stepped[-1].rate}
        try:
            row |= self._train_scores(stepped, epoch)
            row |= self._evaluation.at(epoch, stepped[-1].rate)
        except Diverged as diverged:
            unknown = dict.fromkeys(set(HISTORY_SCHEMA) - {*row}, math.nan)
            diverged.history = pl.DataFrame([*self.rows, row | unknown], schema=HISTORY_SCHEMA)
            raise
        self.rows.append(row)
        self.epoch = epoch

    def snapshot(self) -> Snapshot:
        """The complete state of the training after an epoch."""
        evaluation, states = self._evaluation.noted()
        facts = {
            "epoch": self.epoch,
            "rows": self.rows,
            "last_loss": self._last_loss,
            "seconds": self._seconds,
            "data_seconds": self._earlier_data_seconds + self._stepper.data_seconds,
            "evaluation": evaluation,
        }
        # every tensor of the network, also those that checkpoints leave out
        network = {**dict(self._model.named_parameters()), **dict(self._model.named_buffers())}
        generators = {"order": self._order.get_state(), "noise": self._noise.get_state()}
        for name, state in self._global_generators().items():
            generators |= {
                f"{name}-{rank}": own[0]
                for rank, own in enumerate(self._ranks.all_rows(state[None].to(self._device)))
            }
        now = {
            **prefixed("network", network),
            **prefixed("optimizer", moments(self._stepper.optimizer, self._model)),
            **prefixed("generator", generators),
            "test_logits": self._evaluation.test_logits,
        }
        return Snapshot(facts=facts, states={**states, f"epoch-{self.epoch}": copied(now)})

    def restore(self, snapshot: Snapshot) -> None:
        """Restore a snapshot."""
        facts = snapshot.facts
        self.epoch, self.rows, self._last_loss = facts["epoch"], facts["rows"], facts["last_loss"]
        self._seconds, self._earlier_data_seconds = facts["seconds"], facts["data_seconds"]
        now: State = dict(snapshot.states[f"epoch-{self.epoch}"])
        network = {**dict(self._model.named_parameters()), **dict(self._model.named_buffers())}
        with torch.no_grad():
            for name, tensor in unprefixed("network", now).items():
                network[name].copy_(tensor)
        restore_moments(self._stepper.optimizer, self._model, unprefixed("optimizer", now))
        generators = unprefixed("generator", now)
        self._order.set_state(generators["order"])
        self._noise.set_state(generators["noise"])
        torch.set_rng_state(generators[f"cpu-{self._ranks.rank}"])
        if self._device.type == "cuda":
            torch.cuda.set_rng_state(generators[f"cuda-{self._ranks.rank}"], self._device)
        self._evaluation.restore(facts["evaluation"], dict(snapshot.states), now["test_logits"])

    def _global_generators(self) -> dict[str, Tensor]:
        """States of the generators that dropout and stochastic depth draw from."""
        states = {"cpu": torch.get_rng_state()}
        if self._device.type == "cuda":
            states["cuda"] = torch.cuda.get_rng_state(self._device)
        return states

    def _train_scores(self, stepped: Sequence[Stepped], epoch: int) -> dict[str, float]:
        """Loss and metric of an epoch's steps. Raises Diverged."""
        losses = self._ranks.total(torch.stack([step.loss for step in stepped]))
        self._check_finite(losses, epoch)
        self._last_loss = losses[-1].item()
        outputs, labels = (
            torch.cat(self._ranks.all_rows(torch.cat(tensors)))
            for tensors in ([step.outputs for step in stepped], [step.labels for step in stepped])
        )
        return {"train_loss": losses.double().mean().item(), "train_metric": score(outputs, labels)}

    def _check_finite(self, losses: Tensor, epoch: int) -> None:
        """Checked once per epoch, because a check at every step would wait for the GPU."""
        finite = losses.isfinite()
        if finite.all():
            return
        first = int((~finite).nonzero()[0])
        step = (epoch - 1) * self._steps + first
        rate = learning_rate_at(self._recipe, step, self._recipe.epochs * self._steps)
        last = losses[first - 1].item() if first else self._last_loss
        raise Diverged(
            f"the training loss is {losses[first].item()} at epoch {epoch}, step {step}, rate {rate:.4g} "
            f"(last finite loss: {'none' if last is None else f'{last:.4g}'}). Lower learning_rate or set clip_norm."
        )


def _found(snapshots: Snapshots, device: torch.device, ranks: Ranks) -> Snapshot | None:
    """The newest snapshot. The first process decides, so that either all processes resume or all start from the
    beginning."""
    found = snapshots.newest() if ranks.is_first else None
    if not ranks.told(int(found is not None), device):
        return None
    found = found or snapshots.newest()
    if found is None:
        raise RuntimeError("the first process found a snapshot that this one can't read")
    return found


def _check_parts(batch_size: int, recipe: Recipe, ranks: Ranks) -> None:
    """Raises TaskFailed if a process would have no image in a part of a batch."""
    smallest = batch_size // min(recipe.accumulate, batch_size)
    if smallest < ranks.count:
        raise TaskFailed(
            f"num_workers {ranks.count} can't share batches of {batch_size} images in {recipe.accumulate} parts: each "
            "needs an image of every part. Lower num_workers or accumulate, or raise batch_size."
        )


def _too_large(recipe: Recipe, count: int, device: torch.device, error: Exception) -> str:
    reason = (str(error).strip().splitlines() or ["no reason given"])[0]
    size = min(recipe.batch_size, count)
    return (
        f"out of memory on {device} in training with batch_size {size} in {recipe.accumulate} part(s): {reason} Set "
        f"accumulate to {2 * recipe.accumulate} or more, which computes the same batches in smaller parts; or lower "
        "batch_size, which is another recipe."
    )


def _noise_seed(seed: int) -> int:
    """A separate seed for augmentation and mixup, so that they don't change the order of the batches."""
    return int.from_bytes(hashlib.sha256(f"augmentation {seed}".encode()).digest()[:4], "big")
