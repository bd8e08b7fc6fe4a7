"""Whether a network can be built, divided and run, tried before anything is trained."""

from __future__ import annotations

import torch
from torch import Tensor

from transferscope.errors import BadInput
from transferscope.models.build import modules_of
from transferscope.models.init import random_init
from transferscope.options import NetworkOptions


def try_network(options: NetworkOptions, num_classes: int, channels: int, image_size_px: int) -> None:
    """Builds the network, finds its modules and runs it on two images.

    Raises:
        BadInput: any of it fails, or what the network gives isn't (n, num_classes) logits.
    """
    model = random_init(options, num_classes, channels, 0, image_size_px).eval()
    modules_of(options, model, num_classes)
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
