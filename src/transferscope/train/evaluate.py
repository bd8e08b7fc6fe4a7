"""Logits of a network on images in memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from transferscope.data.normalize import normalize
from transferscope.options import Normalization

BATCH_SIZE = 256
"""Images a forward pass; fixed, so that results don't depend on who asks."""


def predict(model: nn.Module, images: Tensor, normalization: Normalization, device: torch.device) -> Tensor:
    """Logits (n, num_classes), float32 on the CPU, of uint8 images (n, c, h, w); evaluation mode meanwhile."""
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            parts = [
                model(
                    normalize(chunk.to(device), normalization).contiguous(memory_format=torch.channels_last)
                ).cpu()
                for chunk in images.split(BATCH_SIZE)
            ]
    finally:
        model.train(was_training)
    return torch.cat(parts).float()
