"""Evaluation of a network during the training, and the states to keep: checkpoints and the best epoch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from transferscope.core.config import Recipe
from transferscope.core.datasets import ImageSplit
from transferscope.core.errors import TaskFailed
from transferscope.core.options import Normalization
from transferscope.data.normalize import normalize
from transferscope.metrics.evaluation.halving import in_batches
from transferscope.metrics.evaluation.scores import per_example_loss, score
from transferscope.train.ranks import ALONE, Ranks
from transferscope.train.snapshot import State, copied
from transferscope.train.step import dtype_of
from transferscope.train.trained import Best, Diverged

BATCH_SIZE = 256
"""Images per forward pass; constant, so that results don't depend on the caller. Halved only if memory is short."""


def predict(
    model: nn.Module,
    images: Tensor,
    normalization: Normalization,
    device: torch.device,
    ranks: Ranks = ALONE,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Logits (n, num_classes), float32 on the CPU, of uint8 images (n, c, h, w); evaluation mode meanwhile. `dtype` is
    that of the network.

    Several processes share the batches. Each gets all logits, bit-identical to those of a single process.
    """

    def logits(chunk: Tensor) -> Tensor:
        inputs = normalize(chunk.to(device), normalization, dtype)
        return model(inputs.contiguous(memory_format=torch.channels_last)).cpu()

    def in_parts(chunk: Tensor) -> Tensor:
        return torch.cat(list(in_batches(lambda rows: logits(chunk[rows]), len(chunk), BATCH_SIZE)))

    chunks = images.split(BATCH_SIZE)
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            parts = [in_parts(chunk) for chunk in ranks.own_chunks(chunks)]
    finally:
        model.train(was_training)
    if ranks.count == 1:
        return torch.cat(parts).float()
    return _together(parts, [len(chunk) for chunk in chunks], device, ranks)


def _together(parts: list[Tensor], sizes: list[int], device: torch.device, ranks: Ranks) -> Tensor:
    """All logits in the order of the images, from each process's chunks."""
    widest = torch.zeros(ranks.count, dtype=torch.int64, device=device)
    widest[ranks.rank] = parts[0].shape[1] if parts else 0
    num_classes = int(ranks.total(widest).max())  # there may be fewer chunks than processes
    own = torch.cat(parts).float() if parts else torch.empty(0, num_classes)
    shared = [rows.cpu() for rows in ranks.all_rows(own.to(device))]
    split = [
        list(rows.split(sizes[rank :: ranks.count])) if len(rows) else [] for rank, rows in enumerate(shared)
    ]
    return torch.cat([split[number % ranks.count][number // ranks.count] for number in range(len(sizes))])


class Evaluation:
    """Evaluates the network after an epoch, and keeps the checkpoints of the recipe."""

    def __init__(
        self,
        model: nn.Module,
        splits: dict[str, ImageSplit | None],
        recipe: Recipe,
        normalization: Normalization,
        device: torch.device,
        ranks: Ranks = ALONE,
    ) -> None:
        self._model, self._recipe, self._device, self._ranks = model, recipe, device, ranks
        self._splits = {name: split for name, split in splits.items() if split is not None}
        self._normalization: Normalization = normalization
        self.checkpoints: dict[int, State] = {}
        self.test_logits = torch.empty(0)
        self.an_output = torch.empty(0)
        """(1, num_classes)"""
        self._best: tuple[int, float, State] | None = None

    def at(self, epoch: int, rate: float) -> dict[str, float]:
        """The columns of the history for an epoch.

        Raises:
            Diverged: outputs are not finite. This detects a divergence in the last step, which no training loss shows.
        """
        recipe = self._recipe
        is_kept = epoch in recipe.kept_epochs
        if is_kept:
            self.checkpoints[epoch] = self._state()
        row = {}
        for name, split in self._splits.items():
            if not is_kept and recipe.best_by != name:
                continue
            logits = self._predicted(split)
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
                self._best = (epoch, metric, self.checkpoints[epoch] if is_kept else self._state())
        return row

    def best(self) -> Best | None:
        """The best network and its evaluation; the model is not changed."""
        if self._recipe.best_by == "none":
            return None
        if self._best is None:
            raise TaskFailed(
                f"best_by: {self._recipe.best_by} finds no best epoch: its metric is not defined at any, as where no "
                "finding has both classes among the images. Hold out more images, or set best_by to none."
            )
        if not self._ranks.is_first:  # it alone has the states
            return None
        epoch, metric, state = self._best
        logits, last = self.test_logits, self.checkpoints[self._recipe.epochs]
        if epoch != self._recipe.epochs:
            self._model.load_state_dict(state)
            test = self._splits["test"]
            logits = self._predicted(test, ALONE)
            self._model.load_state_dict(last)
        return Best(epoch=epoch, metric=metric, state=state, test_logits=logits)

    def noted(self) -> tuple[dict[str, Any], dict[str, State]]:
        """The state of this evaluation for `restore`: plain data, and states by name."""
        states = {f"checkpoint-{epoch}": state for epoch, state in self.checkpoints.items()}
        best = None
        if self._best is not None:
            best = {"epoch": self._best[0], "metric": self._best[1]}
            if self._best[0] not in self.checkpoints:
                states[f"best-{self._best[0]}"] = self._best[2]
        return {"checkpoints": sorted(self.checkpoints), "best": best}, states

    def restore(self, facts: dict[str, Any], states: dict[str, State], test_logits: Tensor) -> None:
        """Restore a state returned by `noted`."""
        kept = facts["checkpoints"] if self._ranks.is_first else []
        self.checkpoints = {epoch: states[f"checkpoint-{epoch}"] for epoch in kept}
        if facts["best"] is not None:
            epoch = facts["best"]["epoch"]
            state = self.checkpoints[epoch] if epoch in self.checkpoints else states.get(f"best-{epoch}", {})
            self._best = (epoch, facts["best"]["metric"], state)
        self.test_logits = test_logits

    def _predicted(self, split: ImageSplit, ranks: Ranks | None = None) -> Tensor:
        return predict(
            self._model,
            split.images,
            self._normalization,
            self._device,
            self._ranks if ranks is None else ranks,
            dtype_of(self._recipe),
        )

    def _state(self) -> State:
        """What is stored: in float32, as what reads it computes."""
        if not self._ranks.is_first:
            return {}
        state = copied(self._model.state_dict())
        if self._recipe.precision != "fp64":
            return state
        return {
            name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()
        }
