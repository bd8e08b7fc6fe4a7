"""Stand-ins for activations that a shortened pass doesn't compute, and the tensors that a pass reads."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode


class ReadError(Exception):
    """Something depends on a value that isn't there."""


class Unread(Tensor):
    """A tensor with a shape, a dtype and a device, but without values.

    What is computed from it is again without values: shapes come from PyTorch's meta device. Whatever needs a value
    (an `if`, `.item()`, a mask, a write into a tensor that has values) raises, so that no result can depend on one.
    """

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        del types
        name = getattr(func, "__name__", "")
        given = dict(kwargs or {})
        with torch._C.DisableTorchFunctionSubclass():
            if name == "__get__":  # an attribute, such as the shape or the device
                found = func(*args, **given)
                return unread(found) if isinstance(found, Tensor) else found
            device = next(x.device for x in pytree.tree_leaves((args, given)) if isinstance(x, Unread))
            writes = name == "__set__" or name.startswith("__i") or _is_in_place(name)
            if given.get("out") is not None or (writes and not isinstance(args[0], Unread)):
                raise ReadError(f"{name} writes a value that isn't there into a tensor")
            found = func(*pytree.tree_map(_on_meta, tuple(args)), **pytree.tree_map(_on_meta, given))
            if writes and isinstance(found, Tensor) and found.shape != args[0].shape:
                raise ReadError(f"{name} changes the shape in place")
        return pytree.tree_map(lambda x: unread(x, device) if isinstance(x, Tensor) else x, found)


def unread(like: Tensor, device: torch.device | None = None) -> Tensor:
    """A tensor without values in the shape and dtype of another one, in the memory of one number."""
    with torch._C.DisableTorchFunctionSubclass():
        one = torch.zeros((), dtype=like.dtype, device=device or like.device)
        if like.is_floating_point() or like.is_complex():
            one.fill_(math.nan)  # for code that looks at the memory itself
        return one.expand(like.shape).as_subclass(Unread)


def _on_meta(value: object) -> object:
    return value.to("meta") if isinstance(value, Tensor) else value


def _is_in_place(name: str) -> bool:
    return name == "__setitem__" or (name.endswith("_") and not name.endswith("__"))


class ReadTensors(TorchDispatchMode):
    """Notes the memory of all tensors that go into an operation."""

    def __init__(self) -> None:
        super().__init__()
        self.storages: set[int] = set()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return (
            False  # else torch imports its compiler for the first operation, which takes a worker two seconds
        )

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        del types
        given = dict(kwargs or {})
        self.storages.update(
            storage_of(x) for x in pytree.tree_leaves((args, given)) if isinstance(x, Tensor)
        )
        return func(*args, **given)


def storage_of(tensor: Tensor) -> int:
    """Where the memory of a tensor begins: the same for tensors that share it."""
    return tensor.untyped_storage().data_ptr()
