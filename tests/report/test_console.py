"""Colours and bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from transferscope.cli.console import LOG_WIDTH, make_console
from transferscope.execute.progress.terminal import drawing


def test_a_log_has_no_colours_and_a_width_of_its_own() -> None:
    console = make_console()
    assert not console.is_terminal
    assert console.color_system is None
    assert console.width == LOG_WIDTH


def test_no_color_is_honoured_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # what makes any stream a terminal
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert not make_console().no_color
    monkeypatch.setenv("NO_COLOR", "1")
    assert make_console().no_color


def test_quiet_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    make_console(quiet=True).print("a word")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("terminal", [True, False])
def test_drawing_shows_what_comes_next_on_a_terminal_alone(terminal: bool) -> None:
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=terminal, width=120)
    with drawing(console) as on_progress:
        on_progress(0.5, "Performance barriers")
    assert ("Performance barriers" in shown.getvalue()) == terminal
