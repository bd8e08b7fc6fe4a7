"""The Gram of every layer of a network, computed while the network runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from transferscope.core.errors import BadInput, did_you_mean
from transferscope.metrics.evaluation.evaluate import called
from transferscope.metrics.evaluation.forward_checks import (
    check_repeated,
    check_same_in_batches,
    relative_difference,
)
from transferscope.metrics.evaluation.passes import batch_axis, first_tensor
from transferscope.metrics.evaluation.states import device_of
from transferscope.metrics.inputs.arguments import names, network, observable
from transferscope.metrics.inputs.guard import lent_for_reading
from transferscope.metrics.inputs.private_memory import Registered
from transferscope.metrics.similarity.hsic import flattened, gram

FEW = 4
"""Samples of the passes that look at a network; fewer than any batch that is measured."""


class LayerGrams:
    """Grams of the outputs of some layers of one network.

    The batch is the first axis of an output, unless another size of the batch leaves that axis as it is: recurrent
    layers and some transformers (`nn.TransformerEncoder` by default, CLIP) have the tokens first. A pass over the
    first four samples shows it. Another such pass must give the same features, and so must the first batch.

    Args:
        model: any network that takes a batch of inputs.
        name: what errors call it.
        layers: names of its modules. Of several tensors in an output the first counts; of several calls in
            one pass, as of a ReLU used twice, the last.
    """

    def __init__(self, model: nn.Module, layers: Sequence[str], name: str) -> None:
        observable(model, f"model '{name}'", ["", *layers])
        self.model = model
        self.layers = tuple(layers)
        self.name = name
        self._num_samples = 0
        self._found: dict[str, Tensor | str] = {}
        self._shapes: dict[str, torch.Size] | None = None
        """Of each layer's output for a few samples; None until a pass has looked at them."""
        self._few: dict[str, Tensor] = {}
        """These outputs, until they are compared with those of the first batch."""
        self._looked_at: dict[str, Tensor] | None = None
        """Where a pass over a few samples keeps its outputs; None in a measured pass."""
        self._differences: dict[str, float] = {}

    @contextmanager
    def hooked(self) -> Iterator[None]:
        """Lends the network and hooks its layers; all is undone at the end, also after an exception."""
        with lent_for_reading(self.model):
            for layer in self.layers:
                self.model.get_submodule(layer).register_forward_hook(partial(self._record, layer))
            self._registered = Registered(self.model)
            yield

    def of(self, inputs: Tensor) -> dict[str, Tensor | str]:
        """One forward pass: each layer's Gram (m, m) in float64, or why there is none.

        Args:
            inputs: (m, ...), with m > 4. The first call makes two passes over four of them, too.

        Raises:
            BadInput: random layers, or layers whose output for a sample depends on the others in its batch.
        """
        self._num_samples = len(inputs)
        if self._shapes is None:
            self._look_at(inputs[:FEW])
        self._found = {}
        self._registered.reset()  # the hooked layers, if a pass has replaced them
        # A copy: a network that changes its input in place would show other samples to the next one.
        called(self.model, inputs.to(device_of(self.model), copy=True))
        if self._differences:
            layer = max(self._differences, key=lambda layer: self._differences[layer])
            check_same_in_batches(self._differences[layer], self._where(layer))
        self._few, self._differences = {}, {}
        return {layer: self._found.get(layer, "not called") for layer in self.layers}

    def _look_at(self, few: Tensor) -> None:
        """Keeps each layer's output for a few samples, which must be the same in two passes."""
        device = device_of(self.model)
        passes: list[dict[str, Tensor]] = []
        try:
            # A network that draws numbers draws the same ones in the measured passes as without these.
            with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
                for _ in range(2):
                    self._looked_at = {}
                    self._registered.reset()
                    self.model(few.to(device, copy=True))
                    passes.append(self._looked_at)
        except Exception:  # the network may need larger batches; any other fault shows in the measured pass
            passes = [{}, {}]
        finally:
            self._looked_at = None
        self._few, again = passes
        self._shapes = {layer: output.shape for layer, output in self._few.items()}
        for layer, output in self._few.items():
            if layer in again and output.shape == again[layer].shape:
                check_repeated(flattened(output), flattened(again[layer]), self._where(layer))

    def _record(self, layer: str, module: nn.Module, args: object, output: object) -> None:
        # Here and not after the pass: an in-place operation that follows would change the output.
        del module, args
        features = first_tensor(output)
        if features is None:
            self._found[layer] = "no tensor"
            return
        if self._looked_at is not None:
            self._looked_at[layer] = features.detach().clone()
            return
        axis = batch_axis(features.shape, self._num_samples, (self._shapes or {}).get(layer), FEW)
        if isinstance(axis, str):
            self._found[layer] = axis
            return
        features = features.movedim(axis, 0)
        self._found[layer] = gram(features)
        if layer in self._few:
            alone, among = flattened(self._few[layer].movedim(axis, 0)), flattened(features[:FEW])
            if alone.shape == among.shape:
                self._differences[layer] = relative_difference(alone, among)

    def _where(self, layer: str) -> str:
        return f" of layer '{layer}' of model '{self.name}'"


def uncompiled(models: Mapping[str, nn.Module]) -> Mapping[str, nn.Module]:
    """The networks inside those that `torch.compile` returned: they have the layers."""
    if not isinstance(models, Mapping):
        return models
    return {name: getattr(model, "_orig_mod", model) for name, model in models.items()}


def chosen_layers(
    models: Mapping[str, nn.Module], layers: Sequence[str] | Mapping[str, Sequence[str]] | None
) -> dict[str, list[str]]:
    """The layers of each model: as given, or the top-level children, below one that wraps the whole network.

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
    for name, model in models.items():
        network(model, f"models['{name}']")
    if isinstance(layers, Mapping):
        layers = {name: names(own, f"layers['{name}']") for name, own in layers.items()}
    elif layers is not None:
        layers = names(layers, "layers")
    chosen = {}
    for name, model in models.items():
        known = [module for module, _ in model.named_modules(remove_duplicate=False) if module]
        if layers is None:
            chosen[name] = _first_level(model)
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


def _first_level(model: nn.Module) -> list[str]:
    """The modules of the first level that has several."""
    names = [name for name, _ in model.named_children()]
    while len(names) == 1:
        below = [name for name, _ in model.get_submodule(names[0]).named_children()]
        if not set(below) - {"parametrizations"}:
            break
        names = [f"{names[0]}.{name}" for name in below]
    return names
