"""Run the tests that compare numbers as other processors would, and print which of them fail where.

.venv/bin/python tools/processors.py [--only SETTING[,SETTING...]] [pytest's arguments]

PyTorch's kernels, oneDNN and MKL each choose their code by the instructions of the processor. Sums of float32 are
then added in another order and differ in their last digits. Each setting below has them choose as on an older
processor, or forbids MKL to choose at all. Settings that this processor can't run are skipped.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = (
    "metrics",
    "train",
    "models",
    "data",
    "analyses",
    "report",
    "study",
    "execute",
    "contract",
    "golden",
)
SUITES = tuple(f"tests/{folder}" for folder in FOLDERS)
LEVELS = ("default", "avx2", "avx512")
"""ATen's names of what it can use, from the fewest instructions to the most; it takes no more than is asked for."""


def setting(one_dnn: str, aten: str, mkl: str, **more: str) -> dict[str, str]:
    """The environment of one setting."""
    chosen = {"ONEDNN_MAX_CPU_ISA": one_dnn, "ATEN_CPU_CAPABILITY": aten, "MKL_ENABLE_INSTRUCTIONS": mkl}
    return {"OMP_NUM_THREADS": "1", **chosen, **more}


SETTINGS = {
    "narrow": setting("SSE41", "default", "SSE4_2"),
    "avx2": setting("AVX2", "avx2", "AVX2"),
    "avx512": setting("AVX512_CORE", "avx512", "AVX512"),
    # the three libraries need not agree: MKL chooses fewer instructions on processors of other makers
    "aten-narrow": setting("AVX512_CORE", "default", "AVX2"),
    "mkl-narrow": setting("AVX2", "avx512", "SSE4_2"),
    "onednn-narrow": setting("SSE41", "avx2", "AVX512"),
    "mkl-compatible": setting("AVX2", "avx2", "AVX2", MKL_CBWR="COMPATIBLE"),
    "two-threads": setting("AVX512_CORE", "avx512", "AVX512", OMP_NUM_THREADS="2"),
    "two-threads-narrow": setting("SSE41", "default", "SSE4_2", OMP_NUM_THREADS="2"),
}


def main(arguments: list[str]) -> int:
    """Returns 1 if a test failed under any setting."""
    names = list(SETTINGS)
    if arguments[:1] == ["--only"]:
        names, arguments = arguments[1].split(","), arguments[2:]
    unknown = [name for name in names if name not in SETTINGS]
    if unknown:
        print(f"Unknown setting: {', '.join(unknown)}. Valid: {', '.join(SETTINGS)}.", file=sys.stderr)
        return 2
    highest = LEVELS.index(torch.backends.cpu.get_cpu_capability().lower())
    failed: dict[str, list[str]] = {}
    for name in names:
        if LEVELS.index(SETTINGS[name]["ATEN_CPU_CAPABILITY"]) > highest:
            print(f"{name}: skipped, this processor has no {SETTINGS[name]['ATEN_CPU_CAPABILITY']}")
            continue
        started = time.monotonic()
        failed[name] = failures(SETTINGS[name], arguments or list(SUITES))
        print(f"{name}: {len(failed[name])} failed, {time.monotonic() - started:.0f} s", flush=True)
    for test in sorted({test for tests in failed.values() for test in tests}):
        print(f"{test}: {', '.join(name for name, tests in failed.items() if test in tests)}")
    return int(any(failed.values()))


def failures(chosen: dict[str, str], arguments: list[str]) -> list[str]:
    """Names of the tests that fail under a setting, one after another; pytest's exit code if it ends otherwise."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={results}"]
        command += ["-n", "auto", "--maxprocesses", "8", "--dist", "loadfile"]
        done = subprocess.run(
            [*command, *arguments], cwd=ROOT, env=os.environ | chosen, capture_output=True, text=True
        )
        if not results.exists() or done.returncode not in (0, 1):
            print(done.stdout + done.stderr)
            return [f"pytest ended with {done.returncode}"]
        cases = ET.parse(results).iter("testcase")
        found = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    if found:
        print(done.stdout)
    return [f"{case.get('classname')}.{case.get('name')}" for case in found]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
