"""The errors a user can mend. Everything else is a defect and keeps its traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from unicodedata import category

_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Categories of characters that are obeyed instead of shown, or are none by themselves."""


LONGEST_PROBLEM = 4_000
"""Characters of a problem; what is longer is cut in its middle."""


class BadInput(Exception):
    """Input that cannot be used; the command line prints the problems and exits with 2.

    Each problem says what was expected, what came, the valid choices and how to mend it. All problems
    that can be found at once are reported at once. Much of a problem is quoted from files of others: what a
    terminal would obey instead of showing it is made visible, and no problem is longer than `LONGEST_PROBLEM`.
    """

    def __init__(self, problems: str | Sequence[str]) -> None:
        given = (problems,) if isinstance(problems, str) else tuple(problems)
        self.problems: tuple[str, ...] = tuple(shortened(problem, LONGEST_PROBLEM) for problem in given)
        super().__init__("\n".join(self.problems))


class TaskFailed(Exception):
    """A task that failed for a reason that can be named (a loss that is not finite, for instance)."""


def visible(text: str) -> str:
    """The text with control characters, marks that turn the direction of what follows, and halves of characters
    as escapes, as in \\x1b: it can be printed anywhere and looks like what it is. Line breaks are kept.
    """
    if text.isprintable():
        return text
    return "".join(
        character.encode("unicode_escape").decode()
        if category(character) in _UNSEEN and character != "\n"
        else character
        for character in text
    )


def unmarked(text: object) -> str:
    """As `visible`, for a console of rich: square brackets are only text."""
    from rich.markup import escape

    return escape(visible(str(text)))


def is_text(text: str) -> bool:
    """Whether it can be written down at all: file names and JSON can hold halves of characters."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def shortened(text: object, longest: int = 80) -> str:
    """A text of somebody else as it is quoted: visible, and where it is longer, its beginning and its end."""
    plain = str(text)
    if len(plain) > longest:
        plain = (
            f"{plain[: longest // 2]} [{len(plain) - longest:,} more characters] {plain[-(longest // 2) :]}"
        )
    return visible(plain)


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """ " Did you mean 'x'?" with the nearest of `choices`, or all of them where none is near."""
    known = sorted(choices)
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if near:
        return f" Did you mean '{near[0]}'?"
    return f" Valid: {', '.join(known)}." if known else ""
