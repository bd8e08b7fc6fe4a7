"""The command line, called in the process of the tests."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from transferscope import cli


@dataclass(frozen=True)
class Done:
    """How a call of the command line ended."""

    code: int
    out: str
    err: str


Call = Callable[..., Done]
"""call(*arguments): `transferscope` with these arguments."""


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Runs the command line in this process: a process of its own takes seconds to import torch."""

    def run(*arguments: str | Path) -> Done:
        monkeypatch.setattr(sys, "argv", ["transferscope", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        code = ended.value.code
        return Done(code if isinstance(code, int) else 0, captured.out, captured.err)

    return run
