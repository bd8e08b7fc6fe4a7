"""Pictures of a report for docs/ (desktop, phone, dark, print, each below 400 KB), its size, load time and axe results.

    python tools/screenshots.py runs/demo/report.html docs

Needs playwright, pillow and a Chromium; axe-playwright-python for axe.
"""

from __future__ import annotations

import io
import shutil
import sys
import time
from pathlib import Path
from typing import Any

MAX_BYTES = 400_000
PICTURES = {
    "report-desktop": {"width": 1280, "height": 1500},
    "report-dark": {"width": 1280, "height": 1500, "dark": True, "at": "#analysis-feature_reuse"},
    "report-phone": {"width": 400, "height": 1700},
    "report-print": {"width": 680, "height": 1000, "print": True},
}
"""Name of the file: the window, the theme or medium, and the part of the page that it begins with."""


def main(report: Path, folder: Path) -> None:
    """Take all pictures and say what was measured."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        for name, how in PICTURES.items():
            page = browser.new_page(
                viewport={"width": how["width"], "height": how["height"]},
                color_scheme="dark" if how.get("dark") else "light",
                reduced_motion="reduce",
            )
            start = time.perf_counter()
            page.goto(report.resolve().as_uri())
            seconds = time.perf_counter() - start
            if how.get("print"):
                page.emulate_media(media="print")
            if "at" in how:
                page.evaluate("(place) => document.querySelector(place).scrollIntoView()", how["at"])
            size = _save(page.screenshot(), folder / f"{name}.png")
            print(f"{name}.png: {size / 1000:.0f} KB; loaded in {seconds:.2f} s, {_length(page)} px long")
            page.close()
        for width in (1280, 400):
            for scheme in ("light", "dark"):
                print(f"axe, {width} px, {scheme}: {_axe(browser, report, width, scheme)}")
        page = browser.new_page()
        page.goto(report.resolve().as_uri())
        print(f"report: {report.stat().st_size / 1e6:.2f} MB; as PDF {len(page.pdf()) / 1e6:.2f} MB")
        browser.close()


def _axe(browser: Any, report: Path, width: int, scheme: str) -> str:
    """Rules passed and violated, by how much they matter, with everything unfolded but all tables after the first."""
    try:
        from axe_playwright_python.sync_playwright import Axe
    except ImportError:
        return "not installed"
    page = browser.new_page(
        viewport={"width": width, "height": 900},
        color_scheme=scheme,
        reduced_motion="reduce",
        bypass_csp=True,
    )
    page.goto(report.resolve().as_uri())
    page.evaluate(
        "document.querySelectorAll('details:not(.table)').forEach((details) => { details.open = true; });"
        "document.querySelector('details.table').open = true"
    )
    # a drawing is one image with words of its own; its thousands of marks would take minutes
    found = Axe().run(page, context={"exclude": [["svg.drawing > g"]]}).response
    page.close()
    violated = [f"{one['id']} ({one['impact']})" for one in found["violations"]]
    return f"{len(found['passes'])} rules passed, {len(violated)} violated {', '.join(violated)}".strip()


def _save(data: bytes, path: Path) -> int:
    """As few colours as it takes to stay below the limit; the size in bytes."""
    from PIL import Image

    image = Image.open(io.BytesIO(data)).convert("RGB")
    for colors in (256, 128, 64):
        buffer = io.BytesIO()
        image.quantize(colors).save(buffer, "PNG", optimize=True)
        if buffer.tell() < MAX_BYTES:
            path.write_bytes(buffer.getvalue())
            return buffer.tell()
    raise SystemExit(f"{path} has more than {MAX_BYTES} bytes even with 64 colours")


def _length(page: Any) -> int:
    return page.evaluate("document.documentElement.scrollHeight")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
