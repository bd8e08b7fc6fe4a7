"""Measurement of the training speed on this machine."""

from __future__ import annotations

import time

import torch

from transferscope.core.allocator import freed_memory_kept
from transferscope.core.config import Recipe
from transferscope.core.datasets import Description, ImageSplit
from transferscope.core.options import NetworkOptions, Normalization
from transferscope.models.init import random_init
from transferscope.train.loop import train

WARM_UP_STEPS = 2
LEAST_SECONDS = 1.0
MAX_STEPS = 4096


def training_throughput(
    network: NetworkOptions,
    about: Description,
    recipe: Recipe,
    normalization: Normalization,
    device: torch.device,
) -> float:
    """Training images per second of one process, for the study's training loop on random images.

    Measures the time of n steps and of 2n steps; their difference excludes the fixed costs of a run (start,
    evaluation). n is doubled until the difference is at least a second.
    """
    steps = WARM_UP_STEPS
    with freed_memory_kept():  # as in a task
        _seconds(network, about, recipe, normalization, device, steps)
        before = _seconds(network, about, recipe, normalization, device, steps)
        while True:
            after = _seconds(network, about, recipe, normalization, device, 2 * steps)
            if after - before >= LEAST_SECONDS or 2 * steps >= MAX_STEPS:
                return steps * recipe.batch_size / max(after - before, 1e-9)
            steps, before = 2 * steps, after


def _seconds(
    network: NetworkOptions,
    about: Description,
    recipe: Recipe,
    normalization: Normalization,
    device: torch.device,
    steps: int,
) -> float:
    generator = torch.Generator().manual_seed(0)
    shape = (about.channels, about.image_size_px, about.image_size_px)
    images = torch.randint(256, (recipe.batch_size, *shape), dtype=torch.uint8, generator=generator)
    labels = torch.arange(recipe.batch_size) % about.num_classes
    if about.multi_label:
        labels = torch.nn.functional.one_hot(labels, about.num_classes).float()
    split = ImageSplit(images=images, labels=labels, ids=tuple(map(str, range(recipe.batch_size))))
    test = ImageSplit(images=images[:2], labels=labels[:2], ids=split.ids[:2])
    # a pass over the data costs a step here, so what is looked at after every one would count too much
    training = {"epochs": steps, "keep_epochs": (), "warmup_steps": 0, "best_by": "none", "held_out": 0.0}
    once = recipe.model_copy(update=training)
    model = random_init(network, about.num_classes, about.channels, 0)
    started = time.perf_counter()
    train(model, split, test, once, normalization=normalization, seed=0, device=device)
    return time.perf_counter() - started
