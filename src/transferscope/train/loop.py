"""The only training loop."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import polars as pl
import torch
from torch import Tensor, nn

from transferscope.config import Recipe
from transferscope.data.base import ImageSplit
from transferscope.data.normalize import normalize
from transferscope.errors import TaskFailed
from transferscope.metrics.scores import per_example_loss, score
from transferscope.options import Normalization
from transferscope.train.evaluate import predict

HISTORY_SCHEMA = {
    "epoch": pl.Int64,
    "learning_rate": pl.Float64,
    "train_loss": pl.Float64,
    "train_metric": pl.Float64,
    "test_loss": pl.Float64,
    "test_metric": pl.Float64,
}


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a training run leaves behind."""

    checkpoints: dict[int, dict[str, Tensor]]
    """State by kept epoch, on the CPU; 0 is the init."""
    history: pl.DataFrame
    """A row an epoch, 0 is the init. The train columns are means over the epoch as it was trained (null at
    0); the test columns are null at epochs without a checkpoint."""
    test_logits: Tensor
    """(n_test, num_classes) float32 at the last epoch."""


def learning_rate_at(recipe: Recipe, step: int, num_steps: int) -> float:
    """The base rate at a step (0-based) of so many: warm-up, then the schedule."""
    rate = recipe.learning_rate
    if step < recipe.warmup_steps:
        return rate * (step + 1) / recipe.warmup_steps
    done = step / num_steps
    if recipe.schedule == "cosine":
        return rate * 0.5 * (1 + math.cos(math.pi * done))
    if recipe.schedule == "multistep":
        return rate * recipe.drop_factor ** sum(done >= milestone for milestone in recipe.milestones)
    return rate


def train(
    model: nn.Module,
    train_split: ImageSplit,
    test_split: ImageSplit,
    recipe: Recipe,
    *,
    normalization: Normalization,
    seed: int,
    device: torch.device,
    on_progress: Callable[[float], None] = lambda _: None,
) -> Trained:
    """Train by the recipe.

    Args:
        model: the network at its initialization; trained in place.
        train_split: images to train on, already shuffled where the view asks for it.
        test_split: images to evaluate on at the kept epochs; they decide nothing.
        recipe: how to train.
        normalization: how pixels become inputs.
        seed: of the order of the batches.
        device: where to train.
        on_progress: told the share that is done after each epoch.

    Raises:
        TaskFailed: the loss is not finite, or what a kept network gives; says the step or epoch, and the rate.
    """
    # channels_last is what makes small convolutions fast on CPUs and tensor cores alike
    model = model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = _optimizer(model, recipe)
    generator = torch.Generator().manual_seed(seed)
    images, labels = train_split.images.to(device), train_split.labels.to(device)
    batch_size = min(recipe.batch_size, len(images))
    steps = len(images) // batch_size
    checkpoints = {0: _state(model)}
    logits = predict(model, test_split.images, normalization, device)
    rate = recipe.learning_rate
    rows = [{"epoch": 0, **_test_scores(logits, test_split.labels)}]
    for epoch in range(1, recipe.epochs + 1):
        model.train()
        order = torch.randperm(len(images), generator=generator).to(device)
        losses, outputs = [], []
        for i in range(steps):
            batch = order[i * batch_size : (i + 1) * batch_size]
            step = (epoch - 1) * steps + i
            rate = _set_rate(optimizer, recipe, step, recipe.epochs * steps)
            inputs = normalize(images[batch], normalization).contiguous(memory_format=torch.channels_last)
            output = model(inputs)
            loss = per_example_loss(output, labels[batch]).mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            if recipe.clip_norm is not None:
                nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm, foreach=True)
            optimizer.step()
            losses.append(loss.detach())
            outputs.append(output.detach())
        _check_finite(torch.stack(losses), epoch, steps, recipe)
        seen = labels[order[: steps * batch_size]]
        row = {
            "epoch": epoch,
            "learning_rate": rate,
            "train_loss": torch.stack(losses).double().mean().item(),
            "train_metric": score(torch.cat(outputs), seen),
        }
        if epoch in recipe.kept_epochs:
            checkpoints[epoch] = _state(model)
            logits = predict(model, test_split.images, normalization, device)
            if not logits.isfinite().all():  # the last step is not seen by any training loss
                raise TaskFailed(
                    f"the outputs on the test images are not finite after epoch {epoch}, rate {rate:.4g}. "
                    "Lower learning_rate or set clip_norm."
                )
            row |= _test_scores(logits, test_split.labels)
        rows.append(row)
        on_progress(epoch / recipe.epochs)
    history = pl.DataFrame(rows, schema=HISTORY_SCHEMA)
    return Trained(checkpoints=checkpoints, history=history, test_logits=logits)


def _optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.SGD:
    """SGD in two groups: weights, and single numbers (Fixup's biases and scales) without decay."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {
            "params": [p for p in parameters if p.numel() > 1],
            "weight_decay": recipe.weight_decay,
            "rate_factor": 1.0,
        },
        {
            "params": [p for p in parameters if p.numel() == 1],
            "weight_decay": 0.0,
            "rate_factor": recipe.scalar_rate_factor,
        },
    ]
    groups = [group for group in groups if group["params"]]
    return torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=recipe.momentum, fused=True)


def _set_rate(optimizer: torch.optim.SGD, recipe: Recipe, step: int, num_steps: int) -> float:
    rate = learning_rate_at(recipe, step, num_steps)
    for group in optimizer.param_groups:
        group["lr"] = rate * group["rate_factor"]
    return rate


def _check_finite(losses: Tensor, epoch: int, steps: int, recipe: Recipe) -> None:
    """Looked at once an epoch, so that a GPU isn't waited for at every step."""
    finite = losses.isfinite()
    if finite.all():
        return
    first = int((~finite).nonzero()[0])
    step = (epoch - 1) * steps + first
    rate = learning_rate_at(recipe, step, recipe.epochs * steps)
    last = f"{losses[first - 1].item():.4g}" if first else "none in this epoch"
    raise TaskFailed(
        f"the training loss is {losses[first].item()} at epoch {epoch}, step {step}, rate {rate:.4g} "
        f"(last finite loss: {last}). Lower learning_rate or set clip_norm."
    )


def _state(model: nn.Module) -> dict[str, Tensor]:
    """A copy of the state on the CPU, contiguous: what is stored doesn't depend on the memory format."""
    return {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in model.state_dict().items()
    }


def _test_scores(logits: Tensor, labels: Tensor) -> dict[str, float]:
    return {
        "test_loss": per_example_loss(logits, labels).double().mean().item(),
        "test_metric": score(logits, labels),
    }
