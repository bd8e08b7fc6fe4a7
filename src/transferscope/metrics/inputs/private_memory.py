"""A network's tensors and attributes: copies to work on, and everything as it was afterwards."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import chain
from operator import is_
from types import MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.grad_mode import _unsafe_preserve_version_counter
from torch.nn.parameter import is_lazy

from transferscope.core.errors import BadInput


def entries(model: nn.Module) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors of the state dict, as the network's own tensors if possible, and the names of those that are copies.

    Writing a copy doesn't reach the network. Equal copies, as a hook makes them, are replaced by the network's own.
    """
    own = dict(model.named_parameters(remove_duplicate=False)) | dict(
        model.named_buffers(remove_duplicate=False)
    )
    memory = {storage_of(tensor) for tensor in tensors_in(model)}
    found: dict[str, Tensor] = {}
    copies: list[str] = []
    for name, value in model.state_dict().items():
        if not isinstance(value, Tensor):
            continue
        found[name] = value.detach()
        if storage_of(value) in memory:
            continue
        if name in own and value.dtype == own[name].dtype and same(value, own[name]):
            found[name] = own[name].detach()
        else:
            copies.append(name)
    return found, copies


def tensors_in(model: nn.Module) -> Iterator[Tensor]:
    """Each parameter, buffer and tensor that is an attribute of a module, or lies in a container there, once."""
    seen: set[int] = set()
    attributes = (value for module in model.modules() for value in vars(module).values())
    for value in chain(attributes, model.parameters(), model.buffers()):
        for tensor in members(value):
            if isinstance(tensor, Tensor) and not is_lazy(tensor) and id(tensor) not in seen:
                seen.add(id(tensor))
                yield tensor


def refuse_lazy(model: nn.Module) -> None:
    """Raises BadInput for a network with lazy layers that have no weights yet."""
    named = chain(model.named_parameters(), model.named_buffers())
    refuse_lazy_tensors(dict(named), f"The network {type(model).__name__}")


def refuse_lazy_tensors(tensors: Mapping[str, object], what: str) -> None:
    """Raises BadInput if one of the tensors is that of a lazy layer without weights."""
    lazy = [name for name, each in tensors.items() if isinstance(each, Tensor) and is_lazy(each)]
    if lazy:
        raise BadInput(
            f"{what} has lazy layers without weights: {', '.join(lazy[:5])}. Run the network on a batch first; lazy "
            "layers take their shapes from it."
        )


def same(a: Tensor, b: Tensor) -> bool:
    """True if two tensors hold the same numbers; NaN equals NaN."""
    if a.shape != b.shape or a.device != b.device:
        return False
    return torch.equal(a, b) or bool(((a == b) | (a.isnan() & b.isnan())).all())


@contextmanager
def private_memory(model: nn.Module, tensors: list[Tensor], default_device: torch.device) -> Iterator[None]:
    """Gives tensors of a network other memory with the same contents, and has it run as it is written, not compiled.

    At the end all is as before: memory, version counters, attributes, modes, hooks and the global random state.

    Args:
        model: the network.
        tensors: those of `tensors_in` that get memory of their own.
        default_device: where the network's forward creates tensors.
    """
    attributes = Attributes(model)
    wanting_gradients = [(tensor, tensor.requires_grad) for tensor in chain(tensors, model.parameters())]
    memories: list[tuple[Tensor, Tensor]] = []
    replaced: dict[int, Tensor] = {}
    with ExitStack() as stack:
        stack.enter_context(_random_state_kept(tensors))
        try:
            for tensor, copy in zip(tensors, list(_copies(tensors)), strict=True):
                if tensor.is_inference():  # written in inference mode alone: a normal tensor takes its place
                    is_parameter = isinstance(tensor, nn.Parameter)
                    replaced[id(tensor)] = nn.Parameter(copy, requires_grad=False) if is_parameter else copy
                    continue
                stack.enter_context(_unsafe_preserve_version_counter(tensor))
                memories.append((tensor, tensor.data))
                tensor.data = copy
            _replace(model, replaced)
            _undo_compilation(model)
            _use_default_device(model, default_device)
            yield
        finally:
            attributes.reset()
            for tensor, memory in memories:
                tensor.data = memory
            for tensor, wants in wanting_gradients:
                if tensor.requires_grad != wants:  # by a `train` that freezes layers, or for a graph
                    tensor.requires_grad_(wants)


