"""What published weights say themselves about the pixels that they expect."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from transferscope.core.config import Study, Weights
from transferscope.core.errors import BadInput
from transferscope.core.options import MeanStd, NetworkOptions
from transferscope.models.weights.hub import DEFAULT, hugging_face_file, timm_config, torchvision_weights

CONFIGURATIONS = ("config.json", "preprocessor_config.json")
"""Where repositories of the Hugging Face hub state it: timm's, and those of transformers."""
CHOICES = (
    "Give one of per_image, unit, imagenet, centred_64, or the numbers: "
    "{mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}."
)


def stated_normalization(study: Study) -> MeanStd:
    """Mean and standard deviation of the channels that the study's pre-trained weights state.

    Those of `source.weights`, or where there is none of the given instances, which must agree.

    Raises:
        BadInput: nothing is stated, or not the same by all.
    """
    stated = {name: _stated(study.network, weights) for name, weights in _given(study)}
    if not stated:
        raise BadInput(f"pretrained is for weights that are given, and P is trained here. {CHOICES}")
    if len(set(stated.values())) > 1:
        said = "; ".join(f"{name}: {each.mean}, {each.std}" for name, each in stated.items())
        raise BadInput(f"the given weights state different normalizations ({said}). {CHOICES}")
    return next(iter(stated.values()))


def _given(study: Study) -> Iterator[tuple[str, Weights]]:
    if study.source is not None:
        if study.source.weights is not None:
            yield "source.weights", study.source.weights
        return
    for name, instance in (study.instances or {}).items():
        yield name, instance.weights


def _stated(network: NetworkOptions, weights: Weights) -> MeanStd:
    found: Mapping[str, Any] = {}
    model, name = getattr(network, "model", ""), weights.hub or ""
    if name.startswith("hf-hub:"):
        what = name
        found = _of_hugging_face(name.removeprefix("hf-hub:"), weights.revision)
    elif weights.hub is not None and network.name == "timm":
        what = f"weights '{name}' of {model}"
        found = timm_config(model, name).to_dict()
    elif weights.hub is not None and network.name == "torchvision":
        what = f"weights '{name}' of {model}"
        found = vars(torchvision_weights(model, name).transforms())
    else:
        what = weights.hub or str(weights.file)
        if network.name == "timm" and "." in model:
            # whoever names the tag of weights says which ones the file holds
            found = timm_config(model, model.partition(".")[2] or DEFAULT).to_dict()
    mean, std = found.get("mean"), found.get("std")
    if not (mean and std):
        raise BadInput(f"nothing is known of the normalization that {what} expects. {CHOICES}")
    return MeanStd(mean=tuple(map(float, mean)), std=tuple(map(float, std)))


def _of_hugging_face(repository: str, revision: str | None) -> Mapping[str, Any]:
    """`mean` and `std` of a repository's own configuration, where one of its files has both.

    Raises:
        BadInput: none of its files can be had.
    """
    problems: list[str] = []
    for name in CONFIGURATIONS:
        try:
            stated = _read(hugging_face_file(repository, (name,), revision))
        except BadInput as error:  # not every repository has both
            problems.append(str(error))
            continue
        config = stated.get("pretrained_cfg", stated)
        found = {
            "mean": config.get("mean", config.get("image_mean")),
            "std": config.get("std", config.get("image_std")),
        }
        if all(found.values()):
            return found
    if len(problems) == len(CONFIGURATIONS):
        raise BadInput(f"what hf-hub:{repository} states can't be read: {problems[0]} Or: {CHOICES}")
    return {}


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
