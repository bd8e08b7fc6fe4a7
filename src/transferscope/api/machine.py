"""What this machine has to compute with."""

from __future__ import annotations

from transferscope.core.errors import BadInput


def resolved_device(device: str) -> str:
    """The device to compute on; torch is only asked where the choice is left open or may be wrong."""
    if device == "cpu":
        return device
    import torch

    available = torch.cuda.is_available()
    if device == "auto":
        return "cuda" if available else "cpu"
    if device.startswith("cuda") and not available:
        raise BadInput("--device cuda: torch sees no CUDA device here. Valid: cpu, auto.")
    try:
        return str(torch.device(device))
    except RuntimeError:
        raise BadInput(f"--device {device}: unknown. Valid: auto, cpu, cuda, cuda:0, ...") from None
