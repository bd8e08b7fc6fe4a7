"""Optimizers with their groups of parameters, and the learning rate of every step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.sgd import sgd

from transferscope.core.config import Recipe


def learning_rate_at(recipe: Recipe, step: int, num_steps: int) -> float:
    """The base learning rate at a step (0-based): warm-up, then the schedule."""
    rate = recipe.learning_rate
    if step < recipe.warmup_steps:
        return rate * (step + 1) / recipe.warmup_steps
    done = step / num_steps
    if recipe.schedule == "cosine":
        return rate * 0.5 * (1 + math.cos(math.pi * done))
    if recipe.schedule == "multistep":
        return rate * recipe.drop_factor ** sum(done >= milestone for milestone in recipe.milestones)
    return rate


class Sgd:
    """Bit-identical to `torch.optim.SGD` with momentum; calls the same fused function.

    `torch.optim.SGD` itself is not used because creating one imports PyTorch's compiler, which takes about two seconds
    per process: as long as some training runs of a small network.

    Args:
        groups: dicts with params, lr, weight_decay and any other values.
        momentum: momentum of all groups.
    """

    def __init__(self, groups: list[dict[str, Any]], momentum: float) -> None:
        self.param_groups = groups
        self._momentum = momentum
        self.state: dict[nn.Parameter, dict[str, Tensor]] = {}
        """The "velocity" of each parameter, if there is momentum."""

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Perform a step with the current gradients."""
        for group in self.param_groups:
            moved = [parameter for parameter in group["params"] if parameter.grad is not None]
            velocities = [self.state.get(parameter, {}).get("velocity") for parameter in moved]
            sgd(
                moved,
                [parameter.grad for parameter in moved],
                velocities,
                fused=True,
                weight_decay=group["weight_decay"],
                momentum=self._momentum,
                lr=group["lr"],
                dampening=0.0,
                nesterov=False,
                maximize=False,
            )
            # the function has put the new ones in their places
            for parameter, velocity in zip(moved, velocities, strict=True):
                if velocity is not None:
                    self.state[parameter] = {"velocity": velocity}


Optimizer = Sgd | torch.optim.Optimizer


def optimizer_for(model: nn.Module, recipe: Recipe) -> Optimizer:
    """The recipe's optimizer over the trainable parameters, in up to three groups.

    Single numbers (Fixup's biases and scales) have their own learning rate and no weight decay. With
    `decay: weights_only`, other tensors of one axis (biases and scales of normalization layers) have no decay either.
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
    return Sgd([{"lr": recipe.learning_rate, **group} for group in groups], recipe.momentum)


def moments(optimizer: Optimizer, model: nn.Module) -> dict[str, Tensor]:
    """The state of the optimizer, by parameter and kind."""
    return {
        f"{name}/{kind}": tensor
        for name, parameter in model.named_parameters()
        for kind, tensor in optimizer.state.get(parameter, {}).items()
    }


def restore_moments(optimizer: Optimizer, model: nn.Module, found: Mapping[str, Tensor]) -> None:
    """Restore a state returned by `moments`, on the parameters' device and in their memory format."""
    parameters = dict(model.named_parameters())
    for key, tensor in found.items():
        name, _, kind = key.rpartition("/")
        parameter = parameters[name]
        # the fused steps read memory in its order: it must be that of the parameter
        place = torch.empty_like(parameter) if tensor.ndim else tensor.to(parameter.device)
        if tensor.ndim:
            place.copy_(tensor)
        optimizer.state.setdefault(parameter, {})[kind] = place.detach()


def set_rate(optimizer: Optimizer, recipe: Recipe, step: int, num_steps: int) -> float:
    """Set every group's rate for a step; returns the base rate."""
    rate = learning_rate_at(recipe, step, num_steps)
    for group in optimizer.param_groups:
        group["lr"] = rate * group["rate_factor"]
    return rate
