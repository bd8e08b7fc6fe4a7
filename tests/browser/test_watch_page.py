"""The page of a run under way in a real browser."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny import TinyRun

from transferscope.cli.live.server import WatchServer
from transferscope.cli.live.state import Watcher
from transferscope.execute.events import Event
from transferscope.execute.progress.records import Recorder

pytestmark = pytest.mark.browser

HOSTILE = "<img src=x onerror=alert(1)>&<script>alert(2)</script>"


@pytest.fixture
def under_way(tiny_run: TinyRun, tmp_path: Path) -> Iterator[tuple[WatchServer, Recorder]]:
    """A run that has two trainings under way, and what notes how it goes on."""
    folder = tmp_path / "out"
    shutil.copytree(tiny_run.out, folder)
    measured = [task for task in tiny_run.plan.graph if task.kind == "measure"]
    for task in [*trainings(tiny_run), *measured]:  # nobody waits for a training whose readers are done
        shutil.rmtree(folder / "store/objects" / task.key[:2] / task.key)
    recorder = Recorder(folder)
    recorder.begin(trainings(tiny_run), 0)
    for task in trainings(tiny_run):
        recorder.started(task)
        recorder.progressed(task, 0.0, {"epoch": 0, "test_loss": 2.5, "test_metric": 0.1})
    with WatchServer(Watcher(folder, lambda: tiny_run.plan)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server, recorder
        server.shutdown()
        thread.join()


def trainings(tiny_run: TinyRun) -> list[Any]:
    titles = {f"train P-T digits seed {seed}" for seed in (0, 1)}
    return [task for task in tiny_run.plan.graph if task.title in titles]


@pytest.mark.parametrize(("width", "color_scheme"), [(1280, "light"), (400, "dark")])
def test_the_page_fills_in(
    chromium: Any, under_way: tuple[WatchServer, Recorder], tiny_run: TinyRun, width: int, color_scheme: str
) -> None:
    server, recorder = under_way
    first, second = trainings(tiny_run)
    context = chromium.new_context(
        viewport={"width": width, "height": 800}, color_scheme=color_scheme, reduced_motion="reduce"
    )
    page = context.new_page()
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: (complaints.append("dialog"), dialog.dismiss()))
    page.goto(server.url)
    page.wait_for_selector("body[data-ready]")
    assert page.inner_text("h1") == "tiny"
    assert page.locator("#running li").count() == 2
    assert " 2 under way" in page.inner_text("#said")
    drawn = page.locator("#charts figure", has_text="train P-T on digits").first
    assert drawn.locator("circle.running").count() == 2

    recorder.progressed(first, 0.5, {"epoch": 1, "train_loss": 1.25, "test_metric": 0.4, "train_metric": 0.3})
    recorder.ended(second, Event(key=second.key, what="failed", reason=HOSTILE))
    page.wait_for_selector("#failures:not([hidden])")
    assert HOSTILE in page.inner_text("#failed")
    assert "loss 1.25" in page.inner_text("#running")
    assert drawn.locator("path.running.test").get_attribute("d").count("L") == 1
    page.get_by_label("loss").check()
    assert page.locator("#charts svg").first.get_attribute("aria-label").startswith("loss by epoch")

    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "no sideways scrolling"
    assert page.evaluate("document.images.length") == 0
    assert complaints == []
    assert {url for url in asked if not url.startswith((server.url, "data:"))} == set()
    if width == 1280:
        from axe_playwright_python.sync_playwright import Axe

        assert [found["id"] for found in Axe().run(page).response["violations"]] == []
    context.close()
