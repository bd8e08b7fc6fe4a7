"""A study's plain data on its way to the models: values of the file, the variant and `--set` laid over each
other, each with the place that it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from transferscope.core.errors import BadInput, did_you_mean
from transferscope.study.messages import Problem, shown
from transferscope.study.yaml_positions import KeyPath, Position, dotted, read_yaml

_OWN_KEYS = ("variant", "variants")
"""Top-level keys that are set in their own way."""


@dataclass(frozen=True, order=True)
class Place:
    """Where a value came from; ordered as problems are listed: the file from top to bottom, then `--set`."""

    order: tuple[int, int, int]
    text: str


class Draft:
    """The plain data of a study on its way, where each part came from, and what is wrong with it."""

    def __init__(
        self,
        name: str,
        data: dict[str, Any],
        positions: Mapping[KeyPath, Position],
        *,
        has_lines: bool = True,
    ) -> None:
        self.name = name
        self.data = data
        self._has_lines = has_lines
        self.places = {path: self.in_file(position) for path, position in positions.items()}
        self.problems: list[tuple[Place, str]] = []

    def in_file(self, position: Position) -> Place:
        text = f"{self.name}:{position}" if self._has_lines else self.name
        return Place((0, position.line, position.column), text)

    def place(self, path: KeyPath) -> Place:
        """Where `path` came from, or what is around it."""
        while path not in self.places:
            path = path[:-1]
        return self.places[path]

    def below(self, path: KeyPath) -> dict[KeyPath, Place]:
        """The places at and below `path`, by what follows it."""
        found = self.places.items()
        return {key[len(path) :]: place for key, place in found if key[: len(path)] == path}

    def report(self, problem: Problem, place: Place | None = None) -> None:
        text = f"{dotted(problem.path)}: {problem.message}" if problem.path else problem.message
        self.problems.append((place or self.place(problem.path), text))

    def stop_at_problems(self) -> None:
        if self.problems:
            ordered = sorted(dict.fromkeys(self.problems), key=lambda problem: problem[0])
            raise BadInput([f"{place.text}: {text}" for place, text in ordered])

    def set(self, path: tuple[str, ...], value: Any, places: Mapping[KeyPath, Place]) -> None:
        """Put `value` at `path`; mappings on the way are made where there is nothing yet.

        Args:
            path: keys only, at least one.
            value: plain data.
            places: where its parts came from, by their path within it; () is needed.
        """
        if path[0] in _OWN_KEYS:
            self.report(Problem(path, "cannot be set here; choose a variant with --variant"), places[()])
            return
        around = self.data
        for depth, key in enumerate(path[:-1], start=1):
            if around.get(key) is None:
                around[key] = {}
                self.places.setdefault(path[:depth], places[()])
            around = around[key]
            if not isinstance(around, dict):
                whole = f"is {shown(around)}, not a mapping; set it as a whole"
                self.report(Problem(path[:depth], whole), places[()])
                return
        around[path[-1]] = value
        for old in self.below(path):
            del self.places[(*path, *old)]
        self.places.update({(*path, *within): place for within, place in places.items()})


def apply_variant(draft: Draft, variants: Any, chosen: str | None) -> None:
    """Lay the chosen variant over the draft; what is wrong with it, or with any other's form, is reported.

    Args:
        draft: the study.
        variants: what stands under `variants` in the file.
        chosen: name of one of them, or None.
    """
    if variants is not None and not isinstance(variants, dict):
        draft.report(
            Problem(("variants",), f"expected a mapping of names to overrides, got {shown(variants)}")
        )
        return
    for name, overrides in (variants or {}).items():
        if not isinstance(overrides, dict):
            expected = f"expected a mapping of dotted keys to values, got {shown(overrides)}"
            draft.report(Problem(("variants", name), expected))
    if chosen is None:
        return
    if not variants or chosen not in variants:
        hint = did_you_mean(chosen, variants) if variants else " The file has no variants."
        draft.report(Problem(("variants",), f"unknown variant '{chosen}'.{hint}"))
        return
    if isinstance(variants[chosen], dict):
        for key, value in variants[chosen].items():
            origin = ("variants", chosen, key)
            draft.set(_keys(key), value, draft.below(origin))
    draft.data["variant"] = chosen


def apply_override(draft: Draft, override: str, index: int) -> None:
    """Lay one `--set key=value` over the draft; what is wrong with its form is reported.

    Args:
        draft: the study.
        override: the text after `--set`.
        index: which one it is on the command line, for the order of the problems.
    """
    place = Place((1, index, 0), f"--set {override}")
    key, equals, text = override.partition("=")
    if not equals or not all(_keys(key)):
        expected = "expected key=value with a dotted key, such as training.epochs=3"
        draft.report(Problem((), expected), place)
        return
    try:
        value = read_yaml(text, f"--set {key}").data
    except BadInput as error:
        draft.problems.extend((place, problem) for problem in error.problems)
        return
    draft.set(_keys(key), value, {(): place})


def _keys(key: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in key.split("."))
