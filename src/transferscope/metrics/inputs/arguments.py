"""Checks of arguments that many functions share: what was expected, what came, and how to fix it.

Each function returns the argument in the form that the caller computes with, or raises BadInput that names it.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from transferscope.core.errors import BadInput, did_you_mean, shortened
from transferscope.metrics.inputs.private_memory import refuse_lazy_tensors


def whole_number(value: Any, name: str, *, least: int | None = None) -> int:
    """An integer of Python, NumPy or torch (0 axes), at least `least`."""
    if isinstance(value, Tensor) and value.ndim == 0 and not value.is_floating_point():
        value = value.item()
    if not isinstance(value, (bool, np.bool_)):
        try:
            number = operator.index(value)
        except TypeError:
            pass
        else:
            if least is None or number >= least:
                return number
    bound = "" if least is None else f" of at least {least}"
    raise BadInput(f"{name} is a whole number{bound}, got {_came(value)}.")


def real_number(value: Any, name: str) -> float:
    """A number of Python, NumPy or torch (0 axes); NaN and infinities are numbers."""
    if isinstance(value, (bool, np.bool_, str, bytes)) or np.ndim(_on_cpu(value)) or np.iscomplexobj(value):
        raise BadInput(f"{name} is a number, got {_came(value)}.")
    try:
        return float(value)
    except (TypeError, ValueError):
        raise BadInput(f"{name} is a number, got {_came(value)}.") from None


def real_numbers(values: Any, name: str) -> list[float]:
    """Numbers of a list, a tuple, a NumPy array or a tensor with one axis."""
    if isinstance(values, (Tensor, np.ndarray)):
        if values.ndim == 1:
            values = values.tolist()
    elif isinstance(values, Iterable) and not isinstance(values, (str, bytes, Mapping)):
        values = list(values)
    if not isinstance(values, list):
        raise BadInput(
            f"{name} are numbers, such as [0, 0.5, 1] or np.linspace(0, 1, 11), got {_came(values)}."
        )
    return [real_number(value, f"{name}[{place}]") for place, value in enumerate(values)]


def names(values: Any, name: str) -> list[str]:
    """Texts of a list, each once; one text is a list of one name."""
    if isinstance(values, str):
        return [values]
    if not isinstance(values, Iterable) or isinstance(values, (Mapping, Tensor)):
        raise BadInput(f"{name} is a list of names, got {_came(values)}.")
    found = list(values)
    for value in found:
        if not isinstance(value, str):
            raise BadInput(f"{name} is a list of names, got {_came(value)} in it.")
    twice = sorted({value for value in found if found.count(value) > 1})
    if twice:
        raise BadInput(f"{name} names {', '.join(map(repr, twice))} more than once; name each once.")
    return found


def prefixes_of_modules(modules: Any) -> dict[str, list[str]] | None:
    """Module name -> prefixes; None stays None."""
    if modules is None:
        return None
    if not isinstance(modules, Mapping):
        raise BadInput(
            "modules is a mapping of module names to prefixes of the names of their tensors, such as "
            f"{{'stem': ['conv1', 'bn1']}}, got {_came(modules)}."
        )
    return {module: names(prefixes, f"modules[{module!r}]") for module, prefixes in modules.items()}


def pairs_of(pairs: Any, known: Iterable[str], what: str) -> list[tuple[str, str]]:
    """Pairs of names that are known; `what` is what the names stand for."""
    choices = list(known)
    if isinstance(pairs, str) or not isinstance(pairs, Iterable):
        raise BadInput(f"pairs is a list of pairs such as [('a', 'b')], got {_came(pairs)}.")
    found = list(pairs)
    problems = []
    if not found:
        problems.append(f"No pair of {what}s is asked for; leave `pairs` out for all of them.")
    named: dict[str, None] = {}
    for pair in found:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not all(isinstance(x, str) for x in pair):
            problems.append(f"pairs is a list of pairs such as [('a', 'b')], got {_came(pair)} in it.")
        else:
            named.update(dict.fromkeys(pair))
    problems += [
        f"There is no {what} '{name}'.{did_you_mean(name, choices)}" for name in named if name not in choices
    ]
    if problems:
        raise BadInput(problems)
    return [(a, b) for a, b in found]


def tensor(values: Any, name: str, *, complex_allowed: bool = False) -> Tensor:
    """A dense tensor that holds values, without its gradient."""
    if not isinstance(values, Tensor):
        of_tensors = isinstance(values, (list, tuple)) and any(isinstance(each, Tensor) for each in values)
        make = (
            f"torch.stack({name}) of single samples, torch.cat({name}) of batches"
            if of_tensors
            else "torch.as_tensor(values)"
        )
        raise BadInput(f"'{name}' is {_kind(values)}, not a tensor. Make one: {make}.")
    if values.device.type == "meta":
        raise BadInput(f"'{name}' is on the meta device and holds no values.")
    if values.layout != torch.strided:
        raise BadInput(f"'{name}' is a sparse tensor; give {name}.to_dense().")
    if values.is_quantized:
        raise BadInput(f"'{name}' is a quantized tensor; give {name}.dequantize().")
    if values.is_complex() and not complex_allowed:
        raise BadInput(f"'{name}' holds complex numbers; give real ones.")
    return values.detach()


def decision_problems(values: Tensor, name: str, *, multi_label: bool = True) -> list[str]:
    """What keeps a tensor from being class indices (n,), or decisions of 0 and 1 (n, k)."""
    if values.ndim == 2 and multi_label:
        if not ((values == 0) | (values == 1)).all():
            return [f"'{name}' holds other numbers than 0 and 1; give decisions such as logits > 0."]
        return []
    if values.ndim != 1:
        return []
    if values.is_floating_point():
        return [
            f"'{name}' holds float numbers; give class indices of an integer type, such as logits.argmax(1)."
        ]
    return unlabelled_problems(values, name)


def unlabelled_problems(labels: Tensor, name: str) -> list[str]:
    """What is wrong with class indices below 0, such as -100: they stand for 'no label'."""
    if labels.is_floating_point() or labels.dtype == torch.bool:
        return []
    without = int((labels < 0).sum())
    if not without:
        return []
    return [
        f"'{name}' holds {without} of {len(labels)} class indices below 0, such as {int(labels.min())}: these images "
        f"have no label. Leave them out first, everywhere: keep = {name} >= 0."
    ]


def generator_of(generator: Any) -> torch.Generator:
    """The generator; one with seed 0 for None."""
    if generator is None:
        return torch.Generator().manual_seed(0)
    if not isinstance(generator, torch.Generator):
        raise BadInput(
            f"generator is a torch.Generator, got {_came(generator)}; give torch.Generator().manual_seed(0)."
        )
    return generator


def states_of(states: Any, name: str = "states") -> list[Any]:
    """Networks or state dicts of a list; whether each is one is checked where it is read."""
    if isinstance(states, (str, Mapping, nn.Module, Tensor)) or not isinstance(states, Iterable):
        hint = f"; give list({name}.values())" if isinstance(states, Mapping) else ""
        raise BadInput(f"{name} is a list of networks or state dicts, got {_kind(states)}{hint}.")
    return list(states)


def network(model: Any, name: str = "model") -> nn.Module:
    """A network whose tensors hold values."""
    if not isinstance(model, nn.Module):
        raise BadInput(
            f"{name} is a network (torch.nn.Module), got {_kind(model)}. To use a state dict: build the network, then "
            "network.load_state_dict(state)."
        )
    if isinstance(model, torch.jit.ScriptModule) and not hasattr(model, "training"):
        raise BadInput(
            f"{name} is a frozen TorchScript program: its weights are constants that can't be read or set. Give the "
            "program before torch.jit.freeze, or the network in Python."
        )
    if isinstance(model, torch.fx.GraphModule) and not {"train", "eval"}.isdisjoint(vars(model)):
        raise BadInput(
            f"{name} is a program of torch.export, whose mode was fixed when it was exported. Give the network in "
            "Python that it was made from, with its state dict: model.load_state_dict(program.state_dict())."
        )
    check_filled(dict(chain(model.named_parameters(), model.named_buffers())), name)
    return model


def observable(model: nn.Module, name: str, layers: Iterable[str]) -> None:
    """Raises BadInput if the outputs of some layers can't be seen, because they are programs of TorchScript.

    Args:
        model: a network.
        name: what the error calls it.
        layers: paths of submodules; "" for the network.
    """
    known = dict(model.named_modules(remove_duplicate=False))
    for layer in layers:
        if isinstance(known[layer], torch.jit.ScriptModule):
            which = f"layer '{layer}' of {name}" if layer else name
            raise BadInput(
                f"Expected a network with layers that can be observed, got a TorchScript program ({which}). Give the "
                "network in Python that it was made from, with its state dict: "
                "model.load_state_dict(script.state_dict())."
            )


def check_filled(tensors: Mapping[str, Tensor], name: str) -> None:
    """Raises BadInput unless all tensors hold values."""
    refuse_lazy_tensors(tensors, name)
    for key, value in tensors.items():
        if value.device.type == "meta":
            raise BadInput(
                f"'{key}' of {name} is on the meta device and holds no values; load the weights first, "
                "such as with load_state_dict(state, assign=True)."
            )
        if value.layout is not torch.strided:
            raise BadInput(f"'{key}' of {name} is a sparse tensor; give it as tensor.to_dense().")


def bad_call(model: nn.Module, inputs: Tensor, error: Exception) -> BadInput | None:
    """The user's mistake behind an exception of the network's forward pass; None if it is none that is known."""
    if isinstance(error, TypeError):
        try:
            inspect.signature(model.forward).bind(inputs)
        except TypeError as mismatch:
            return BadInput(
                f"{type(model).__name__} can't be called with one tensor ({mismatch}). Wrap it in a network that "
                "takes one tensor and gives logits."
            )
        except ValueError:
            return None
    wanted = next((weight.dtype for weight in model.parameters() if weight.is_floating_point()), inputs.dtype)
    if (
        isinstance(error, RuntimeError)
        and not isinstance(error, torch.OutOfMemoryError)
        and inputs.dtype != wanted
        and (inputs.is_floating_point() or not _takes_indices(model))
    ):
        fix = ", scaled and normalized as in the training"
        if inputs.is_floating_point():
            fix = f", or the network as model.to({inputs.dtype})"
        return BadInput(
            f"The weights of the network are {wanted} and the inputs {inputs.dtype}, and its forward pass fails "
            f"({shortened(error)}). Give inputs.to({wanted}){fix}."
        )
    return None


def _takes_indices(model: nn.Module) -> bool:
    """True if whole numbers may be meant: a network of tokens fails on them for other reasons."""
    return any(isinstance(module, (nn.Embedding, nn.EmbeddingBag)) for module in model.modules())


def _on_cpu(value: Any) -> Any:
    return value.detach().cpu() if isinstance(value, Tensor) else value


def _came(value: Any) -> str:
    """A value as an error quotes it."""
    if isinstance(value, (Tensor, np.ndarray)):
        return f"{_kind(value)} of shape {tuple(value.shape)}"
    text = shortened(repr(value))
    return text if isinstance(value, (str, int, float, bool, type(None))) else f"{_kind(value)}: {text}"


def _kind(value: Any) -> str:
    name = type(value).__name__
    return f"an {name}" if name[0] in "aeiouAEIOU" else f"a {name}"
