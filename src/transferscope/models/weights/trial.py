"""A trial of a network before any training: build it, find its modules and run it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from transferscope.core.errors import BadInput
from transferscope.core.options import NetworkOptions
from transferscope.metrics.evaluation.forward_checks import check_forward
from transferscope.models.build import modules_of
from transferscope.models.init import random_init
from transferscope.models.weights.untrained import check_random

TRIED_IMAGES = 4


def try_network(
    options: NetworkOptions,
    num_classes: int,
    channels: int,
    image_size_px: int,
    *,
    state: Mapping[str, Tensor] | None = None,
    trains: bool = False,
) -> None:
    """Builds the network, finds its modules and runs it on a few images.

    Args:
        options, num_classes, channels, image_size_px: the network.
        state: weights to try it with; those of a new network by default.
        trains: new networks are going to be trained, so their weights must be random.

    Raises:
        BadInput: any of it fails; what the network gives isn't (n, num_classes) logits, the same in each pass and of
            each image alone; the random initialization isn't random.
    """
    model = random_init(options, num_classes, channels, 0, image_size_px).eval()
    _try_shapes(model, options, num_classes, channels, image_size_px)
    modules = modules_of(options, model, num_classes, channels, image_size_px)
    if trains:
        check_random([model, random_init(options, num_classes, channels, 1, image_size_px)], modules)
    if state is not None:
        model.load_state_dict(state)
    shape = (TRIED_IMAGES, channels, image_size_px, image_size_px)
    check_forward(model, torch.randn(shape, generator=torch.Generator().manual_seed(0)))


def _try_shapes(
    model: nn.Module, options: NetworkOptions, num_classes: int, channels: int, image_size_px: int
) -> None:
    shape = (2, channels, image_size_px, image_size_px)
    wanted = f"The network '{options.name}' must turn images {shape} into logits {(2, num_classes)}"
    try:
        with torch.inference_mode():
            output = model(torch.zeros(shape))
    except Exception as error:
        raise BadInput(f"{wanted}; it raised {type(error).__name__}: {error}") from error
    if not isinstance(output, Tensor) or tuple(output.shape) != (2, num_classes):
        came = tuple(output.shape) if isinstance(output, Tensor) else f"a {type(output).__name__}"
        raise BadInput(
            f"{wanted}; it gave {came}. Wrap it in a module of your own that gives the logits alone."
        )
