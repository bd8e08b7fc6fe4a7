"""Run the notebooks, each in an empty folder; with --write keep their outputs.

.venv/bin/python tools/notebooks.py [--write]
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
SECONDS = 300


def main(write: bool) -> None:
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            # Raises where a cell does.
            NotebookClient(
                notebook,
                timeout=SECONDS,
                resources={"metadata": {"path": folder}},
                record_timing=False,
            ).execute()
        print(f"{path.name}: {time.monotonic() - started:.0f} s")
        if write:
            _without_chance(notebook)
            nbformat.write(notebook, path)


def _without_chance(notebook: nbformat.NotebookNode) -> None:
    """Leaves out what differs from machine to machine."""
    notebook.metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        "language_info": {"name": "python"},
    }


if __name__ == "__main__":
    main("--write" in sys.argv[1:])
