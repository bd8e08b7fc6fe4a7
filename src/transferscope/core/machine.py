"""How many processes or threads of this one can run at once."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """The cores that this process may use; all of the machine where the system doesn't say. At least 1."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
