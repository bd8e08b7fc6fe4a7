"""A Chromium, and a report for it to open."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

SYSTEM_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@dataclass
class Visit:
    """A page that was opened, and what it did besides showing itself."""

    page: Any
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    """Console messages, errors and dialogs."""


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A running Chromium: the system's, else Playwright's own."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        own = playwright.chromium.executable_path
        found = next(filter(None, map(shutil.which, SYSTEM_BROWSERS)), own if Path(own).exists() else None)
        if found is None:
            pytest.skip(
                f"no Chromium: none of {', '.join(SYSTEM_BROWSERS)} on the path, nor Playwright's own"
            )
        browser = playwright.chromium.launch(executable_path=found, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def report_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The synthetic report on disk."""
    from synthetic_report import synthetic_content

    from transferscope.report.page.render import render

    file = tmp_path_factory.mktemp("report") / "report.html"
    file.write_text(render(synthetic_content()), encoding="utf-8")
    return file


@pytest.fixture
def visit(chromium: Any, report_file: Path) -> Iterator[Any]:
    """A function that opens the report: visit(width=1280, color_scheme="light", file=..., **context options)."""
    contexts = []

    def open_report(
        width: int = 1280, color_scheme: str = "light", file: Path = report_file, **options: Any
    ) -> Visit:
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, color_scheme=color_scheme, **options
        )
        contexts.append(context)
        own = file.as_uri()
        context.route("**/*", lambda route: route.continue_() if _place(route) == own else route.abort())
        visit = Visit(context.new_page())
        visit.page.on("request", lambda request: visit.requests.append(request.url))
        visit.page.on("console", lambda message: visit.complaints.append(message.text))
        visit.page.on("pageerror", lambda error: visit.complaints.append(str(error)))
        visit.page.on("dialog", lambda dialog: (visit.complaints.append(dialog.message), dialog.dismiss()))
        visit.page.goto(own)
        return visit

    def _place(route: Any) -> str:
        return route.request.url.partition("#")[0]

    yield open_report
    for context in contexts:
        context.close()
