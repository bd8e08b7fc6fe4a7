"""What happens to a task: the events of executors, and the notes that a task logs."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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


class _Notes(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.found: dict[str, None] = {}

    def emit(self, record: logging.LogRecord) -> None:
        self.found[record.getMessage()] = None


@contextmanager
def collected_notes() -> Iterator[dict[str, None]]:
    """The messages that this package logs within the block, each once and in order, as keys."""
    logger, notes = logging.getLogger("transferscope"), _Notes()
    before = logger.level
    logger.addHandler(notes)
    logger.setLevel(logging.INFO)
    try:
        yield notes.found
    finally:
        logger.removeHandler(notes)
        logger.setLevel(before)
