"""Every command's help has examples, and each is a call that the command line takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from transferscope.cli import app


def commands(group: Any, names: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*names, name))
        else:
            yield (*names, name), command


ALL = dict(commands(get_command(app)))


@pytest.mark.parametrize("names", ALL, ids=" ".join)
def test_the_examples_of_a_command_are_calls_of_it(names: tuple[str, ...]) -> None:
    # a backspace keeps the lines of a paragraph, and a backslash at a line's end goes on with it, as in a shell
    text = ALL[names].help.replace("\b", "").replace("\\\n", "")
    paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", text)]
    examples = [text.removeprefix("Example: ") for text in paragraphs if text.startswith("Example: ")]
    assert examples
    for example in examples:
        program, *words = shlex.split(example)
        assert (program, *words[: len(names)]) == ("transferscope", *names)
        # raises where an option or an argument is none of the command's
        ALL[names].make_context(names[-1], words[len(names) :])


def test_the_list_of_commands_says_each_in_a_line_that_is_not_cut() -> None:
    done = CliRunner().invoke(app, ["--help"], terminal_width=80)
    assert done.exit_code == 0
    assert all(name in done.output for name in ("run", "demo", "compare", "data"))
    assert "..." not in done.output.partition("Commands:")[2]


@pytest.mark.parametrize("names", ALL, ids=" ".join)
def test_help_shows_no_markup_and_no_types_of_python(names: tuple[str, ...]) -> None:
    output = CliRunner().invoke(app, [*names, "--help"], terminal_width=80).output
    assert not re.search(r"\[/?b\]|\x08|``|--\S+ <", output)
