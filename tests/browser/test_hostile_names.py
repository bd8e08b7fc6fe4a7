"""A run whose names are made to do harm: nothing of them is more than text, nothing leaves, nothing strays."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny

pytestmark = pytest.mark.browser

INJECTION = (
    "</script></svg><script>alert(1)</script><img src=x onerror=alert(2)>\"'&amp;[/b] [red] ../../../../stray"
)
NAMES = (
    "<b onmouseover=alert(3)>b</b>\nsecond line",
    "=cmd|' /C calc'!A0",
    "\u202egnp.exe\x1b[2J\x07",
    "</title><svg onload=alert(4)>{{7*7}}",
)
"""Of the classes."""
FORBIDS = """
import os, sys
def forbid(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        address = arguments[1] if event != "socket.getaddrinfo" else arguments[0]
        if not (event == "socket.connect" and isinstance(address, (str, bytes))):
            print("asked the network for", address, file=open(os.environ["ASKED"], "a"))
            raise RuntimeError("no network")
sys.addaudithook(forbid)
"""
"""Run at the start of every Python of the study: only sockets of this machine (AF_UNIX) are left."""


@pytest.fixture(scope="module")
def hostile_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study after `transferscope run` with no network, in a home that must stay empty."""
    folder = tmp_path_factory.mktemp("hostile")
    home, out, hook = folder / "home", folder / "out", folder / "hook"
    home.mkdir()
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(FORBIDS)
    rng = np.random.Generator(np.random.PCG64(0))
    arrays: dict[str, Any] = {"class_names": np.array(NAMES)}
    for split, count in (("train", 48), ("test", 40)):
        arrays[f"{split}_images"] = rng.integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(count) % 4
    np.savez(folder / "data.npz", **arrays)
    document = tiny.document(
        "mistakes",
        name=INJECTION,
        description=INJECTION,
        targets={INJECTION: {"data": {"dataset": "arrays", "path": str(folder / "data.npz")}}},
        seeds=[0, 1],
    )
    study = tiny.write(folder / "study.yaml", document)
    before = sorted(path for path in folder.rglob("*"))
    package = str(Path(__file__).resolve().parents[2] / "src")
    environment = {
        **os.environ,
        "HOME": str(home),
        "ASKED": str(folder / "asked"),
        "PYTHONPATH": os.pathsep.join([str(hook), package]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "transferscope", "run", str(study), "--out", str(out), "--workers", "2"],
        cwd=home,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\x1b[2J" not in done.stdout + done.stderr
    stray = [path for path in folder.rglob("*") if not path.is_relative_to(out) and path not in before]
    assert stray == [], "nothing outside --out, and nobody asked for the network"
    return out


def test_no_name_becomes_an_element_or_runs(hostile_run: Path, chromium: Any) -> None:
    complaints: list[str] = []
    page = chromium.new_page()
    page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text))
    page.goto((hostile_run / "report.html").as_uri())
    assert INJECTION in page.locator("h1").inner_text()
    page.evaluate("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
    page.locator("details.table output").filter(has_text="rows").first.wait_for()
    assert page.locator("script").count() == 1
    assert page.locator("[onerror], [onload], [onmouseover]").count() == 0
    sources = page.locator("img").evaluate_all("all => all.map((image) => image.src)")
    assert sources
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    for mark in page.locator("[data-tip]").all()[:30]:
        mark.dispatch_event("pointermove")
    text = page.locator("body").inner_text()
    assert "=cmd|' /C calc'!A0" in text
    assert "{{7*7}}" in text
    assert "\x1b" not in page.locator("#answer").inner_text()
    assert complaints == []
    page.close()


def test_tables_are_no_formulas_and_parquet_is_exact(hostile_run: Path) -> None:
    import polars as pl

    seen = set()
    for file in (hostile_run / "tables").glob("*.csv"):
        exact = pl.read_parquet(file.with_suffix(".parquet"))
        texts = [name for name, dtype in exact.schema.items() if dtype == pl.String]
        with file.open(newline="", encoding="utf-8") as lines:
            for row, true in zip(csv.DictReader(lines), exact.iter_rows(named=True), strict=True):
                for name in texts:
                    assert not row[name].startswith(("=", "+", "-", "@"))
                    assert row[name].removeprefix("'") == (true[name] or "").removeprefix("'")
                    seen.add(true[name])
    assert NAMES[1] in seen, "a table has the class"
    assert json.loads((hostile_run / "findings.json").read_text())
