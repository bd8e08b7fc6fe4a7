"""A study of everything, so small that all of it runs in seconds."""

from __future__ import annotations

import copy
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from transferscope.analyses.contract import analysis_names
from transferscope.api.run import RunOptions, run_study
from transferscope.core.config import Study
from transferscope.execute.store.local import Store
from transferscope.study.file import load_study
from transferscope.study.plan import Plan, plan

_SIZES = {"image_size_px": 16, "train_size": 50, "test_size": 60}
_DOCUMENT: dict[str, Any] = {
    "name": "tiny",
    "network": {"name": "fixup_resnet", "depths": [1, 1], "widths": [4, 4]},
    "source": {
        "data": {"dataset": "letters", **_SIZES},
        "pretraining": {
            "epochs": 3,
            "batch_size": 16,
            "learning_rate": 0.1,
            "milestones": [0.6],
            "keep_epochs": "all",
        },
    },
    "targets": {
        "digits": {"data": {"dataset": "rendered_digits", **_SIZES}, "likeness_rank": 1},
        "scans": {"data": {"dataset": "radiographs", **_SIZES}, "likeness_rank": 2},
    },
    "training": {
        "epochs": 2,
        "batch_size": 25,
        "learning_rate": {"p_t": 0.05, "ri_t": 0.1},
        "keep_epochs": "all",
    },
    "seeds": [0, 1, 2],
}
_SETTINGS: dict[str, dict[str, Any]] = {
    "feature_reuse": {"block_sizes_px": [4], "pixels_and_channels": False, "bootstrap_draws": 100},
    "mistakes": {"bootstrap_draws": 100},
    "feature_similarity": {"num_images": 16, "permutations": 2},
    "parameter_distance": {},
    "barriers": {
        "alphas": [0, 0.5, 1],
        "bootstrap_draws": 100,
        "basin_points": 2,
        "basin_draws": 2,
        "plane_size": 2,
        "targets": ["digits"],
    },
    "criticality": {
        "alphas": [0, 1],
        "sigmas": [0, 0.1],
        "relative_sigmas": [0, 1],
        "bootstrap_draws": 100,
        "draws": 1,
        "num_images": 16,
        "targets": ["digits"],
    },
    "checkpoints": {"targets": ["digits"]},
}
"""Smallest settings of each analysis; one that isn't named here runs with its defaults."""


@dataclass(frozen=True, kw_only=True)
class TinyRun:
    """The tiny study after a run that nothing disturbed."""

    study_file: Path
    out: Path
    plan: Plan
    exit_code: int
    printed: str

    @property
    def store(self) -> Store:
        return Store(self.out / "store")


def document(*analyses: str, **replaced: Any) -> dict[str, Any]:
    """The study as plain data.

    Args:
        analyses: those to run; all that there are by default.
        replaced: top-level keys with another value.
    """
    chosen = {name: _SETTINGS.get(name, {}) for name in analyses or analysis_names()}
    return copy.deepcopy({**_DOCUMENT, "analyses": chosen, **replaced})


def searching(*analyses: str, **search: Any) -> dict[str, Any]:
    """The study as plain data, with a search of rates on the target scans.

    Args:
        analyses: those to run; all that there are by default.
        search: keys of `training.rate_search` with another value.
    """
    data = document(*analyses)
    data["targets"]["digits"]["learning_rate"] = data["training"].pop("learning_rate")
    data["training"]["rate_search"] = {"rates": [0.05, 0.1], "held_out": 0.2, "epochs": 1, **search}
    return data


def write(path: Path, data: Mapping[str, Any]) -> Path:
    """Write a study file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(dict(data), sort_keys=False))
    return path


def study(folder: Path, *analyses: str, **replaced: Any) -> Study:
    """The study, read from a file in `folder`."""
    return load_study(write(folder / "tiny.yaml", document(*analyses, **replaced)))


EMPTY_FIGURE = '<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1" viewBox="0 0 1 1"></svg>'


def run(study_file: Path, out: Path, *, draws: bool = False) -> TinyRun:
    """Run a study in this process; its figures are empty unless it `draws`, which takes as long as all the rest."""
    loaded = load_study(study_file)
    printed = io.StringIO()
    console = Console(file=printed, width=200)
    with pytest.MonkeyPatch.context() as patch:
        if not draws:
            patch.setattr("transferscope.report.write.draw", lambda chart: EMPTY_FIGURE)
        exit_code = run_study(loaded, RunOptions(out=out, workers=1, device="cpu"), console)
    return TinyRun(
        study_file=study_file,
        out=out,
        plan=plan(loaded),
        exit_code=exit_code,
        printed=printed.getvalue(),
    )
