"""Build the wheel and the sdist, check them, and try the wheel in empty environments.

.venv/bin/python tools/dist.py [--try]

Both are built twice and must be equal to the bit. With --try, the wheel is installed by pip and by uv, each into an
empty environment, and `transferscope demo --quick` runs from there, outside of the source tree.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
NEEDED = (
    "transferscope/py.typed",
    "transferscope/study/studies/demo.yaml",
    "transferscope/report/page/page.html.j2",
    "transferscope/report/page/page.css",
    "transferscope/report/page/page.js",
)
"""Files of the wheel that no import would miss."""
UNWANTED = ("tests/", "benchmarks/", "tools/", "notebooks/", "__pycache__", ".pyc")


def main(arguments: list[str]) -> int:
    if unknown := set(arguments) - {"--try"}:
        print(f"dist: unknown option {', '.join(sorted(unknown))}. Valid: --try", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as again:
        build(DIST)
        build(Path(again))
        files = sorted(path for path in DIST.iterdir() if path.suffix in (".whl", ".gz"))
        problems = [
            f"{path.name} is another file when it is built again"
            for path in files
            if (Path(again) / path.name).read_bytes() != path.read_bytes()
        ]
    wheel = next(path for path in files if path.suffix == ".whl")
    problems += problems_of(wheel)
    for line in problems:
        print(f"dist: {line}", file=sys.stderr)
    if problems or subprocess.call([sys.executable, "-m", "twine", "check", "--strict", *map(str, files)]):
        return 1
    for path in files:
        print(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}, {path.stat().st_size:,} bytes")
    if "--try" in arguments:
        return max(try_wheel(wheel, installer) for installer in ("pip", "uv"))
    return 0


def build(folder: Path) -> None:
    """The sdist of the tree, and the wheel of the sdist."""
    folder.mkdir(exist_ok=True)
    for path in (*folder.glob("*.whl"), *folder.glob("*.tar.gz")):
        path.unlink()
    # the time of the last commit, so that each build of it is equal
    when = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True)
    environment = {"SOURCE_DATE_EPOCH": when.stdout.strip() or "1577836800", **os.environ}
    command = [sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)


def problems_of(wheel: Path) -> list[str]:
    """What is missing in a wheel, or should not be there."""
    names = zipfile.ZipFile(wheel).namelist()
    found = [f"{wheel.name} lacks {name}" for name in NEEDED if name not in names]
    return found + [f"{wheel.name} holds {name}" for name in names if any(part in name for part in UNWANTED)]


def try_wheel(wheel: Path, installer: str) -> int:
    """Install a wheel into an empty environment, and run the quick demo there; 0 if it succeeded."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        subprocess.run([sys.executable, "-m", "venv", str(home / "venv")], check=True)
        python = home / "venv" / "bin" / "python"
        install = [str(python), "-m", "pip", "install", "--quiet"]
        if installer == "uv":
            subprocess.run([*install, "uv"], check=True)
            install = [str(python), "-m", "uv", "pip", "install", "--quiet", "--python", str(python)]
        # the versions of the tests: an unpinned torch may be a build for another machine
        subprocess.run([*install, "-c", str(ROOT / "constraints.txt"), str(wheel)], check=True)
        began = time.monotonic()
        command = [str(python.parent / "transferscope"), "demo", "--quick", "--out", "demo"]
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        code = subprocess.call(command, cwd=home, env=environment, stdout=subprocess.DEVNULL)
        print(f"{installer}: demo --quick ended with {code} after {time.monotonic() - began:.0f} s")
        return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
