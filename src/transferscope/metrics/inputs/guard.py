"""What protects the caller: functions compute in a context of their own, and networks come back as they were.

A network is lent with private memory: its parameters and buffers stay the same objects, but point at copies while a
function works. The caller's memory is never written. So nothing has to be copied back, a gradient under way stays
valid, and state dicts that share memory with the network keep their values.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import wraps
from itertools import chain, count
from typing import ParamSpec, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from transferscope.core.errors import BadInput
from transferscope.metrics.inputs.private_memory import (
    Attributes,
    Registered,
    entries,
    members,
    private_memory,
    refuse_lazy,
    same,
    storage_of,
    tensors_in,
)

P = ParamSpec("P")
Result = TypeVar("Result")

AUTOCAST_DEVICES = ("cpu", "cuda", "mps", "xpu", "hpu", "xla")
_thread = threading.local()
_changed = threading.Condition()
_holders: dict[int, int] = {}
"""id of a module or parameter in use -> thread that uses it."""
_lent: WeakKeyDictionary[nn.Module, Lent] = WeakKeyDictionary()
_numbers = count()


def guarded(function: Callable[P, Result]) -> Callable[P, Result]:
    """Runs a function in a context of its own; calls of other threads that share a network with it wait.

    The function computes without autocast, gradients, inference mode and default device. The caller's context is
    the same afterwards.
    """

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> Result:
        with own_context(), _held(_networks([*args, *kwargs.values()])):
            return function(*args, **kwargs)

    vars(call)["is_guarded"] = True
    return call


@contextmanager
def own_context() -> Iterator[None]:
    """No gradients, inference mode, autocast, default device or cached parametrizations; for this thread alone.

    The default dtype is the process's: it stays, and code that creates tensors names their dtype.
    """
    if getattr(_thread, "depth", 0):
        yield
        return
    casting = [kind for kind in AUTOCAST_DEVICES if torch.is_autocast_enabled(kind)]
    is_cached = torch.is_autocast_cache_enabled()
    cached_parametrizations = parametrize._cache_enabled
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.no_grad())
        _thread.device = torch.get_default_device()
        if _thread.device.type != "cpu":
            stack.enter_context(torch.device("cpu"))
        _thread.depth = 1
        try:
            for kind in casting:
                torch.set_autocast_enabled(kind, False)
            # A network may use autocast in its forward: a cast that is kept would be stale after the next write.
            torch.set_autocast_cache_enabled(False)
            if cached_parametrizations:
                parametrize._cache_enabled = 0
            yield
        finally:
            _thread.depth = 0
            if cached_parametrizations:
                parametrize._cache_enabled = cached_parametrizations
            torch.set_autocast_cache_enabled(is_cached)
            for kind in casting:
                torch.set_autocast_enabled(kind, True)
            torch.clear_autocast_cache()


class Lent(Mapping[str, Tensor]):
    """The tensors of a network's state dict, in private memory. Write them inside `writing`."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.number = next(_numbers)
        """Of this lending: what was computed in another one is not valid in this one."""
        self._saved: list[tuple[Tensor, Tensor, Tensor]] | None = None
        """Weights as they are written, if `eval()` changes them: tensor, its memory, its values."""
        self.is_merged = False
        """True if `train()` changes weights, so that they differ from a state dict read in training mode."""
        if overrides_modes(model):
            self._look_at_modes()
        else:
            model.eval()
        if not self.depends_on_mode:
            self._attributes = Attributes(model)
        self._live, self._dead = entries(model)
        self._registered = Registered(model)
        self._unwritten = {name: self._live[name].clone() for name in self._dead}
        written = {storage_of(tensor) for tensor in self._live.values()}
        beside = () if self.depends_on_mode else tensors_in(model)
        self._beside = [(each.detach(), each.clone()) for each in beside if storage_of(each) not in written]
        """Tensors outside the state dict, and what they held when the network was lent."""

    def __getitem__(self, name: str) -> Tensor:
        return self._live[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._live)

    def __len__(self) -> int:
        return len(self._live)

    @property
    def depends_on_mode(self) -> bool:
        """True if `train()` or `eval()` changes weights, as adapters do that merge themselves."""
        return self._saved is not None

    def as_given(self) -> dict[str, Tensor]:
        """Copies of the tensors before anything was written, as they are in training mode."""
        with self.writing():
            return {name: tensor.clone() for name, tensor in self._live.items()}

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Weights are written as in training mode; the network is in evaluation mode before and afterwards.

        What passes have left in the network is undone: layers and tensors that they replaced, attributes such as a
        weight that a layer computed from others and keeps, and tensors outside the state dict.

        Raises:
            BadInput: an entry that writing doesn't reach was to change.
        """
        if self._saved is not None:
            self._attributes.reset()
            for tensor, memory, values in self._saved:
                tensor.data = memory
                memory.copy_(values)
        else:
            self._registered.reset()
            self._attributes.reset(but=("forward",))  # that of a folded layer stays
            for tensor, values in self._beside:
                tensor.copy_(values)
        yield
        wrong = [name for name, value in self._unwritten.items() if not same(value, self._live[name])]
        if wrong:
            raise BadInput(
                f"Expected a network whose state_dict() shows its own tensors, but {wrong[:5]} are copies, so that the "
                "weights can't be written into it. Remove the state_dict hook that makes the copies, or give states "
                "that agree with the network in these entries."
            )
        if self._saved is not None:
            self._saved = [(tensor, memory, memory.clone()) for tensor, memory, _ in self._saved]
            self.model.eval()

    def _look_at_modes(self) -> None:
        """Puts the network into evaluation mode, and finds out whether its weights depend on the mode."""
        own = list(tensors_in(self.model))
        before = [tensor.clone() for tensor in own]
        self.model.train()
        self.is_merged = not all(map(same, own, before))
        self._attributes = Attributes(self.model)
        unmerged = [(tensor, tensor.data, tensor.detach().clone()) for tensor in tensors_in(self.model)]
        self.model.eval()
        now = list(tensors_in(self.model))
        is_same = len(now) == len(unmerged) and all(
            tensor is own and same(tensor, values)
            for tensor, (own, _, values) in zip(now, unmerged, strict=True)
        )
        if self.is_merged or not is_same:
            self._saved = unmerged
            self._attributes.reset()  # `entries` shall find the tensors that are written
            for tensor, memory, values in unmerged:
                tensor.data = memory
                memory.copy_(values)


@contextmanager
def lent(model: nn.Module) -> Iterator[Lent]:
    """Lends a network for writing and evaluation: private memory, evaluation mode, no gradients, not compiled.

    At the end the network has its own memory, attributes, modes and hooks again, and the global random state is as it
    was, also after an exception.
    """
    with own_context(), _held([model]), private_memory(model, [*tensors_in(model)], _thread.device):
        live = Lent(model)
        with live.writing():
            pass
        before = _lent.get(model)
        _lent[model] = live
        try:
            yield live
        finally:
            if before is None:
                del _lent[model]
            else:
                _lent[model] = before


def lending(model: nn.Module) -> Lent:
    """The tensors of a network that is lent at present."""
    return _lent[model]


@contextmanager
def lent_for_reading(model: nn.Module) -> Iterator[None]:
    """`lent` for passes that write no weights: parameters keep their memory unless the network itself writes them.

    Those made in inference mode are replaced, as gradients don't flow through them.
    """
    writes = overrides_modes(model) or any(getattr(module, "max_norm", None) for module in model.modules())
    kept = set() if writes else {id(each) for each in model.parameters() if not each.is_inference()}
    private = [tensor for tensor in tensors_in(model) if id(tensor) not in kept]
    with own_context(), _held([model]), private_memory(model, private, _thread.device):
        model.eval()
        yield


def overrides_modes(model: nn.Module) -> bool:
    """True if a module has a `train` or `eval` of its own, which may change weights."""
    return any(
        type(module).train is not nn.Module.train
        or type(module).eval is not nn.Module.eval
        or not {"train", "eval"}.isdisjoint(vars(module))
        for module in model.modules()
    )


def training_tensors(model: nn.Module) -> dict[str, Tensor]:
    """The entries of a network's state dict as they are in training mode, adapters not merged.

    They share the network's memory unless the mode changes them.
    """
    if overrides_modes(model):
        with lent(model) as live:
            if live.depends_on_mode:
                return live.as_given()
    return entries(model)[0]


@contextmanager
def _held(networks: Iterable[nn.Module]) -> Iterator[None]:
    """Keeps other threads from networks that share a module or a tensor with these, all of them at once.

    Raises:
        BadInput: a network has lazy layers without weights.
    """
    networks = list(networks)
    for network in networks:
        refuse_lazy(network)
    thread = threading.get_ident()
    ids = {id(own) for net in networks for own in chain(net.modules(), net.parameters(), net.buffers())}
    taken: list[int] = []
    try:
        with _changed:
            _changed.wait_for(lambda: all(_holders.get(each, thread) == thread for each in ids))
            taken += [each for each in ids if each not in _holders]
            _holders.update(dict.fromkeys(taken, thread))
        yield
    finally:
        with _changed:
            for each in taken:
                _holders.pop(each, None)
            _changed.notify_all()


def _networks(values: Iterable[object]) -> Iterator[nn.Module]:
    """The networks among the arguments of a function, also in dicts and lists."""
    for value in values:
        if isinstance(value, nn.Module):
            yield value
        elif isinstance(value, (dict, list, tuple)):
            yield from (each for each in members(value) if isinstance(each, nn.Module))
