"""Every command's help has examples, and each is a call that the command line takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command

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
    paragraphs = [" ".join(text.split()) for text in re.split(r"\n\s*\n", ALL[names].help)]
    examples = [text.removeprefix("Example: ") for text in paragraphs if text.startswith("Example: ")]
    assert examples
    for example in examples:
        program, *words = shlex.split(example)
        assert (program, *words[: len(names)]) == ("transferscope", *names)
        # raises where an option or an argument is none of the command's
        ALL[names].make_context(names[-1], words[len(names) :])
