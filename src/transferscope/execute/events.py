"""What happens to a task, as executors tell it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened to a task."""

    key: str
    what: Literal["progress", "done", "failed", "died", "damaged", "unwritable"]
    """died: its process was killed from outside; damaged: a result that it reads is; the task may be run again.
    unwritable: its result could not be stored, nor could any other."""
    share: float = 0.0
    """Share that is done; only for progress."""
    row: Mapping[str, float] = field(default_factory=dict)
    """The newest row of a training's history; only for progress."""
    seconds: float = 0.0
    """How long it took; only for done."""
    reason: str = ""
    """One line; only for failed, died, damaged and unwritable."""
    details: str = ""
    """The traceback; only for failed."""
