"""The cores of this machine, and times in words."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """The cores that this process may use; all of the machine where the system doesn't say. At least 1."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def duration(seconds: float) -> str:
    """Seconds in the words people use."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
