"""Modules of a network by the user's own names and patterns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from torch import nn

from transferscope.core.errors import BadInput, did_you_mean


def named_places(
    model: nn.Module, choice: Mapping[str, str | Sequence[str]]
) -> dict[str, tuple[tuple[str, ...], str]]:
    """The parts of a network that match the patterns.

    Args:
        model: any network.
        choice: name -> pattern or patterns for paths of submodules or names of tensors. * matches one component of a
            path (or a part of it), and {} in the name is replaced by the match.

    Returns:
        Name -> the paths that its patterns match, and the path of the last submodule among them.

    Raises:
        BadInput: patterns match nothing; the message names all of them.

    >>> net = nn.ModuleDict({"conv": nn.Conv2d(1, 1, 1), "layers": nn.ModuleList([nn.Linear(1, 1), nn.Linear(1, 1)])})
    >>> named_places(net, {"stem": "conv", "block {}": "layers.*"})
    {'stem': (('conv',), 'conv'), 'block 0': (('layers.0',), 'layers.0'), 'block 1': (('layers.1',), 'layers.1')}
    """
    paths = [path for path, _ in model.named_modules() if path]
    tensors = list(model.state_dict())
    found: dict[str, tuple[tuple[str, ...], str]] = {}
    problems: list[str] = []
    for name, patterns in choice.items():
        for pattern in (patterns,) if isinstance(patterns, str) else tuple(patterns):
            matched = [place for place in [*paths, *tensors] if _matches(place, pattern)]
            if not matched:
                hint = did_you_mean(pattern, paths)
                problems.append(f"modules.{name}: nothing in the network is called '{pattern}'.{hint}")
            for place in dict.fromkeys(matched):
                full = name.replace("{}", _filling(place, pattern))
                prefixes, output = found.get(full, ((), ""))
                found[full] = ((*prefixes, place), place if place in paths else output)
    if problems:
        raise BadInput(problems)
    return found


def _matches(place: str, pattern: str) -> bool:
    steps, wanted = place.split("."), pattern.split(".")
    return len(steps) == len(wanted) and all(map(fnmatchcase, steps, wanted))


def _filling(place: str, pattern: str) -> str:
    """The parts of a path that match the wildcards of a pattern, joined by dots."""
    filled = []
    for step, wanted in zip(place.split("."), pattern.split("."), strict=True):
        if "*" in wanted:
            front, _, back = wanted.partition("*")
            filled.append(step[len(front) : len(step) - len(back)])
    return ".".join(filled)
