"""The Gram of every layer of a network, computed while the network runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from transferscope.errors import BadInput, did_you_mean
from transferscope.metrics.hsic import gram
from transferscope.metrics.states import device_of


class LayerGrams:
    """Grams of the outputs of some layers of one network.

    Args:
        model: any network that takes a batch of inputs.
        layers: names of its modules. Of several tensors in an output the first counts; of several calls in
            one pass, as of a ReLU used twice, the last.
    """

    def __init__(self, model: nn.Module, layers: Sequence[str]) -> None:
        self.model = model
        self.layers = tuple(layers)
        self._num_samples = 0
        self._found: dict[str, Tensor | str] = {}

    @contextmanager
    def hooked(self) -> Iterator[None]:
        """Evaluation mode and hooks; both are undone at the end, also after an exception."""
        modes = [(module, module.training) for module in self.model.modules()]
        handles = []
        try:
            self.model.eval()
            for layer in self.layers:
                hook = partial(self._record, layer)
                handles.append(self.model.get_submodule(layer).register_forward_hook(hook))
            yield
        finally:
            for handle in handles:
                handle.remove()
            for module, training in modes:
                module.training = training

    def of(self, inputs: Tensor) -> dict[str, Tensor | str]:
        """One forward pass: each layer's Gram (m, m) in float64, or why there is none."""
        self._found = {}
        self._num_samples = len(inputs)
        with torch.no_grad():
            # A copy: a network that changes its input in place would show other samples to the next one.
            self.model(inputs.to(device_of(self.model), copy=True))
        return {layer: self._found.get(layer, "not called") for layer in self.layers}

    def _record(self, layer: str, module: nn.Module, args: object, output: object) -> None:
        # Here and not after the pass: an in-place operation that follows would change the output.
        del module, args
        features = first_tensor(output)
        if features is None:
            self._found[layer] = "no tensor"
        elif features.ndim == 0 or len(features) != self._num_samples:
            self._found[layer] = "other batch size"
        else:
            self._found[layer] = gram(features)


def first_tensor(output: object) -> Tensor | None:
    """The first tensor in what a module gave: itself, or in a tuple, list or mapping, at any depth."""
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Mapping):
        output = list(output.values())
    if isinstance(output, (tuple, list)):
        return next((found for part in output if (found := first_tensor(part)) is not None), None)
    return None


def chosen_layers(
    models: Mapping[str, nn.Module], layers: Sequence[str] | Mapping[str, Sequence[str]] | None
) -> dict[str, list[str]]:
    """The layers of each model: as given, or the top-level children.

    Raises:
        BadInput: a model without layers, or layers that a model lacks; all are named.
    """
    if not isinstance(models, Mapping):
        raise BadInput(
            f"Expected networks by name, as in {{'a': model_a, 'b': model_b}}, got a {type(models).__name__}."
        )
    problems = [
        f"Model '{name}' is a {type(model).__name__}, not a torch.nn.Module."
        for name, model in models.items()
        if not isinstance(model, nn.Module)
    ]
    if problems:
        raise BadInput(problems)
    chosen = {}
    for name, model in models.items():
        known = [module for module, _ in model.named_modules(remove_duplicate=False) if module]
        if layers is None:
            chosen[name] = [child for child, _ in model.named_children()]
        elif isinstance(layers, Mapping):
            chosen[name] = list(layers.get(name, []))
        else:
            chosen[name] = list(layers)
        if not chosen[name]:
            problems.append(f"Model '{name}' has no layers to compare; name them in `layers`.")
        problems += [
            f"Model '{name}' has no layer '{layer}'.{did_you_mean(layer, known)}"
            for layer in chosen[name]
            if layer not in known
        ]
    if isinstance(layers, Mapping):
        problems += [
            f"`layers` names the model '{name}'.{did_you_mean(name, models)}"
            for name in layers
            if name not in models
        ]
    if problems:
        raise BadInput(problems)
    return chosen
