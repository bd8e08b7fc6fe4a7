"""A study from its file: read, overridden, checked against every model, with all problems at once.

The order in which values win: the file, then the variant, then `--set`. Each problem names the place that
the value came from, and reads like
`study.yaml:4:3: training.learning_rat: unknown key. Did you mean 'learning_rate'?`
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from transferscope.analyses.contract import analysis_module, analysis_names
from transferscope.core.config import AnalysisConfig, Study, Training
from transferscope.core.datasets import dataset_module, forget_descriptions
from transferscope.core.errors import BadInput, did_you_mean
from transferscope.core.options import DatasetOptions, NetworkOptions, named_normalization
from transferscope.study.checks import study_problems
from transferscope.study.messages import Problem, paths_given_as_text, plain_problems, shown
from transferscope.study.overrides import Draft, apply_override, apply_variant
from transferscope.study.yaml_positions import MAX_BYTES, Dumper, KeyPath, read_yaml

OWN_DATA = "own-data"
"""The template for the user's own data."""

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class _Section:
    """A part of the study whose options are a plug-in's own model."""

    path: KeyPath
    name_key: str | None
    """The key with the plug-in's name; where None, the section's own key is the name."""
    model: Callable[[str], type[BaseModel]]
    """The model for a name; raises BadInput for an unknown one."""
    base: type[BaseModel]
    """What stands in for the section while the rest is checked, where the section is wrong."""


def load_study(path: str | Path, *, overrides: Sequence[str] = (), variant: str | None = None) -> Study:
    """The study in a file.

    Args:
        path: a YAML file; see `template_study` for a commented one.
        overrides: `key=value` each, the key dotted, the value YAML, as in `training.epochs=3`. They win
            over the variant.
        variant: name of one of the file's `variants`, each a set of overrides; they win over the file.

    Returns:
        The study, checked and frozen; a notebook shows it as a table.

    Raises:
        BadInput: the file can't be used; has all problems, each with its place.

    >>> load_study("missing.yaml")
    Traceback (most recent call last):
        ...
    transferscope.core.errors.BadInput: missing.yaml: no such file; `transferscope init FILE` writes one to start from
    """
    name = str(path)
    return _read(_content(path, name), name, overrides, variant)


def study_of(data: Mapping[str, Any], name: str, *, overrides: Sequence[str] = ()) -> Study:
    """The study of plain data, as a program makes them.

    Args:
        data: what would stand in the file.
        name: what messages call it.
        overrides: as of `load_study`.

    Raises:
        BadInput: as `load_study`, without lines: nobody has seen such a file.
    """
    text = yaml.dump(dict(data), Dumper=Dumper, sort_keys=False, allow_unicode=True)
    return _read(text.encode(), name, overrides, None, has_lines=False)


def _read(
    content: bytes, name: str, overrides: Sequence[str], variant: str | None, *, has_lines: bool = True
) -> Study:
    forget_descriptions()
    document = read_yaml(content, name)
    if document.data is None:
        raise BadInput(f"{name}: the file is empty; `transferscope init FILE` writes one to start from")
    if not isinstance(document.data, dict):
        came = shown(document.data)
        raise BadInput(
            f"{name}:{document.positions[()]}: expected a mapping with the keys of a study, got {came}"
        )
    draft = Draft(name, document.data, document.positions, has_lines=has_lines)
    apply_variant(draft, draft.data.pop("variants", None), variant)
    for index, override in enumerate(overrides):
        apply_override(draft, override, index)
    study = _validated(draft)
    draft.stop_at_problems()
    assert study is not None, "no problem, no study"
    study = _with_its_normalization(_with_its_search(study), draft)
    draft.stop_at_problems()
    for problem in study_problems(study):
        draft.report(problem)
    draft.stop_at_problems()
    return study


def _with_its_normalization(study: Study, draft: Draft) -> Study:
    """A study with the mean and std that its given weights state, where it asks for these."""
    if study.normalization != "pretrained":
        return study
    from transferscope.models.weights.stated_normalization import stated_normalization

    try:
        stated = named_normalization(stated_normalization(study))
    except BadInput as error:
        draft.report(Problem(("normalization",), str(error)))
        return study
    return study.model_copy(update={"normalization": stated})


def _with_its_search(study: Study) -> Study:
    """A study that searches its learning rates reports the search."""
    training = study.training
    if training is None or training.rate_search is None:
        return study
    if training.rates_chosen_by == Training.model_fields["rates_chosen_by"].default:
        training = training.model_copy(update={"rates_chosen_by": training.rate_search.said})
    analyses = {**study.analyses}
    for name in analysis_names():
        module = analysis_module(name)
        if getattr(module, "WITH_SEARCH", False):
            analyses.setdefault(name, module.Config())
    return study.model_copy(update={"training": training, "analyses": analyses})


def resolved_yaml(study: Study) -> str:
    """The whole study, defaults and overrides included, as a file that `load_study` reads to the same."""
    data = study.model_dump(mode="json")
    return yaml.dump(data, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=100)


