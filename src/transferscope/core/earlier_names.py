"""Imports by the names that modules had in version 0.1, such as `transferscope.errors`, still work."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, ModuleType

ROOT = "transferscope"
MOVED = {
    "analyses._criticality_maps": "analyses.criticality.maps",
    "analysis": "analyses.contract",
    "config": "core.config",
    "data.base": "core.datasets",
    "datasets": "data.sets",
    "distributed": "api.torchrun",
    "errors": "core.errors",
    "figures": "analyses.theme",
    "findings": "analyses.findings",
    "options": "core.options",
    "pairs": "core.instances",
    "plan": "study.plan",
    "runs": "core.runs",
    "store": "execute.store.local",
    "study_file": "study.file",
}


def present_name(name: str) -> str | None:
    """The present name of a module of version 0.1, both with `transferscope.` in front; None if it hasn't moved."""
    package, _, below = name.partition(".")
    if package != ROOT or not below:
        return None
    if below in MOVED:
        return f"{ROOT}.{MOVED[below]}"
    folder, _, leaf = below.partition(".")
    if folder == "datasets":
        return f"{ROOT}.data.sets.{leaf}"
    if folder == "metrics" and leaf and "." not in leaf:
        found = list(Path(__file__).parents[1].glob(f"metrics/*/{leaf}.py"))
        # evaluation and criticality are names of folders now
        is_folder = (Path(__file__).parents[1] / "metrics" / leaf).is_dir()
        return f"{ROOT}.metrics.{found[0].parent.name}.{leaf}" if found and not is_folder else None
    return None


class EarlierNames:
    """Finds a module under its earlier name; what is imported is the module itself, not a copy.

    A finder and a loader in the sense of `importlib.abc`, which takes longer to import than all else that help needs.
    """

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        """The module's spec, if `name` is an earlier name."""
        return ModuleSpec(name, self) if present_name(name) else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        """An ordinary module, whose place the moved one takes."""

    def exec_module(self, module: ModuleType) -> None:
        """Import the module by its present name."""
        sys.modules[module.__name__] = importlib.import_module(present_name(module.__name__) or "")

    def get_code(self, name: str) -> CodeType | None:
        """The module's code, for `python -m`."""
        spec = importlib.util.find_spec(present_name(name) or "")
        return spec.loader.get_code(spec.name) if spec else None  # type: ignore[union-attr]


def keep_earlier_names() -> None:
    """Let modules be imported by their earlier names."""
    sys.meta_path.insert(0, EarlierNames())  # type: ignore[arg-type]
