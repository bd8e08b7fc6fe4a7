"""Steps of training: ours, a plain loop with the same settings, and forward, backward and optimizer alone.

All have their images normalised in memory beforehand, as ours does once in a training that augments nothing. The plain
loop has a DataLoader in this process, PyTorch's defaults for memory format and optimizer, and reads the loss at every
step. Alone: one batch that never changes; with and without clipping the gradient norm.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.measure import Candidate, Case, Disagreement, Result, Size, compare_all
from transferscope.core.config import Recipe
from transferscope.core.options import NetworkOptions
from transferscope.core.runs import target_run
from transferscope.data.normalize import normalize
from transferscope.models.build import FixupResNetPreset
from transferscope.models.init import random_init
from transferscope.study.file import load_study
from transferscope.study.templates import embedded_study
from transferscope.train.optimizer import optimizer_for, set_rate
from transferscope.train.step import Stepper

JOB = "training"
OURS, PLAIN, ALONE = "Stepper", "a plain loop", "forward, backward and optimizer alone"
CLIPPED = "forward, backward, clipping and optimizer alone"
NUM_CLASSES = 10
TOLERANCE = 2e-3
"""Of the losses, relative: memory formats sum in other orders, and training makes more of it."""


def run(size: Size, rounds: int) -> Result:
    return compare_all(JOB, cases(size), size, rounds)


def cases(size: Size) -> Iterator[Case]:
    study = load_study(embedded_study())
    run = target_run(study, "ri_t", next(iter(study.targets)), 0)
    steps = 60 if size == "full" else 2
    yield _case("the demo's network, 32 px, batch 32", run.network, run.recipe, 32, steps)
    if size == "full":
        recipe = run.recipe.model_copy(update={"batch_size": 4, "clip_norm": None, "learning_rate": 0.01})
        yield _case("ResNet-50, 224 px, batch 4", FixupResNetPreset(name="fixup_resnet50"), recipe, 224, 1)


def _case(name: str, network: NetworkOptions, recipe: Recipe, side: int, steps: int) -> Case:
    source = torch.Generator().manual_seed(0)
    n = recipe.batch_size * steps
    images = torch.randint(256, (n, 3, side, side), dtype=torch.uint8, generator=source)
    labels = torch.randint(NUM_CLASSES, (n,), generator=source)
    recipe = recipe.model_copy(update={"warmup_steps": 0, "schedule": "constant", "epochs": 1})
    first = random_init(network, NUM_CLASSES, 3, 0)
    start = {name: value.clone() for name, value in first.state_dict().items()}
    plain, last = first, _in_last(random_init(network, NUM_CLASSES, 3, 0))

    def new(model: nn.Module) -> nn.Module:
        model.load_state_dict(start)
        return model.train()

    inputs = normalize(images, "per_image")
    laid_out = inputs.contiguous(memory_format=torch.channels_last)
    peers = [
        Candidate(name=PLAIN, run=lambda: _plain(new(plain), recipe, inputs, labels)),
        Candidate(name=ALONE, run=lambda: _alone(new(last), recipe, inputs, labels, clips=False)),
    ]
    if recipe.clip_norm is not None:
        peers.append(
            Candidate(name=CLIPPED, run=lambda: _alone(new(last), recipe, inputs, labels, clips=True))
        )
    return Case(
        name=f"{name}, {steps} steps" if steps > 1 else name,
        ours=[Candidate(name=OURS, run=lambda: _ours(new(last), recipe, laid_out, labels))],
        peers=peers,
        agree=_agree,
    )


def _ours(model: nn.Module, recipe: Recipe, images: Tensor, labels: Tensor) -> list[float]:
    size = recipe.batch_size
    steps = len(images) // size
    generator = torch.Generator().manual_seed(0)
    stepper = Stepper(model, recipe, num_steps=steps, normalization="per_image", generator=generator)
    order = torch.arange(len(images))
    losses = []
    for step in range(steps):
        batch = order[step * size : (step + 1) * size]
        losses.append(stepper.step(images, labels, batch, step).loss)
    return torch.stack(losses).tolist()


def _plain(model: nn.Module, recipe: Recipe, inputs: Tensor, labels: Tensor) -> list[float]:
    groups = [
        {"params": [p for p in model.parameters() if p.numel() > 1], "weight_decay": recipe.weight_decay}
    ]
    groups.append(
        {
            "params": [p for p in model.parameters() if p.numel() == 1],
            "lr": recipe.learning_rate * recipe.scalar_rate_factor,
        }
    )
    optimizer = torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=recipe.momentum)
    losses = []
    for batch, target in DataLoader(TensorDataset(inputs, labels), batch_size=recipe.batch_size):
        loss = nn.functional.cross_entropy(model(batch), target)
        optimizer.zero_grad()
        loss.backward()
        if recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
        optimizer.step()
        losses.append(loss.item())
    return losses


def _alone(model: nn.Module, recipe: Recipe, inputs: Tensor, labels: Tensor, *, clips: bool) -> list[float]:
    optimizer = optimizer_for(model, recipe)
    set_rate(optimizer, recipe, 0, 1)
    size, parameters = recipe.batch_size, list(model.parameters())
    batch, target = inputs[:size].contiguous(memory_format=torch.channels_last), labels[:size]
    losses = []
    for _ in range(len(inputs) // size):
        loss = nn.functional.cross_entropy(model(batch), target)
        optimizer.zero_grad()
        loss.backward()
        if clips:
            nn.utils.clip_grad_norm_(parameters, recipe.clip_norm or 0.0, foreach=True)
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses).tolist()


def _agree(found: Mapping[str, list[float]]) -> str:
    """The losses of the first steps: later ones drift apart, as rounding does in training."""
    worst = max(
        abs(own - other) / max(1.0, abs(own))
        for own, other in zip(found[OURS][:5], found[PLAIN][:5], strict=True)
    )
    if not worst <= TOLERANCE:
        raise Disagreement(f"the losses of the first steps differ by {worst:.2g}: {found}")
    if not abs(found[ALONE][0] - found[OURS][0]) <= TOLERANCE * max(1.0, abs(found[OURS][0])):
        raise Disagreement(f"the first loss is {found[ALONE][0]} alone, and {found[OURS][0]} in the loop")
    return f"the losses of the first {len(found[OURS][:5])} steps agree within {worst:.1g}"


def _in_last(model: nn.Module) -> nn.Module:
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
