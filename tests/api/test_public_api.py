"""The functions that work without a study are where users look for them."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys

import pytest

import transferscope


@pytest.mark.parametrize("name", transferscope.__all__)
def test_public_function_is_documented(name: str) -> None:
    function = getattr(transferscope, name)
    assert inspect.isfunction(function)
    assert function.__name__ == name
    for part in ("Args:", "Returns:", "Raises:", ">>>"):
        assert part in function.__doc__, f"{name} says nothing of {part}"


def test_names_are_listed_before_they_are_imported() -> None:
    assert set(transferscope.__all__) <= set(dir(transferscope))


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        transferscope.nonsense  # noqa: B018


def test_importing_the_package_imports_no_torch() -> None:
    code = "import sys, transferscope; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("earlier", "present"),
    [
        ("errors", "core.errors"),
        ("data.base", "core.datasets"),
        ("datasets.imagefolder", "data.sets.imagefolder"),
        ("metrics.error_consistency", "metrics.agreement.error_consistency"),
        ("metrics.states", "metrics.evaluation.states"),
    ],
)
def test_modules_can_be_imported_by_their_earlier_names(earlier: str, present: str) -> None:
    found = importlib.import_module(f"transferscope.{earlier}")
    assert found is importlib.import_module(f"transferscope.{present}")
    assert found.__name__ == f"transferscope.{present}"


def test_the_command_for_torchrun_keeps_its_earlier_name() -> None:
    command = [sys.executable, "-m", "transferscope.distributed", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--variant" in done.stdout
