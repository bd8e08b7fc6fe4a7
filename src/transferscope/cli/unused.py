"""What `clean` finds, wherever it lies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

STOPPED = "unfinished"
"""Kind of what a training left that was stopped."""
CUT_OFF = "cut off"
"""Kind of an upload that was."""


@dataclass(frozen=True, kw_only=True)
class Unused:
    """Something that no study refers to."""

    place: str
    """The run that it belongs to, or the URL."""
    kind: str
    title: str
    num_bytes: int
    remove: Callable[[], None]
