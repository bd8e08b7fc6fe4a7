"""The fenced blocks of a page, and what is said of their test in a comment before them.

A comment in front of a fence, which no reader of the page sees, may say

    <!-- test: skip because REASON -->             not run: it takes a GPU, a cluster, a hub, a person, or minutes
    <!-- test: 'TEXT' becomes 'OTHER' because REASON -->    run with something smaller in the place of TEXT
    <!-- test: writes NAME -->                     the block is the content of this file
    <!-- test: output -->                          the command before prints these lines; ... stands for anything
    <!-- test: exits 2 -->                         the last command ends with this code

and several of them. Without any, `sh` blocks are run by bash, `python` blocks executed, and `yaml` blocks are read as
a part of a study. Other blocks have no test of their own and need a comment.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

FENCE = re.compile(r"^( *)```(\S*)(.*)$")
COMMENT = re.compile(r"^\s*<!-- test: (.+?) -->\s*$")
BECOMES = re.compile(r"'(.+?)' becomes '(.*?)' because (\S.*)")
INLINE = re.compile(r"`(transferscope [^`]+)`")


@dataclass(kw_only=True)
class Block:
    """One fenced block."""

    place: str
    """page:line of its first line."""
    language: str
    text: str
    skipped_because: str = ""
    becomes: list[tuple[str, str]] = field(default_factory=list)
    writes: str = ""
    is_output: bool = False
    exits: int = 0

    @property
    def runnable(self) -> str:
        """The text with its replacements; each must be there."""
        text = self.text
        for old, new in self.becomes:
            assert old in text, f"{self.place}: '{old}' is not in the block any more"
            text = text.replace(old, new)
        return text


def blocks(page: Path, name: str) -> list[Block]:
    """All blocks of a page, in order.

    Raises:
        ValueError: a comment that isn't understood, or one that no fence follows.
    """
    found: list[Block] = []
    said: list[str] = []
    inside: Block | None = None
    indent = ""
    for number, line in enumerate(page.read_text().splitlines(), 1):
        fence, comment = FENCE.match(line), COMMENT.match(line)
        if inside is not None:
            if fence and not fence[2]:
                inside = None
            else:
                inside.text += line.removeprefix(indent) + "\n"
        elif fence:
            indent = fence[1]
            inside = Block(place=f"{name}:{number}", language=fence[2], text="")
            for what in said:
                _understand(what, inside)
            said = []
            found.append(inside)
        elif comment:
            said.append(comment[1])
        elif said and line.strip():
            raise ValueError(f"{name}:{number}: expected a block after the comment <!-- test: {said[0]} -->")
    return found


def _understand(what: str, block: Block) -> None:
    becomes = BECOMES.fullmatch(what)
    if what.startswith("skip because "):
        block.skipped_because = what.removeprefix("skip because ")
    elif becomes:
        block.becomes.append((becomes[1], becomes[2]))
    elif what.startswith("writes "):
        block.writes = what.removeprefix("writes ")
    elif what == "output":
        block.is_output = True
    elif what.startswith("exits "):
        block.exits = int(what.removeprefix("exits "))
    else:
        raise ValueError(f"{block.place}: not understood: <!-- test: {what} -->")


def inline_commands(page: Path) -> Iterator[str]:
    """Commands of the tool that stand in the prose."""
    fenced = False
    for line in page.read_text().splitlines():
        if FENCE.match(line):
            fenced = not fenced
        elif not fenced:
            for found in INLINE.finditer(line):
                yield found[1]


def is_printed(expected: str, printed: str) -> bool:
    """Whether the lines are among what was printed, in order; ... stands for anything, width of spaces for nothing."""
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    at = 0
    for line in (" ".join(line.split()) for line in expected.splitlines()):
        if line in ("", "..."):
            continue
        pattern = re.compile(".*".join(re.escape(part) for part in line.split("...")))
        while at < len(lines) and not pattern.fullmatch(lines[at]):
            at += 1
        if at == len(lines):
            return False
        at += 1
    return True
