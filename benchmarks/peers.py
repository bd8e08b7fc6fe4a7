"""The others: imported when asked for, and left out, with a word, where they are not installed."""

from __future__ import annotations

import importlib
from importlib import metadata
from types import ModuleType

from benchmarks.measure import Result
from transferscope.models.networks.torchvision import import_torchvision

PACKAGES = {
    "cka": "pytorch-cka",
    "torch_cka": "torch-cka",
    "cka_pytorch": "cka-pytorch",
    "calibrated_similarity": "calibrated-similarity",
    "loss_landscapes": "loss-landscapes",
    "lmsim.metrics": "lm-sim",
}
"""Module -> the package that holds it."""


def has(module: str) -> bool:
    """Whether the other is installed."""
    try:
        metadata.version(PACKAGES[module])
    except metadata.PackageNotFoundError:
        return False
    return True


def peer(module: str) -> ModuleType:
    """The other's module."""
    if module == "cka_pytorch":
        # it imports lightning, and that torchvision, which doesn't load beside every torch
        import_torchvision(module)
    return importlib.import_module(module)


def name_of(module: str) -> str:
    """Package and version, as in the tables."""
    return f"{PACKAGES[module]} {metadata.version(PACKAGES[module])}"


def note_missing(modules: list[str], result: Result) -> Result:
    """Adds a word about those that are not installed."""
    result.notes += [
        f"{PACKAGES[module]} is not installed, and left out: install the extra `benchmark`"
        for module in modules
        if not has(module)
    ]
    return result
