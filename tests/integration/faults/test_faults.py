"""A selection of the fault suite, one point of each kind; `make faults` tries them all."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import shim

HERE = Path(__file__).parent
TIMEOUT_SECONDS = 600


@pytest.mark.skipif(bool(shim.available()), reason=shim.available())
def test_nothing_is_lost_at_any_point() -> None:
    path = os.pathsep.join([str(HERE.parents[1] / "support"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(HERE / "suite.py"), "--small"],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    together = re.search(r"together +(\d+) +(\d+) ", done.stdout)
    assert together is not None, done.stdout
    assert int(together[1]) >= 14
    assert int(together[2]) == 0