def template_names() -> list[str]:
    """The names of the studies that come with the package."""
    files = (resources.files("transferscope.study") / "studies").iterdir()
    return sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))


def template_study(name: str = OWN_DATA) -> str:
    """A commented study file to be changed by hand; by default one for the user's own data.

    Raises:
        BadInput: unknown name; the message has the nearest one.
    """
    names = template_names()
    if name not in names:
        raise BadInput(f"unknown template '{name}'.{did_you_mean(name, names)}")
    return (resources.files("transferscope.study") / "studies" / f"{name}.yaml").read_text(encoding="utf-8")


def _content(path: str | Path, name: str) -> bytes:
    """At most a byte more than is allowed, so that a file without end does no harm."""
    try:
        with open(path, "rb") as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise BadInput(f"{name}: no such file; `transferscope init FILE` writes one to start from") from None
    except IsADirectoryError:
        raise BadInput(f"{name}: a directory; expected a study file") from None
    except (OSError, ValueError) as error:
        raise BadInput(f"{name!r}: cannot be read: {error}") from None


def _validated(draft: Draft) -> Study | None:
    """The study, where every model takes its part; what is refused is reported."""
    filled = _with_tuples(draft.data)
    for section in _sections(draft.data):
        made = _made(draft, section)
        around = filled
        for key in section.path[:-1]:
            around = around[key]
        around[section.path[-1]] = section.base.model_construct() if made is None else made
    try:
        return Study.model_validate(filled, strict=True)
    except ValidationError as refused:
        for problem in plain_problems(refused, Study, draft.data):
            draft.report(problem)
        return None


def _sections(data: Mapping[str, Any]) -> Iterator[_Section]:
    """The plug-in sections that are there; what is missing or misshapen around them Study itself says."""
    if "network" in data:
        yield _Section(("network",), "name", _network_model, NetworkOptions)
    users: list[tuple[KeyPath, Any]] = [(("source",), data.get("source"))]
    users += [(("targets", name), target) for name, target in _items(data.get("targets"))]
    for path, user in users:
        is_left_out = path == ("source",) and isinstance(user, dict) and user.get("data") is None
        if isinstance(user, dict) and "data" in user and not is_left_out:
            yield _Section((*path, "data"), "dataset", _dataset_model, DatasetOptions)
    for name, _ in _items(data.get("analyses")):
        yield _Section(("analyses", name), None, _analysis_model, AnalysisConfig)


def _made(draft: Draft, section: _Section) -> BaseModel | None:
    """The section's own model, or None where it was refused and reported."""
    path, key = section.path, section.name_key
    data: Any = draft.data
    for part in path:
        data = data[part]
    if key is None and data is None:
        data = {}
    if not isinstance(data, dict):
        kind = (
            f"a mapping with the key '{key}'" if key else "a mapping of options, or nothing for the defaults"
        )
        draft.report(Problem(path, f"expected {kind}, got {shown(data)}"))
        return None
    name = path[-1] if key is None else data.get(key, "")
    name_path = path if key is None else (*path, key)
    if not isinstance(name, str):
        draft.report(Problem(name_path, f"expected text, got {shown(name)}"))
        return None
    try:
        model = section.model(name)
    except BadInput as error:
        missing = key is not None and key not in data
        # What follows the first sentence is the choice there is.
        text = str(error) if not missing else f"missing key.{str(error).partition('.')[2]}"
        draft.report(Problem(name_path, text))
        return None
    try:
        return strictly(model, data)
    except ValidationError as refused:
        for problem in plain_problems(refused, model, data):
            draft.report(Problem((*path, *problem.path), problem.message))
    except BadInput as error:
        for text in error.problems:
            draft.report(Problem(path, text))
    return None


def _network_model(name: str) -> type[BaseModel]:
    from transferscope.models.build import network_options

    return network_options(name)


def _dataset_model(name: str) -> type[BaseModel]:
    return dataset_module(name).Options


def _analysis_model(name: str) -> type[BaseModel]:
    return analysis_module(name).Config


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from value.items()


def strictly(model: type[Model], data: Any) -> Model:
    """The model of plain data, where no text passes for a number, only for the path of a file."""
    try:
        return model.model_validate(_with_tuples(data), strict=True)
    except ValidationError as refused:
        paths = paths_given_as_text(refused, data)
        if not paths:
            raise
        return model.model_validate(_with_tuples(data, paths), strict=True)


def _with_tuples(value: Any, paths: Collection[KeyPath] = (), here: KeyPath = ()) -> Any:
    """A copy with tuples for lists, since the models are strict and frozen, and with paths at `paths`."""
    if isinstance(value, dict):
        return {key: _with_tuples(item, paths, (*here, key)) for key, item in value.items()}
    if isinstance(value, list):
        return tuple(_with_tuples(item, paths, (*here, index)) for index, item in enumerate(value))
    return Path(value) if here in paths else value
