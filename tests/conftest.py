"""What tests of all folders share."""

from __future__ import annotations

import json
import os

import pytest
from filelock import FileLock

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported, here and in child processes
# Without compiled files each child process compiles torch and SciPy anew, which takes seconds.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

import tiny
from command_line import call  # noqa: F401  a fixture

from transferscope.study.file import load_study
from transferscope.study.plan import plan


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> tiny.TinyRun:
    """The tiny study with a search of rates on one target. Tests only read its folder: all workers share it."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "tiny"
    folder.mkdir(exist_ok=True)
    ended = folder / "ended.json"
    with FileLock(folder / "lock"):
        if not ended.exists():
            run = tiny.run(tiny.write(folder / "tiny.yaml", tiny.searching()), folder / "out", draws=True)
            ended.write_text(json.dumps({"exit_code": run.exit_code, "printed": run.printed}))
    study_file = folder / "tiny.yaml"
    return tiny.TinyRun(
        study_file=study_file,
        out=folder / "out",
        plan=plan(load_study(study_file)),
        **json.loads(ended.read_text()),
    )


@pytest.fixture
def empty_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports have empty figures: drawing them takes as long as all the rest of a small study."""
    monkeypatch.setattr("transferscope.report.write.draw", lambda chart: tiny.EMPTY_FIGURE)
