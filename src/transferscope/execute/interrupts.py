"""Ctrl-C once: no new task, those under way are finished. Twice: stop now."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType

NOTICE = (
    "\nstopping as soon as the tasks under way are finished; Ctrl-C again stops now. Finished tasks are kept "
    "either way.\n"
)


class Interrupts:
    """While it is entered, the first Ctrl-C is noted, and the second raises KeyboardInterrupt.

    Calling it tells whether there was one. In a thread that isn't the main one Ctrl-C is left as it is: only the
    main one is told of signals.
    """

    def __init__(self) -> None:
        self._asked = False

    def __call__(self) -> bool:
        return self._asked

    def __enter__(self) -> Interrupts:
        self._in_charge = threading.current_thread() is threading.main_thread()
        if self._in_charge:
            self._before = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        if self._in_charge:
            signal.signal(signal.SIGINT, self._before)

    def _handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        # not by print: the signal may have come in the middle of one
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, NOTICE.encode())
