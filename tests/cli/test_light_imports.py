"""Help, plans and study files answer at once: they import neither torch nor what tables and figures need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "polars", "altair", "sklearn", "scipy", "matplotlib", "vl_convert", "jinja2")
LIGHT = (
    "transferscope",
    "transferscope.cli",
    "transferscope.study.plan",
    "transferscope.study.file",
    "transferscope.models.build",
    "transferscope.report.given_names",
)

STUDY = """
name: light
network: {name: fixup_resnet}
source: {data: {dataset: letters}, pretraining: {epochs: 1, learning_rate: 0.1}}
targets: {digits: {data: {dataset: handwritten_digits}}}
training: {epochs: 1, learning_rate: {p_t: 0.1, ri_t: 0.1}}
seeds: [0, 1]
analyses: {%s}
"""

WITHOUT = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {heavy!r}:
            raise ImportError(name + " is imported")
sys.meta_path.insert(0, Refuse())
"""


def run_without_heavy_imports(code: str) -> None:
    """Run `code` in a new Python where importing a heavy library raises: the traceback says who did."""
    script = WITHOUT.format(heavy=HEAVY) + code
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", LIGHT)
def test_a_module_of_the_planning_side_is_light(module: str) -> None:
    run_without_heavy_imports(f"import {module}")


def test_a_study_is_loaded_and_planned_without_heavy_imports(tmp_path: Path) -> None:
    from transferscope.analyses.contract import analysis_names

    path = tmp_path / "study.yaml"
    path.write_text(STUDY % ", ".join(f"{name}: null" for name in analysis_names()))
    run_without_heavy_imports(
        "from transferscope.study.file import load_study\n"
        "from transferscope.study.plan import plan\n"
        f"plan(load_study({str(path)!r}))\n"
    )


def test_training_does_not_wait_for_the_compiler_of_torch() -> None:
    """torch.optim imports it when an optimizer is made, which takes a worker two seconds."""
    run_without_heavy_imports(
        "import sys\n"
        "sys.meta_path.pop(0)\n"
        "import torch\n"
        "from transferscope.core.config import Recipe\n"
        "from transferscope.train.step import Stepper\n"
        "recipe = Recipe(epochs=1, learning_rate=0.1, clip_norm=1.0)\n"
        "stepper = Stepper(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2)), recipe, num_steps=1,\n"
        "                  normalization='unit', generator=torch.Generator())\n"
        "stepper.step(torch.zeros(2, 3, 2, 2, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64),\n"
        "             torch.arange(2), 0)\n"
        "assert 'torch._dynamo' not in sys.modules\n"
    )


def test_measuring_does_not_wait_for_the_compiler_of_torch() -> None:
    run_without_heavy_imports(
        "import sys\n"
        "sys.meta_path.pop(0)\n"
        "import torch\n"
        "from transferscope.metrics.evaluation.unread import ReadTensors\n"
        "with ReadTensors() as read:\n"
        "    torch.ones(2) + 1\n"
        "assert read.storages\n"
        "assert 'torch._dynamo' not in sys.modules\n"
    )


def test_help_waits_for_no_configuration() -> None:
    run_without_heavy_imports(
        "import sys\n"
        "from transferscope.cli import app\n"
        "app(['--help'], standalone_mode=False)\n"
        "assert not {'pydantic', 'yaml', 'rich.console'} & set(sys.modules)\n"
    )
