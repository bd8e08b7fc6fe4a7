"""What tests of all folders share."""

from __future__ import annotations

import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported, here and in child processes
# Without compiled files each child process compiles torch and SciPy anew, which takes seconds.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

import tiny


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> tiny.TinyRun:
    """The tiny study with a search of rates on one target, run once; tests only read its folder."""
    folder = tmp_path_factory.mktemp("tiny")
    return tiny.run(tiny.write(folder / "tiny.yaml", tiny.searching()), folder / "out")
