"""What a model refuses, in plain words: which key, what was expected, what came, how to fix it."""

from __future__ import annotations

import re
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from transferscope.core.errors import did_you_mean
from transferscope.study.yaml_positions import KeyPath

_LONGEST_SHOWN = 60

_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "is_instance_of": "a {class}",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "none_required": "nothing",
    "literal_error": "{expected}",
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "less than {lt:g}",
    "less_than_equal": "at most {le:g}",
    "too_short": "{min_length} or more entries",
    "too_long": "{max_length} entries at most",
    "string_too_short": "{min_length} or more characters",
    "string_too_long": "{max_length} characters at most",
    "string_pattern_mismatch": "text of the form {pattern}",
}
"""What was expected, for each kind of error that pydantic has for strict Python data, in the words of YAML."""


@dataclass(frozen=True)
class Problem:
    """Something wrong with the value or the key at a path."""

    path: KeyPath
    message: str


@dataclass(frozen=True)
class _Refusal:
    """One of pydantic's errors, with the path of the data instead of pydantic's."""

    path: KeyPath
    union: KeyPath | None
    """Where a union stands whose members were tried one by one, if any."""
    error: Mapping[str, Any]


def plain_problems(refused: ValidationError, model: type[BaseModel], data: Any) -> list[Problem]:
    """The errors of one validation, in plain words.

    Args:
        refused: what pydantic raised.
        model: the model that was to be made.
        data: what it was to be made from, as plain data.
    """
    refusals = [_refusal(error, data) for error in refused.errors()]
    groups: dict[tuple[KeyPath, bool], list[_Refusal]] = {}
    for refusal in _deepest(refusals):
        groups.setdefault((refusal.path, refusal.error["type"] in _EXPECTED), []).append(refusal)
    return [_problem(path, [one.error for one in group], model, data) for (path, _), group in groups.items()]


def paths_given_as_text(refused: ValidationError, data: Any) -> set[KeyPath]:
    """Where the model wanted the path of a file and text came, which is how a path is written."""
    errors = [error for error in refused.errors() if error.get("ctx", {}).get("class") == "Path"]
    paths = {_refusal(error, data).path for error in errors}
    return {path for path in paths if isinstance(_value(data, path), str)}


def shown(value: Any) -> str:
    """A value as it is quoted in an error: short, and told apart from other types that look alike."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "a list" if value else "an empty list"
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def _refusal(error: Mapping[str, Any], data: Any) -> _Refusal:
    """Pydantic puts the names of a union's members into its path; they are no keys of the data."""
    path: KeyPath = ()
    union: KeyPath | None = None
    value = data
    for at, part in enumerate(error["loc"], start=1):
        if _holds(value, part):
            value = value[part]
        elif error["type"] != "missing" or at < len(error["loc"]):
            union = path if union is None else union
            continue
        path = (*path, part)
    return _Refusal(path, union, error)


def _holds(value: Any, part: str | int) -> bool:
    if isinstance(part, int):
        return isinstance(value, list | tuple) and part < len(value)
    return isinstance(value, Mapping) and part in value


def _deepest(refusals: Sequence[_Refusal]) -> Iterator[_Refusal]:
    """Of a union's members only those that went the farthest: the one that was meant is among them."""
    depths: dict[KeyPath, int] = {}
    for refusal in refusals:
        if refusal.union is not None:
            depths[refusal.union] = max(depths.get(refusal.union, 0), len(refusal.path))
    for refusal in refusals:
        if refusal.union is None or len(refusal.path) == depths[refusal.union]:
            yield refusal


def _problem(
    path: KeyPath, errors: Sequence[Mapping[str, Any]], model: type[BaseModel], data: Any
) -> Problem:
    error = errors[0]
    context = error.get("ctx", {})
    if error["type"] == "missing":
        meaning = " ".join(_meanings(model, path))
        return Problem(path, f"missing key.{' ' if meaning else ''}{meaning}")
    if error["type"] == "extra_forbidden":
        fields = {name for found in _models(model, path[:-1]) for name in found.model_fields}
        return Problem(path, f"unknown key.{did_you_mean(str(path[-1]), fields)}")
    if error["type"] in ("value_error", "assertion_error"):
        message = str(context.get("error", error["msg"]))
        return Problem((*path, *_named_key(message, _value(data, path))), message)
    value = _value(data, path)
    if error["type"] not in _EXPECTED:
        return Problem(path, f"{error['msg']}; got {shown(value)}")
    expected = [_expected(one) for one in errors]
    message = f"expected {' or '.join(dict.fromkeys(expected))}, got {shown(value)}"
    choices = re.findall(r"'([^']*)'", " ".join(expected))
    hint = did_you_mean(value, choices) if isinstance(value, str) and choices else ""
    return Problem(path, message + ("." + hint if "Did you mean" in hint else ""))


def _expected(error: Mapping[str, Any]) -> str:
    context = error.get("ctx", {})
    if context.get("class") == "Path":
        return "a path"
    return _EXPECTED[error["type"]].format(**context)


def _named_key(message: str, value: Any) -> KeyPath:
    """A validator of a whole model begins its message with the key it means, where it means one."""
    word = message.split(maxsplit=1)[0] if message.strip() else ""
    return (word,) if isinstance(value, Mapping) and word in value else ()


def _value(data: Any, path: KeyPath) -> Any:
    for part in path:
        data = data[part]
    return data


def _meanings(model: type[BaseModel], path: KeyPath) -> Iterator[str]:
    """What the field at `path` means, from the model's own documentation."""
    for found in _models(model, path[:-1]):
        field = found.model_fields.get(str(path[-1]))
        if field is not None and field.description:
            yield field.description


def _models(annotation: Any, path: KeyPath) -> Iterator[type[BaseModel]]:
    """The models that can stand at `path` below `annotation`; several where there is a union."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from _models(arguments[0], path)
    elif origin in (Union, types.UnionType):
        for member in arguments:
            yield from _models(member, path)
    elif origin is None and isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if not path:
            yield annotation
        elif path[0] in annotation.model_fields:
            yield from _models(annotation.model_fields[str(path[0])].annotation, path[1:])
    elif path and arguments:
        # A dict's values, or a list's or tuple's items.
        yield from _models(arguments[-1] if origin is dict else arguments[0], path[1:])
