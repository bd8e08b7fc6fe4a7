"""What is worth saying about how a task went, though it succeeded."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


class _Notes(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.found: dict[str, None] = {}

    def emit(self, record: logging.LogRecord) -> None:
        self.found[record.getMessage()] = None


@contextmanager
def collected_notes() -> Iterator[dict[str, None]]:
    """What this package logs meanwhile, each message once, in order: as keys."""
    logger, notes = logging.getLogger("transferscope"), _Notes()
    before = logger.level
    logger.addHandler(notes)
    logger.setLevel(logging.INFO)
    try:
        yield notes.found
    finally:
        logger.removeHandler(notes)
        logger.setLevel(before)
