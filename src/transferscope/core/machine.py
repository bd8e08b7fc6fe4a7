"""The cores and devices of this machine, and times in words."""

from __future__ import annotations

import os

from transferscope.core.errors import BadInput

INSTRUCTION_SETTINGS = (
    "ATEN_CPU_CAPABILITY",
    "ONEDNN_MAX_CPU_ISA",
    "DNNL_MAX_CPU_ISA",
    "MKL_ENABLE_INSTRUCTIONS",
    "MKL_CBWR",
)
"""Environment variables that choose the processor's instructions in PyTorch, oneDNN and MKL."""


def usable_cores() -> int:
    """The cores that this process may use; all of the machine where the system doesn't say. At least 1."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_capability() -> str:
    """The instructions that PyTorch uses here, such as AVX2 or AVX512: with others, the last digits differ."""
    import torch

    return torch.backends.cpu.get_cpu_capability()


def duration(seconds: float) -> str:
    """Seconds in the words people use."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def resolved_device(device: str) -> str:
    """The device to compute on. Imports torch only if `device` isn't "cpu".

    Raises:
        BadInput: there is no such device.
    """
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
