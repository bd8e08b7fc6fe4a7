"""The head of a network: the layers that return the logits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn
from torch.nn.modules.conv import _ConvNd

from transferscope.core.errors import BadInput
from transferscope.metrics.evaluation.passes import Trace
from transferscope.models.modules.parts import has_tensors


def head_paths(model: nn.Module, num_classes: int | None, seen: Trace | None = None) -> tuple[str, ...]:
    """Paths of the layers that return the logits; several if the network has several parallel classifiers.

    Args:
        model: any network.
        num_classes: number of outputs.
        seen: the trace of a pass. If it shows the last layers, timm's `get_classifier()` is used only if it contains
            them.

    Raises:
        BadInput: no head is found.
    """
    given = _given_classifiers(model)
    last = _last_layers(model, num_classes, seen)
    if last and not all(any(_is_in(path, each) for each in given) for path in last):
        return last
    if given:
        return given
    calls = None if seen is None or len(seen.calls) < 2 else seen.calls
    found = None
    for path in (path for path, _ in model.named_modules() if path) if calls is None else calls:
        outputs = _outputs(model.get_submodule(path))
        if outputs is not None and (num_classes is None or outputs == num_classes):
            found = path
    if found is None:
        wanted = "no linear layer" if num_classes is None else f"no linear layer with {num_classes} outputs"
        raise BadInput(
            f"the head of {type(model).__name__} can't be found: {wanted} in it. Name it in the network's options, "
            'as in modules: {stem: [conv1], "block {}": "layers.*", head: classifier}.'
        )
    return (found,)


def _given_classifiers(model: nn.Module) -> tuple[str, ...]:
    """The classifiers that a network of timm reports."""
    get_classifier: Any = getattr(model, "get_classifier", None)
    given = get_classifier() if callable(get_classifier) else None
    classifiers: Iterable[Any] = given if isinstance(given, (tuple, list)) else (given,)
    paths = {id(module): path for path, module in model.named_modules() if path}
    return tuple(
        paths[id(each)]
        for each in classifiers
        if isinstance(each, nn.Module) and id(each) in paths and has_tensors(each)
    )


def _last_layers(model: nn.Module, num_classes: int | None, seen: Trace | None) -> tuple[str, ...]:
    """The layers or matrices with one output per class that are the last in a pass."""
    if seen is None:
        return ()
    parameters = dict(model.named_parameters())
    found = []
    for path in seen.last_layers:
        if path in parameters:
            sizes = parameters[path].shape
        else:
            shape = seen.shapes.get(path, ())
            sizes = shape[1:2] if isinstance(model.get_submodule(path), _ConvNd) else shape[-1:]
        if num_classes is None or num_classes in sizes:
            found.append(path)
    return tuple(found)


def _is_in(path: str, place: str) -> bool:
    return path == place or path.startswith(place + ".")


def _outputs(module: nn.Module) -> int | None:
    """Number of outputs of a layer that can be a head."""
    if isinstance(module, nn.Linear):
        return module.out_features
    if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1):
        return module.out_channels
    return None
