"""Optimizers with their groups of parameters, and the learning rate of every step."""

from __future__ import annotations

import math

import torch
from torch import nn

from transferscope.config import Recipe


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


def optimizer_for(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimizer over the trainable parameters, in up to three groups.

    Single numbers (Fixup's biases and scales) have a rate of their own and no decay. With `decay: weights_only`
    neither have the other tensors of one axis: biases, and the scales of norms.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    weights = [p for p in parameters if p.numel() > 1]
    spared = [p for p in weights if recipe.decay == "weights_only" and p.ndim < 2]
    chosen = {id(p) for p in spared}
    groups = [
        {
            "params": [p for p in weights if id(p) not in chosen],
            "weight_decay": recipe.weight_decay,
            "rate_factor": 1.0,
        },
        {"params": spared, "weight_decay": 0.0, "rate_factor": 1.0},
        {
            "params": [p for p in parameters if p.numel() == 1],
            "weight_decay": 0.0,
            "rate_factor": recipe.scalar_rate_factor,
        },
    ]
    groups = [group for group in groups if group["params"]]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=True)
    return torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=recipe.momentum, fused=True)


def set_rate(optimizer: torch.optim.Optimizer, recipe: Recipe, step: int, num_steps: int) -> float:
    """Set every group's rate for a step; returns the base rate."""
    rate = learning_rate_at(recipe, step, num_steps)
    for group in optimizer.param_groups:
        group["lr"] = rate * group["rate_factor"]
    return rate
