"""transferscope: what did transfer learning give you, and where in the network does it sit?

`load_study`, `run`, `open_run` and `compare` are studies from Python; all others work without one, on plain tensors,
modules and state dicts.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transferscope.comparison import compare
    from transferscope.data.shuffle import block_shuffle, pixel_channel_shuffle
    from transferscope.interactive import open_run, run
    from transferscope.metrics.basin import basin
    from transferscope.metrics.cka import cka, linear_cka
    from transferscope.metrics.criticality import module_criticality
    from transferscope.metrics.distance import l2_distance
    from transferscope.metrics.interpolation import barrier, interpolate
    from transferscope.metrics.mistakes import mistakes
    from transferscope.metrics.rewinding import rewind
    from transferscope.metrics.spectrum import conv_singular_values
    from transferscope.module_table import modules
    from transferscope.side_by_side import compare_studies
    from transferscope.study_file import load_study

__version__ = "0.1.0"
__all__ = [
    "barrier",
    "basin",
    "block_shuffle",
    "cka",
    "compare",
    "compare_studies",
    "conv_singular_values",
    "interpolate",
    "l2_distance",
    "linear_cka",
    "load_study",
    "mistakes",
    "module_criticality",
    "modules",
    "open_run",
    "pixel_channel_shuffle",
    "rewind",
    "run",
]

_HOMES = {
    "barrier": "metrics.interpolation",
    "basin": "metrics.basin",
    "block_shuffle": "data.shuffle",
    "cka": "metrics.cka",
    "compare": "comparison",
    "compare_studies": "side_by_side",
    "conv_singular_values": "metrics.spectrum",
    "interpolate": "metrics.interpolation",
    "l2_distance": "metrics.distance",
    "linear_cka": "metrics.cka",
    "load_study": "study_file",
    "mistakes": "metrics.mistakes",
    "module_criticality": "metrics.criticality",
    "modules": "module_table",
    "open_run": "interactive",
    "pixel_channel_shuffle": "data.shuffle",
    "rewind": "metrics.rewinding",
    "run": "interactive",
}


def __getattr__(name: str) -> Any:
    # found when asked for: the command line imports this package and must not wait for torch
    if name in _HOMES:
        return getattr(importlib.import_module(f"transferscope.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'transferscope' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