class Attributes:
    """All attributes of all modules of a network, with the contents of their containers."""

    def __init__(self, model: nn.Module) -> None:
        self._kept = [
            (module, module.training, dict(vars(module)), _contents(module)) for module in model.modules()
        ]

    def reset(self, but: Collection[str] = ()) -> None:
        """Set those that have changed to what they were, except attributes with some names."""
        for module, training, attributes, contents in self._kept:
            own = vars(module)
            if not _holds(own, attributes):
                for name in own.keys() - attributes.keys() - {*but}:
                    del own[name]
                own.update({name: value for name, value in attributes.items() if name not in but})
            for container, kept in contents:
                if (container or kept) and not _holds(container, kept):
                    container.clear()
                    _fill(container, kept)
            if module.training != training:  # a ScriptModule keeps it elsewhere
                module.training = training


class Registered:
    """The parameters, buffers and submodules of a network, by their places."""

    def __init__(self, model: nn.Module) -> None:
        self._kept: list[tuple[dict[str, Any], dict[str, Any]]] = [
            (registry, dict(registry))
            for module in model.modules()
            for registry in (module._parameters, module._buffers, module._modules)
            if isinstance(registry, dict)  # a ScriptModule's is none, and can't change
        ]

    def reset(self) -> None:
        """Set those that a pass has replaced to what they were."""
        for registry, kept in self._kept:
            if list(registry) != list(kept) or any(registry[name] is not kept[name] for name in kept):
                registry.clear()
                registry.update(kept)


def _contents(module: nn.Module) -> list[tuple[Any, Any]]:
    """The containers among a module's attributes, and copies of them."""
    return [
        (value, type_(value))
        for value in vars(module).values()
        for type_ in (dict, list, set)
        if isinstance(value, type_)
    ]


def _holds(container: Any, kept: Any) -> bool:
    """True if a container holds exactly these objects, in this order. It is asked each time weights are written."""
    if len(container) != len(kept):
        return False
    if isinstance(kept, dict):
        return all(map(is_, container.values(), kept.values())) and list(container) == list(kept)
    if isinstance(kept, list):
        return all(map(is_, container, kept))
    return set(map(id, container)) == set(map(id, kept))


def _fill(container: Any, kept: Any) -> None:
    """Puts what is kept into an empty container."""
    if isinstance(container, list):
        container.extend(kept)
    else:
        container.update(kept)


def members(value: object) -> Iterable[Any]:
    """What a container holds; the value itself if it is none."""
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, (list, tuple, set)) else [value]


def _replace(model: nn.Module, tensors: Mapping[int, Tensor]) -> None:
    """Puts other tensors in the place of some, by their ids."""
    if not tensors:
        return
    for module in model.modules():
        own = vars(module)
        for name, value in own.items():
            if isinstance(value, dict):
                value.update({key: tensors[id(each)] for key, each in value.items() if id(each) in tensors})
            elif isinstance(value, list):
                value[:] = [tensors.get(id(each), each) for each in value]
            else:
                own[name] = tensors.get(id(value), value)


def _undo_compilation(model: nn.Module) -> None:
    """Makes a network run as it is written: compiled code doesn't call hooks that came later."""
    for module in model.modules():
        own = vars(module)
        if own.get("_compiled_call_impl") is not None:
            own["_compiled_call_impl"] = None
        forward = module.forward
        written = getattr(forward, "_torchdynamo_orig_callable", None)
        if written is not None:
            own["forward"] = MethodType(written, module) if isinstance(forward, MethodType) else written


def _use_default_device(model: nn.Module, device: torch.device) -> None:
    """Lets the network's forward create tensors on the caller's default device."""
    forward = model.forward
    if device.type == "cpu" or isinstance(model, torch.jit.ScriptModule):
        return

    def on_device(*args: Any, **kwargs: Any) -> Any:
        with device:
            return forward(*args, **kwargs)

    vars(model)["forward"] = on_device


def _copies(tensors: list[Tensor]) -> Iterator[Tensor]:
    """A copy of each tensor; those that share memory share it again."""
    sharers = Counter(map(storage_of, tensors))
    storages: dict[int, torch.UntypedStorage] = {}
    for tensor in tensors:
        key = storage_of(tensor)
        if not key or sharers[key] == 1:
            yield tensor.detach().clone()
            continue
        if key not in storages:
            storages[key] = tensor.untyped_storage().clone()
        empty = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
        yield empty.set_(storages[key], tensor.storage_offset(), tensor.size(), tensor.stride())


def storage_of(tensor: Tensor) -> int:
    """Where the memory of a tensor begins; 0 if it has none that others could share."""
    if tensor.layout is not torch.strided or tensor.device.type == "meta":
        return 0
    return tensor.untyped_storage().data_ptr()


@contextmanager
def _random_state_kept(tensors: Iterable[Tensor]) -> Iterator[None]:
    """The global generators are at the end as they were, also if the network draws."""
    devices = {tensor.device for tensor in tensors if tensor.device.type == "cuda"}
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(sorted(device.index for device in devices)):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002
