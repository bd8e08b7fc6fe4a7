"""Every block of the README and the documentation does what the page says it does."""

from __future__ import annotations

import contextlib
import io
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import sandbox
from blocks import Block, blocks, inline_commands, is_printed
from typer.main import get_command

from transferscope import analyses, datasets
from transferscope.cli import app
from transferscope.study.file import study_of
from transferscope.study.yaml_positions import read_yaml

ROOT = Path(__file__).resolve().parents[2]
PAGES = {
    path.relative_to(ROOT).as_posix(): path
    for path in [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
}
WITH_BLOCKS = [name for name, path in PAGES.items() if blocks(path, name)]
LEAST_REASON = 15


@pytest.fixture(scope="session")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that pages speak of, its study run."""
    folder = tmp_path_factory.mktemp("furnished")
    sandbox.fill(folder)
    with contextlib.chdir(folder):
        code, printed = sandbox.follow("transferscope run study.yaml --out runs/first", folder)
    assert code == 0, printed
    return folder


@pytest.fixture
def folder(furnished: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A copy of it; a page that writes a study file first begins without one."""
    place = tmp_path / "reader"
    shutil.copytree(furnished, place, symlinks=True)
    shutil.copy(place / "study.yaml", place / ".edited.yaml")
    if "transferscope init study.yaml" in PAGES[request.getfixturevalue("page")].read_text():
        (place / "study.yaml").unlink()
    return place


@pytest.mark.parametrize("page", WITH_BLOCKS)
def test_blocks(page: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a page are run in order, in one folder; Python blocks share their names."""
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    for package in (analyses, datasets):  # pages add folders of their own
        monkeypatch.setattr(package, "__path__", [*package.__path__])
    known = set(sys.modules)
    reader = _Reader(folder)
    for block in blocks(PAGES[page], page):
        reader.follow(block)
    for name in set(sys.modules) - known:
        if str(folder) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


class _Reader:
    """Somebody who does what a page says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.printed = ""
        self.names: dict[str, Any] = {}

    def follow(self, block: Block) -> None:
        if block.skipped_because:
            assert len(block.skipped_because) >= LEAST_REASON, f"{block.place}: that is no reason"
        elif block.writes:
            self._write(block)
        elif block.is_output:
            assert is_printed(block.text, self.printed), f"{block.place}: was not printed in\n{self.printed}"
        elif block.language == "sh":
            code, self.printed = sandbox.follow(block.runnable, self.folder)
            assert code == block.exits, f"{block.place}\n{self.printed}"
        elif block.language == "python":
            self._execute(block)
        elif block.language == "yaml":
            _read_as_part(block)
        else:
            pytest.fail(f"{block.place}: a block of '{block.language}' has no test; say why in a comment")

    def _write(self, block: Block) -> None:
        place = self.folder / block.writes
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(block.runnable)
        if place.suffix == ".py":
            compile(block.runnable, block.place, "exec")

    def _execute(self, block: Block) -> None:
        if not self.names:
            self.names = sandbox.names(self.folder)
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(block.runnable, block.place, "exec"), self.names)
        self.printed = printed.getvalue()


def _read_as_part(block: Block) -> None:
    """A piece of a study is laid over the reader's study, and all of that is read; a whole one by itself."""
    part = read_yaml(block.runnable.encode(), block.place).data
    assert isinstance(part, dict), f"{block.place}: expected keys of a study"
    whole = sandbox.study()
    whole["analyses"] = {"mistakes": {}}
    for key, value in part.items():
        if key in ("source", "training", "analyses") and not {"weights", "rate_search"} & set(value or ()):
            whole[key] = {**whole[key], **value}
        else:
            whole[key] = value
    study_of(whole, block.place)


@pytest.mark.parametrize("page", list(PAGES))
def test_commands_in_the_text(page: str) -> None:
    """Commands within sentences exist, with their options."""
    for text in inline_commands(PAGES[page]):
        command: Any = get_command(app)
        words = text.split()[1:]
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        assert not hasattr(command, "commands") or not words or words[0].startswith(("-", ".")), (
            f"{text}: no such command"
        )
        known = {name for parameter in command.params for name in parameter.opts} | {"--help"}
        unknown = [word for word in words if word.startswith("--") and word.partition("=")[0] not in known]
        assert not unknown, f"{page}: `{text}`: no option {unknown}"


def test_what_is_not_there_is_seen(tmp_path: Path) -> None:
    """The tests can fail: a wrong key, a wrong output, a command that fails."""
    reader = _Reader(tmp_path)
    reader.follow(Block(place="page:1", language="sh", text="echo one\necho two\n"))
    reader.follow(Block(place="page:2", language="text", text="o...\ntwo\n", is_output=True))
    with pytest.raises(AssertionError, match="not printed"):
        reader.follow(Block(place="page:3", language="text", text="two\none\n", is_output=True))
    with pytest.raises(AssertionError):
        reader.follow(Block(place="page:4", language="sh", text="false\ntrue\n"))
    with pytest.raises(Exception, match="unknown key"):
        reader.follow(Block(place="page:5", language="yaml", text="training: {learning_rat: 1}\n"))
    with pytest.raises(pytest.fail.Exception, match="no test"):
        reader.follow(Block(place="page:6", language="", text="x\n"))
