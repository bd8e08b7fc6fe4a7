"""The library that counts system calls and disturbs one of them: made here, and worked by these functions."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

MODES = ("off", "record", "kill", "torn", "no space", "broken", "interrupt")
"""In the order of the enum in shim.c."""


def available() -> str:
    """Why it can't be made here; nothing where it can."""
    if sys.platform != "linux":
        return "disturbing system calls needs Linux"
    if shutil.which("cc") is None:
        return "disturbing system calls needs a C compiler (cc)"
    return ""


def make(folder: Path) -> Path:
    """Compile it."""
    library = folder / "shim.so"
    source = Path(__file__).with_name("shim.c")
    subprocess.run(["cc", "-O1", "-fPIC", "-shared", "-o", library, source, "-ldl"], check=True)
    return library


def _library() -> ctypes.CDLL:
    return ctypes.CDLL(os.environ["LD_PRELOAD"])


def arm(mode: str, at: int, again: int, folder: Path, record: int = -1) -> None:
    """Disturb the `at`-th call (from 1) that this process makes below a folder; `again`: a second interrupt."""
    library = _library()
    library.faults_arm.argtypes = [ctypes.c_int, ctypes.c_long, ctypes.c_long, ctypes.c_char_p, ctypes.c_int]
    library.faults_arm(MODES.index(mode), at, again, str(folder).encode(), record)
