"""Copy the figures that the pages of docs/experiments show from a finished run of the embedded study.

.venv/bin/python tools/experiment_figures.py runs/demo
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

PAGES = Path(__file__).resolve().parent.parent / "docs" / "experiments"
SHOWN = re.compile(r"\]\(figures/([^)]+)\)")


def main(run: Path) -> None:
    shown = sorted({name for page in PAGES.glob("*.md") for name in SHOWN.findall(page.read_text())})
    (PAGES / "figures").mkdir(exist_ok=True)
    for name in shown:
        shutil.copyfile(run / "figures" / name, PAGES / "figures" / name)
    print(f"{len(shown)} figures")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
