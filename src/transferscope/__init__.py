"""transferscope: what did transfer learning give you, and where in the network does it sit?

`load_study`, `run`, `open_run` and `compare` are studies from Python; all others work without one, on plain tensors,
modules and state dicts.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from transferscope.core.earlier_names import keep_earlier_names

if TYPE_CHECKING:
    from transferscope.api.compare import compare
    from transferscope.api.compare_studies import compare_studies
    from transferscope.api.results import open_run, run
    from transferscope.data.shuffle import block_shuffle, pixel_channel_shuffle
    from transferscope.metrics.agreement.mistakes import mistakes
    from transferscope.metrics.criticality.criticality import module_criticality
    from transferscope.metrics.criticality.rewinding import rewind
    from transferscope.metrics.landscape.basin import basin
    from transferscope.metrics.landscape.distance import l2_distance
    from transferscope.metrics.landscape.interpolation import barrier, interpolate
    from transferscope.metrics.landscape.spectrum import conv_singular_values
    from transferscope.metrics.similarity.cka import cka, linear_cka
    from transferscope.metrics.transferability.forecasts import h_score, leep, log_maximum_evidence
    from transferscope.metrics.transferability.probes import knn_probe, linear_probe
    from transferscope.models.modules.table import modules
    from transferscope.study.file import load_study

__version__ = "0.1.0"
keep_earlier_names()
__all__ = [
    "barrier",
    "basin",
    "block_shuffle",
    "cka",
    "compare",
    "compare_studies",
    "conv_singular_values",
    "h_score",
    "interpolate",
    "knn_probe",
    "l2_distance",
    "leep",
    "linear_cka",
    "linear_probe",
    "load_study",
    "log_maximum_evidence",
    "mistakes",
    "module_criticality",
    "modules",
    "open_run",
    "pixel_channel_shuffle",
    "rewind",
    "run",
]

_HOMES = {
    "barrier": "metrics.landscape.interpolation",
    "basin": "metrics.landscape.basin",
    "block_shuffle": "data.shuffle",
    "cka": "metrics.similarity.cka",
    "compare": "api.compare",
    "compare_studies": "api.compare_studies",
    "conv_singular_values": "metrics.landscape.spectrum",
    "h_score": "metrics.transferability.forecasts",
    "interpolate": "metrics.landscape.interpolation",
    "knn_probe": "metrics.transferability.probes",
    "l2_distance": "metrics.landscape.distance",
    "leep": "metrics.transferability.forecasts",
    "linear_cka": "metrics.similarity.cka",
    "linear_probe": "metrics.transferability.probes",
    "load_study": "study.file",
    "log_maximum_evidence": "metrics.transferability.forecasts",
    "mistakes": "metrics.agreement.mistakes",
    "module_criticality": "metrics.criticality.criticality",
    "modules": "models.modules.table",
    "open_run": "api.results",
    "pixel_channel_shuffle": "data.shuffle",
    "rewind": "metrics.criticality.rewinding",
    "run": "api.results",
}


def __getattr__(name: str) -> Any:
    # found when asked for: the command line imports this package and must not wait for torch
    if name in _HOMES:
        return getattr(importlib.import_module(f"transferscope.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'transferscope' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
