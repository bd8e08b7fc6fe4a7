"""A network that was trained elsewhere, with the same results as a training run."""

from __future__ import annotations

import polars as pl
import torch
from torch import Tensor, nn

from transferscope.core.datasets import ImageData
from transferscope.core.errors import TaskFailed
from transferscope.core.options import Normalization
from transferscope.metrics.evaluation.scores import per_example_loss, score
from transferscope.train.evaluate import predict
from transferscope.train.trained import HISTORY_SCHEMA, Trained


def evaluated(
    model: nn.Module,
    final: dict[str, Tensor],
    init: dict[str, Tensor] | None,
    data: ImageData,
    *,
    normalization: Normalization,
    device: torch.device,
) -> Trained:
    """Evaluate a given network, as epoch 1, on training and test images.

    Args:
        model: the architecture; its weights are overwritten.
        final: the network's state.
        init: the initial state, if known; kept as epoch 0.
        data: images and labels, unshuffled.
        normalization: how pixels become inputs.
        device: the device for the evaluation.

    Raises:
        TaskFailed: an output is not finite.
    """
    model.load_state_dict(final)
    model = model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    row: dict[str, float | int] = {"epoch": 1}
    logits = torch.empty(0)
    for name, split in (("train", data.train), ("test", data.test)):
        logits = predict(model, split.images, normalization, device)
        if not logits.isfinite().all():
            raise TaskFailed(
                f"the outputs on the {name} images are not finite. Do the weights fit the network?"
            )
        row |= {
            f"{name}_loss": per_example_loss(logits, split.labels).double().mean().item(),
            f"{name}_metric": score(logits, split.labels),
        }
    checkpoints = {1: final} if init is None else {0: init, 1: final}
    return Trained(
        checkpoints=checkpoints, history=pl.DataFrame([row], schema=HISTORY_SCHEMA), test_logits=logits
    )
