"""A device without hardware: tensors on "fakegpu" compute on the CPU, and an operation that mixes devices fails.

It finds what a machine without an accelerator can't: a tensor left on the CPU, an index or a generator on the wrong
device, a model that was never moved. It says nothing of speed, memory, streams or rounding.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "fakegpu"
TWO_DEVICES = ("copy", "_to_copy", "_local_scalar_dense", "pin_memory", "set_")
"""Operations that take tensors of two devices, as those of a real device do."""
INDEXING = ("aten.index.Tensor", "aten.index_put", "aten._index_put_impl", "aten._unsafe_index")
"""Operations whose indices may be on the CPU."""


class FakeTensor(torch.Tensor):
    """A tensor that says it is on the fake device; its numbers are on the CPU."""

    numbers: torch.Tensor

    @staticmethod
    def __new__(cls, numbers: torch.Tensor) -> FakeTensor:
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            numbers.size(),
            strides=numbers.stride(),
            storage_offset=numbers.storage_offset(),
            dtype=numbers.dtype,
            device=torch.device(NAME, 0),
        )
        made.numbers = numbers
        return made

    def data_ptr(self) -> int:
        return self.numbers.data_ptr()

    def untyped_storage(self) -> torch.UntypedStorage:
        return self.numbers.untyped_storage()

    def tolist(self) -> Any:
        return self.numbers.tolist()

    @classmethod
    def __torch_dispatch__(cls, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(op, args, kwargs or {})


def computed(op: Any, args: Any, kwargs: Any) -> Any:
    """The operation on the CPU, its result on the fake device.

    Raises:
        RuntimeError: some of its tensors are on the fake device and others on the CPU.
    """
    leaves = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    name = str(op)
    others = [leaf for leaf in leaves if not isinstance(leaf, FakeTensor) and leaf.dim() > 0]
    if name.startswith(INDEXING):
        others = [leaf for leaf in others if leaf is args[0]]
    is_mixed = bool(others) and any(isinstance(leaf, FakeTensor) for leaf in leaves)
    if is_mixed and not any(part in name for part in TWO_DEVICES):
        shapes = [tuple(leaf.shape) for leaf in others]
        raise RuntimeError(f"{name}: some tensors are on {NAME}, others on the CPU: shapes {shapes}")
    found = op(*tree_map(_on_cpu, args), **tree_map(_on_cpu, kwargs))
    asked = kwargs.get("device")
    if asked is not None and torch.device(asked).type == "cpu":
        return found
    first = args[0] if args else None
    if "copy_" in name and not isinstance(first, FakeTensor):
        return first
    if isinstance(first, FakeTensor) and found is first.numbers:
        return first  # in place
    return tree_map(_on_fake, found)


def _on_cpu(leaf: Any) -> Any:
    if isinstance(leaf, FakeTensor):
        return leaf.numbers
    return torch.device("cpu") if isinstance(leaf, torch.device) and leaf.type == NAME else leaf


def _on_fake(leaf: Any) -> Any:
    return FakeTensor(leaf) if isinstance(leaf, torch.Tensor) and not isinstance(leaf, FakeTensor) else leaf


class Backend:
    """What torch asks of the module `torch.fakegpu`."""

    @staticmethod
    def is_available() -> bool:
        return True

    @staticmethod
    def is_initialized() -> bool:
        return True

    @staticmethod
    def is_built() -> bool:
        return True

    @staticmethod
    def device_count() -> int:
        return 1

    @staticmethod
    def current_device() -> int:
        return 0

    @staticmethod
    def get_amp_supported_dtype() -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]

    @staticmethod
    def _is_in_bad_fork() -> bool:
        return False

    @staticmethod
    def manual_seed_all(seed: int) -> None:
        torch.default_generator.manual_seed(seed)

    @staticmethod
    def get_rng_state(_: object = None) -> torch.Tensor:
        return torch.get_rng_state()

    @staticmethod
    def set_rng_state(state: torch.Tensor, _: object = None) -> None:
        torch.set_rng_state(state)


_library: list[torch.library.Library] = []


def fake_gpu() -> torch.device:
    """The device; the first call makes it known to this process."""
    if not _library:
        _setup_privateuseone_for_python_backend(NAME, backend_module=Backend)
        _library.append(torch.library.Library("_", "IMPL"))
        _library[0].fallback(lambda op, *args, **kwargs: computed(op, args, kwargs), "PrivateUse1")
    return torch.device(NAME, 0)
