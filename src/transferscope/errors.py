"""The errors a user can mend. Everything else is a defect and keeps its traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class BadInput(Exception):
    """Input that cannot be used; the command line prints the problems and exits with 2.

    Each problem says what was expected, what came, the valid choices and how to mend it. All problems
    that can be found at once are reported at once.
    """

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


class TaskFailed(Exception):
    """A task that failed for a reason that can be named (a loss that is not finite, for instance)."""


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """ " Did you mean 'x'?" with the nearest of `choices`, or all of them where none is near."""
    known = sorted(choices)
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if near:
        return f" Did you mean '{near[0]}'?"
    return f" Valid: {', '.join(known)}." if known else ""
