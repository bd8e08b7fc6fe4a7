"""The notebooks as they lie in the repository; `make notebooks` runs them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LARGEST = 300_000
"""Bytes: outputs are small drawings and tables."""


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_those_of_a_run_from_top_to_bottom(path: Path) -> None:
    cells: list[dict[str, Any]] = [
        cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"
    ]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        compile("".join(cell["source"]), path.name, "exec")
        assert all(output["output_type"] != "error" for output in cell["outputs"])
    assert any("text/html" in output.get("data", {}) for cell in cells for output in cell["outputs"])
    assert path.stat().st_size < LARGEST
    assert "/tmp" not in path.read_text()


def test_the_site_shows_each() -> None:
    nav = (ROOT / "mkdocs.yml").read_text()
    assert len(NOTEBOOKS) == 3
    for path in NOTEBOOKS:
        assert f"notebooks/{path.stem}.md" in nav
