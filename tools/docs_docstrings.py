"""Reads the doctests of docstrings as code, and names that share a line of Args one by one.

An extension of Griffe, which reads the docstrings for the reference; see mkdocs.yml.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

SHARED = re.compile(r"^(    )(\w+(?:, \w+)+):(.*)$")
"""`a, b: what both are`, in Args."""


class Docstrings(griffe.Extension):
    """Rewrites docstrings before they are parsed."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring:
            obj.docstring.value = readable(obj.docstring.value)


def readable(text: str) -> str:
    """The docstring with its doctests in fences, and with a line for each argument."""
    lines: list[str] = []
    in_doctest = in_args = False
    for line in text.splitlines():
        if not in_doctest and line.lstrip().startswith(">>> "):
            lines.append("```pycon")
            in_doctest = True
        elif in_doctest and not line.strip():
            lines.append("```")
            in_doctest = False
        if line and not line.startswith(" "):
            in_args = line == "Args:"
        shared = SHARED.match(line) if in_args else None
        if shared:
            first, *others = shared[2].split(", ")
            lines += [f"{shared[1]}{other}: As `{first}`." for other in others]
            line = f"{shared[1]}{first}:{shared[3]}"
        lines.append(line)
    if in_doctest:
        lines.append("```")
    return "\n".join(lines)
