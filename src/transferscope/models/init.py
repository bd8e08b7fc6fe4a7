"""Initializations: RI, and P under a new head."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from transferscope.errors import TaskFailed
from transferscope.models.build import build
from transferscope.options import NetworkOptions

HEAD = "head"
"""Name of the module that is never transferred."""


def random_init(options: NetworkOptions, num_classes: int, channels: int, seed: int) -> nn.Module:
    """RI: a network drawn at random; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(options, num_classes, channels)


def pretrained_init(
    options: NetworkOptions, num_classes: int, channels: int, seed: int, pretrained: Mapping[str, Tensor]
) -> nn.Module:
    """P under a new head: RI of the same seed with all but the head replaced by the pre-trained state.

    Raises:
        TaskFailed: a tensor outside the head is missing, unexpected, or of another shape.
    """
    model = random_init(options, num_classes, channels, seed)
    own = model.state_dict()
    body = {name: tensor for name, tensor in pretrained.items() if not _in_head(name)}
    wanted = {name for name in own if not _in_head(name)}
    wrong = [f"missing: {name}" for name in sorted(wanted - body.keys())]
    wrong += [f"unexpected: {name}" for name in sorted(body.keys() - wanted)]
    wrong += [
        f"{name}: shape {tuple(body[name].shape)}, expected {tuple(own[name].shape)}"
        for name in sorted(wanted & body.keys())
        if body[name].shape != own[name].shape
    ]
    if wrong:
        raise TaskFailed("the pre-trained weights don't fit the network: " + "; ".join(wrong))
    model.load_state_dict({**own, **body})
    return model


def _in_head(name: str) -> bool:
    return name == HEAD or name.startswith(HEAD + ".")
