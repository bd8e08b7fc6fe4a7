"""Errors that a user can fix. All other errors are bugs and keep their traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from unicodedata import category

_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode categories of characters that a terminal interprets instead of showing, and of surrogates."""


LONGEST_PROBLEM = 4_000
"""Maximum number of characters of a problem; longer texts are cut in the middle."""


class BadInput(Exception):
    """Input that cannot be used; the command line prints the problems and exits with 2.

    Each problem states what was expected, what was given, the valid choices and how to fix it. All problems are
    reported at once where possible. Problems may quote untrusted files: characters that a terminal would interpret
    are escaped, and no problem is longer than `LONGEST_PROBLEM`.
    """

    def __init__(self, problems: str | Sequence[str]) -> None:
        given = (problems,) if isinstance(problems, str) else tuple(problems)
        self.problems: tuple[str, ...] = tuple(shortened(problem, LONGEST_PROBLEM) for problem in given)
        super().__init__("\n".join(self.problems))


class TaskFailed(Exception):
    """A task that failed for a known reason, for example a loss that is not finite."""


def visible(text: str) -> str:
    """The text with escapes, such as \\x1b, for control characters, text direction marks and surrogates, so that it
    can be printed anywhere. Line breaks are kept.
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
    """Like `visible`, for a console of rich: square brackets are escaped, too."""
    from rich.markup import escape

    return escape(visible(str(text)))


def is_text(text: str) -> bool:
    """True if the text contains no surrogates, which file names and JSON may contain and which can't be encoded."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def shortened(text: object, longest: int = 80) -> str:
    """An untrusted text for quoting: escaped, and cut in the middle if it is too long."""
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
