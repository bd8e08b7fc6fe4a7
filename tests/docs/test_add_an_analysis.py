"""The guide for analyses, followed in a copy of a checkout: nothing but what the guide writes has to be touched."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import sandbox
import yaml
from blocks import blocks

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "how-to" / "add-an-analysis.md"
COPIED = ("src", "tests/support", "tests/analyses", "tests/contract", "docs")
STUDY = {
    "name": "norms",
    "network": {"name": "fixup_resnet", "depths": [1, 1], "widths": [4, 4]},
    "source": {
        "data": {"dataset": "letters", "image_size_px": 16, "train_size": 50, "test_size": 50},
        "pretraining": {"epochs": 1, "learning_rate": 0.1},
    },
    "targets": {
        "symbols": {"data": {"dataset": "symbols", "image_size_px": 16, "train_size": 50, "test_size": 50}}
    },
    "training": {"epochs": 1, "learning_rate": {"p_t": 0.05, "ri_t": 0.1}},
    "seeds": [0, 1, 2],
    "analyses": {"weight_norm": {}},
}
TESTS = (
    "tests/analyses/test_planted_claims.py",
    "tests/analyses/test_recomputed_claims.py",
    "tests/analyses/test_claims.py",
    "tests/contract/test_analyses.py::test_it_has_all_that_the_report_and_the_planner_ask_for",
    "tests/contract/test_analyses.py::test_settings_decide_numbers_and_choose_no_cells",
    "tests/contract/test_analyses.py::test_its_columns_are_documented",
)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a checkout has, after the guide."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in COPIED:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "tests/conftest.py"):
        shutil.copy(ROOT / name, copy / name)
    for block in blocks(GUIDE, GUIDE.name):
        if block.writes:
            place = copy / block.writes
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(block.runnable)
        elif block.language == "sh":
            code, printed = sandbox.follow(block.runnable, copy)
            assert code == 0, printed
    return copy


def python(checkout: Path, *arguments: str) -> None:
    """Run Python on the package in the checkout."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}{done.stderr[-3000:]}"


def test_its_section_claim_and_number_are_in_the_report(checkout: Path) -> None:
    (checkout / "study.yaml").write_text(yaml.safe_dump(STUDY))
    python(checkout, "-m", "transferscope", "run", "study.yaml", "--out", "out", "--workers", "1")
    report = (checkout / "out" / "report.html").read_text()
    for text in (
        "Weight norm",
        "norm of fine-tuned weights over that from scratch",
        "The weights of P-T are shorter",
    ):
        assert text in report, text
    assert "p_t_weights_are_shorter" in (checkout / "out" / "findings.json").read_text()


def test_the_tests_find_it(checkout: Path) -> None:
    arguments = (
        "-q",
        "-p",
        "no:cacheprovider",
        "-k",
        "weight_norm or p_t_weights_are_shorter or left_out or exist",
    )
    python(checkout, "-m", "pytest", *TESTS, *arguments)
