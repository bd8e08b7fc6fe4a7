"""Names of groups, such as patients, in the ids of images. Imports no torch."""

from __future__ import annotations

GROUP, BEHIND = "group ", ": "
"""Around the name of a group, in front of the id of its images."""


def id_in_group(name: str, group: str | None) -> str:
    """The id of an image with the name of its group; the name alone if it has none.

    >>> id_in_group("a.png", "p7"), id_in_group("a.png", None)
    ('group p7: a.png', 'a.png')
    """
    return f"{GROUP}{group.replace(BEHIND, ':')}{BEHIND}{name}" if group else name


def group_of(id_: str) -> str:
    """The group of the image with this id; the id itself if it names none."""
    return id_.removeprefix(GROUP).partition(BEHIND)[0] if id_.startswith(GROUP) else id_
