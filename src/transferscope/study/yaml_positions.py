"""YAML as plain data, with the place of every key: so that an error can say where it stands.

Only the data types of JSON come out, by the rules of YAML 1.2: `no` is a word, `1e-4` a number, a date is
text. Whatever is strange (Python tags, keys given twice, aliases that explode) is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NoReturn

import yaml
from yaml.reader import ReaderError

from transferscope.core.errors import BadInput

MAX_BYTES = 256 * 1024
"""A study file is a page or two; a larger file is something else."""
MAX_DEPTH = 24
"""Levels of nesting."""
MAX_VALUES = 20_000
"""Values once aliases are followed."""
MAX_INTEGER = 2**63 - 1
"""What a seed can be; whole numbers beyond it, or below its negative, are refused."""

KeyPath = tuple[str | int, ...]
"""The keys and list indices from the top of the document; () is the whole document."""


@dataclass(frozen=True, order=True)
class Position:
    """Line and column, both from 1."""

    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.line}:{self.column}"


@dataclass(frozen=True)
class Document:
    """A document as plain data."""

    data: Any
    """None, bool, int, float, str, list, and dict with str keys."""
    positions: dict[KeyPath, Position]
    """Where each key or list item begins."""


_SCALARS = (
    ("null", r"~|null|Null|NULL|", [*"~nN", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", [*"tTfF"]),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", [*"-+0123456789"]),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", [*"-+0123456789."]),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", [*"-+."]),
)
"""The core schema of YAML 1.2: tag, pattern, first characters."""

_TAG = "tag:yaml.org,2002:"


class _Loader(yaml.SafeLoader):
    """A safe loader with the scalars of YAML 1.2, which refuses deep nesting before it recurses."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  PyYAML's own way to start without YAML 1.1's
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(problem=f"nested more than {MAX_DEPTH} levels deep", problem_mark=mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class Dumper(yaml.SafeDumper):
    """Writes what `read_yaml` reads back to the same data; quotes what YAML 1.1 would read otherwise too."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  the name is PyYAML's
        return True


def _written(dumper: Dumper, text: str) -> yaml.ScalarNode:
    # PyYAML folds the rarer line breaks away unless they are escaped.
    plain = all(character.isprintable() or character == "\n" for character in text)
    return dumper.represent_scalar(_TAG + "str", text, style=None if plain else '"')


Dumper.add_representer(str, _written)
for _name, _pattern, _first in _SCALARS:
    for _class in (_Loader, Dumper):
        _class.add_implicit_resolver(_TAG + _name, re.compile(rf"(?:{_pattern})\Z"), _first)


def read_yaml(content: bytes | str, name: str) -> Document:
    """The document in `content`.

    Args:
        content: the text, or its bytes in UTF-8.
        name: what errors call it: the file's name.

    Raises:
        BadInput: not YAML, or YAML of a kind that no study needs; where a place can be named, the problem
            begins with `name:line:column:`.
    """
    if len(content) > MAX_BYTES:
        raise BadInput(f"{name}: larger than {MAX_BYTES // 1024} KiB, which no study file is")
    if isinstance(content, bytes):
        try:
            content = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            place = _place_after(content[: error.start].decode("utf-8", "replace"))
            raise BadInput(f"{name}:{place}: not UTF-8 text; save the file as UTF-8") from None
    try:
        node = _Loader(content).get_single_node()
    except ReaderError as error:
        place = _place_after(content[: error.position])
        raise BadInput(
            f"{name}:{place}: not YAML: the character U+{int(error.character):04X} is not allowed"
        ) from None
    except yaml.MarkedYAMLError as error:
        raise BadInput(_syntax_problem(name, error)) from None
    except (ValueError, OverflowError):
        # PyYAML turns "\UFFFFFFFF" and the numbers of a %YAML line into values without a check.
        raise BadInput(f"{name}: not YAML: an escape or a version number out of range") from None
    if node is None:
        return Document(data=None, positions={(): Position(1, 1)})
    reading = _Reading(name)
    data = reading.plain(node, ())
    if reading.problems:
        ordered = sorted(reading.problems, key=lambda problem: problem[0])
        raise BadInput([f"{name}:{position}: {text}" for position, text in ordered])
    return Document(data=data, positions={**reading.positions, (): _begin(node)})


def dotted(path: Iterable[str | int]) -> str:
    """A path as it is written in errors and with `--set`: `targets.photos.data`, `seeds[1]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if part and part.isprintable() else repr(part))
    return text


class _Reading:
    """One pass over the nodes."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.positions: dict[KeyPath, Position] = {}
        self.problems: list[tuple[Position, str]] = []
        self.num_values = 0

    def plain(self, node: yaml.Node, path: KeyPath) -> Any:
        self.num_values += 1
        if self.num_values > MAX_VALUES or len(path) > MAX_DEPTH:
            self.stop(node)
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            return [self.item(child, (*path, index)) for index, child in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            try:
                return _scalar(node)
            except ValueError as error:
                return self.problem(node, path, str(error))
        return self.problem(node, path, _tag_problem(node))

    def stop(self, node: yaml.Node) -> NoReturn:
        limits = f"more than {MAX_VALUES} values or {MAX_DEPTH} levels"
        raise BadInput(f"{self.name}:{_begin(node)}: too large once its aliases are followed: {limits}")

    def item(self, node: yaml.Node, path: KeyPath) -> Any:
        self.positions[path] = _begin(node)
        return self.plain(node, path)

    def mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self.key(key_node, path)
            if key is None:
                continue
            here = (*path, key)
            if key in data:
                self.problem(key_node, here, f"the key stands here again; first at {self.positions[here]}")
                continue
            self.positions[here] = _begin(key_node)
            data[key] = self.plain(value_node, here)
        return data

    def key(self, node: yaml.Node, path: KeyPath) -> str | None:
        if not isinstance(node, yaml.ScalarNode):
            return self.problem(node, path, "a key must be text, not a list or a mapping")
        try:
            key = _scalar(node)
        except ValueError as error:
            return self.problem(node, path, str(error))
        if not isinstance(key, str):
            return self.problem(node, path, f"a key must be text; quote it: '{node.value}'")
        if key == "<<":
            return self.problem(node, path, "merging with << is not supported; write the keys out")
        return key

    def problem(self, node: yaml.Node, path: KeyPath, text: str) -> None:
        self.problems.append((_begin(node), f"{dotted(path)}: {text}" if path else text))


def _scalar(node: yaml.ScalarNode) -> str | int | float | bool | None:
    """The value of a scalar; ValueError in words where it has none."""
    value: str = node.value
    if node.tag == _TAG + "str":
        strange = next((one for one in value if one == "\0" or "\ud800" <= one <= "\udfff"), None)
        if strange is not None:
            raise ValueError(f"the character U+{ord(strange):04X} is not allowed")
        return value
    if not any(node.tag == _TAG + name and re.fullmatch(pattern, value) for name, pattern, _ in _SCALARS):
        raise ValueError(_tag_problem(node))
    if node.tag == _TAG + "null":
        return None
    if node.tag == _TAG + "bool":
        return value.lower() == "true"
    if node.tag == _TAG + "float":
        return float(value.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return _integer(value)


def _integer(value: str) -> int:
    # The length goes first: Python refuses to read numbers of thousands of digits.
    number = int(value, 0 if value[:2] in ("0o", "0x") else 10) if len(value) < 100 else MAX_INTEGER + 1
    if abs(number) > MAX_INTEGER:
        raise ValueError(f"a whole number beyond {MAX_INTEGER}")
    return number


def _tag_problem(node: yaml.Node) -> str:
    tag = node.tag.replace(_TAG, "!!")
    return f"the tag {tag!r} does not fit or is not allowed; leave tags out"


def _syntax_problem(name: str, error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    place = f"{name}:{Position(mark.line + 1, mark.column + 1)}" if mark else name
    context = f"{error.context}, " if error.context else ""
    return f"{place}: not YAML: {context}{error.problem}"


def _begin(node: yaml.Node) -> Position:
    return Position(node.start_mark.line + 1, node.start_mark.column + 1)


def _place_after(text: str) -> Position:
    """Where the character after `text` stands."""
    return Position(text.count("\n") + 1, len(text) - (text.rfind("\n") + 1) + 1)
