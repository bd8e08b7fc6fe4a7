"""Small tables in HTML, for notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


def html_table(rows: Iterable[Sequence[object]], *, head: Sequence[str] = (), caption: str = "") -> str:
    """Rows of text as a table; everything is escaped.

    Args:
        rows: the cells of each row, as they are shown by `str`.
        head: names of the columns; none where the first cell of each row says what it is.
        caption: what the table shows, above it.
    """
    left = ' style="text-align:left"'
    parts = ["<table>"]
    if caption:
        parts.append(f"<caption{left}>{escape(caption)}</caption>")
    if head:
        names = "".join(f'<th scope="col"{left}>{escape(name)}</th>' for name in head)
        parts.append(f"<thead><tr>{names}</tr></thead>")
    parts.append("<tbody>")
    for first, *others in rows:
        cell = (
            f"<td{left}>{escape(str(first))}</td>"
            if head
            else f'<th scope="row"{left}>{escape(str(first))}</th>'
        )
        parts.append(f"<tr>{cell}{''.join(f'<td{left}>{escape(str(other))}</td>' for other in others)}</tr>")
    return "\n".join([*parts, "</tbody>", "</table>"])
