"""What a state dict means: where a checkpoint keeps it, which tensors are weights, and which can't be compared.

Files (`models.weight_files`), studies, `compare` and the functions of this package all read state dicts by these rules;
`tensor_names` has the rules for their names.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from transferscope.core.errors import BadInput, shortened
from transferscope.metrics.inputs.arguments import check_filled, network
from transferscope.metrics.inputs.guard import training_tensors
from transferscope.metrics.inputs.private_memory import refuse_lazy_tensors

State = Mapping[str, Tensor] | nn.Module
"""A network, its state dict, or a checkpoint with the state dict in an entry."""

LAST = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "module",
    "net",
    "network",
    "weights",
    "params",
)
"""Entries in which training scripts keep the last weights, in the order in which they are tried."""
AVERAGED = re.compile(r"(^|_)(ema|swa|avg|averaged?)(_|$)|^best(_|$)")
"""Entries with averaged weights, or with the best ones so far: taken if there are no others."""
NO_WEIGHTS = re.compile(
    r"^(opt|.*optim|.*sched|.*scaler|.*rng|callback|loop|metric|criteri|loss|arg|conf|cfg|hyper|hist|meta)",
    re.IGNORECASE,
)
"""Entries that may hold tensors but no network: the optimizer, random states, metrics, options."""
DEEPEST = 4
"""Levels of a checkpoint that are searched."""
RUNNING_STATISTICS = ("running_mean", "running_var")
ADAPTER = re.compile(
    r"(^|\.)(lora_(a|b|e|up|down|embedding_a|embedding_b|magnitude_vector)|hada_[wt]\d(_[ab])?|lokr_[wt]\d(_[ab])?"
    r"|ia3_l|oft_[rs]|boft_[rs]|vera_lambda_[bd]|randlora_\w+|modules_to_save)(\.|$)",
    re.IGNORECASE,
)
"""Names of the factors of low-rank and similar adapters in peft, loralib, torchtune and LyCORIS."""
QUANTIZED = re.compile(
    r"_packed_params|(^|\.)(qweight|qzeros|weight_packed|SCB|weight_format)$|\.quant_(map|state)\b|\.absmax$"
)
"""Names that torch.ao, bitsandbytes, GPTQ and AWQ give to parts of quantized weights."""
SCALES = ("_scale", "_scale_inv", ".scale", ".scales")
"""What follows the name of a weight in the name of its scale."""
BUFFERS = re.compile(
    r"(^|\.)(running_mean|running_var|num_batches_tracked|position_ids|relative_position_index|relative_coords_table"
    r"|attn_mask|inv_freq|n_averaged)$|(^|\.)parametrizations\..*\._[uv]$"
)
"""Names of tensors in state dicts of PyTorch, timm and transformers that no optimizer changes."""
BESIDE_ORIGINAL = re.compile(r"_(u|v|mask)$")
"""Ends of the names of buffers that stand beside a parameter ..._orig: spectral_norm's vectors, the masks of prune."""
SHOWN = 5
"""How many offending names an error lists."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class FoundStateDict:
    """The state dict in a checkpoint."""

    tensors: dict[str, Tensor]
    content: Mapping[str, Any]
    """All that stands in the state dict, also what is no tensor."""
    entry: str
    """Dotted; empty if the checkpoint itself is the state dict."""
    others: tuple[str, ...]
    """Entries with other state dicts, such as averaged weights."""


class SeveralStateDicts(BadInput):
    """A checkpoint with several state dicts, none of which is the usual one."""

    def __init__(self, entries: Sequence[str]) -> None:
        self.entries = tuple(shortened(entry) for entry in entries)
        super().__init__(
            f"The checkpoint holds several state dicts, in the entries {shorten(self.entries)}. Give one of them, such "
            f"as checkpoint['{self.entries[0]}']."
        )


def find_state_dict(checkpoint: Mapping[Any, Any]) -> FoundStateDict | None:
    """The state dict in what a training script saved; None if there is no named tensor.

    The last weights come first, then an entry of another name, then averaged or best ones. Tensors beside the state
    dict, such as an accuracy, are left out.

    Raises:
        BadInput: several state dicts, none of them under a usual name.

    >>> state, ema = {"fc.weight": torch.zeros(2)}, {"fc.weight": torch.ones(2)}
    >>> found = find_state_dict({"state_dict": state, "state_dict_ema": ema, "best": torch.tensor(0.9)})
    >>> found.entry, found.others
    ('state_dict', ('state_dict_ema',))
    """
    contents = dict(_candidates(checkpoint, (), set()))
    if not contents:
        return None
    tensors = {path: _tensors_in(content) for path, content in contents.items()}
    sizes = {path: sum(tensor.ndim > 0 for tensor in found.values()) for path, found in tensors.items()}
    alike = [path for path, size in sizes.items() if 2 * size >= max(sizes.values())]
    averaged = [path for path in alike if any(AVERAGED.search(name) for name in path)]
    usual = [path for path in sizes if path and set(path) <= set(LAST)]
    usual.sort(key=lambda path: [LAST.index(name) for name in path])
    others = [path for path in alike if path not in averaged and path not in usual]
    choices = usual[:1] or others or averaged
    if len(choices) > 1 or choices[0] not in alike:
        raise SeveralStateDicts(
            [".".join(path) for path in dict.fromkeys((*usual, *others, *averaged)) if path]
        )
    chosen = choices[0]
    return FoundStateDict(
        tensors=tensors[chosen],
        content=contents[chosen],
        entry=".".join(chosen),
        others=tuple(".".join(path) for path in alike if path not in (chosen, ())),
    )


def _candidates(
    content: Mapping[Any, Any], path: tuple[str, ...], seen: set[int]
) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """All mappings with named tensors, by their place."""
    seen.add(id(content))
    named = {str(name): value for name, value in content.items() if isinstance(name, str | int)}
    if _tensors_in(named):
        yield path, named
    for name, value in named.items():
        inner = isinstance(value, Mapping) and id(value) not in seen and len(path) < DEEPEST
        if inner and not NO_WEIGHTS.search(name):
            yield from _candidates(value, (*path, name), seen)


def _tensors_in(content: Mapping[str, Any]) -> dict[str, Tensor]:
    refuse_lazy_tensors(content, "The state dict")
    return {
        name: value.detach()
        for name, value in content.items()
        if isinstance(value, Tensor) and not ("rng" in name and value.dtype == torch.uint8)
    }


def tensors_of(state: State, what: str = "the state dict") -> dict[str, Tensor]:
    """Parameters and persistent buffers by name, sharing their memory with the network.

    Of a network that merges its adapters in `eval()`, copies of the weights as they are in training mode.

    Args:
        state: a network, its state dict, or a checkpoint.
        what: how messages call it.

    Raises:
        BadInput: neither a network nor a mapping with named tensors; several state dicts; adapters that are not merged;
            quantized weights.
    """
    if isinstance(state, nn.Module):
        network(state, what)
        check_plain(state.state_dict(), what)
        tensors = training_tensors(state)
        if not tensors:
            raise BadInput(f"Expected a network with tensors, got a {type(state).__name__} without any.")
        return tensors
    if not isinstance(state, Mapping):
        raise BadInput(
            f"Expected a network or a state dict of named tensors for {what}, got a {type(state).__name__}. Read a "
            "file first: safetensors.torch.load_file(path), or torch.load(path, weights_only=True)."
        )
    found = find_state_dict(state)
    if found is None:
        raise BadInput(
            f"Expected a network or a state dict of named tensors for {what}, got {type(state).__name__} with the keys "
            f"{[shortened(key) for key in list(state)[:SHOWN]]}. Give the state dict itself, such as "
            "checkpoint['state_dict']."
        )
    check_plain(found.content, what)
    check_filled(found.tensors, what)
    if found.others:
        _LOG.warning("%s", taken_text(found, what, "Give the other itself: checkpoint['{entry}']."))
    return found.tensors


def taken_text(found: FoundStateDict, what: str, how: str) -> str:
    """Which of several state dicts was taken, and how to take the first of the others."""
    names = [shortened(name) for name in found.others]
    return (
        f"{what} holds several state dicts. Took '{found.entry}'; not taken: {shorten(names)}. "
        f"{how.format(entry=names[0])}"
    )


def check_plain(tensors: Mapping[str, Any], what: str) -> None:
    """Raises BadInput for tensors that are parts of weights: factors of adapters, and quantized numbers.

    Args:
        tensors: a state dict; also what is no tensor in it.
        what: how messages call it.
    """
    adapters = [name for name in tensors if ADAPTER.search(name)]
    if adapters:
        raise BadInput(
            f"{what} holds adapters that are not merged into the weights: {shorten(adapters)}. A weight is the base "
            "weight plus a scaled product of these factors, and a state dict lacks the scale (alpha / r). Merge them, "
            "and give the state dict of the result: in PEFT merged = model.merge_and_unload(), then "
            "merged.state_dict()."
        )
    quantized = [
        name
        for name, value in tensors.items()
        if QUANTIZED.search(name) or _is_quantized(name, value, tensors)
    ]
    if quantized:
        raise BadInput(
            f"{what} holds quantized weights: {shorten(quantized)}. Their numbers mean nothing without scales. Give "
            "the weights before the quantization, or dequantize them to floating point."
        )


def _is_quantized(name: str, value: Any, tensors: Mapping[str, Any]) -> bool:
    if not isinstance(value, Tensor):
        return False
    if value.is_quantized or type(value).__module__.startswith("torchao."):
        return True
    if value.dtype.is_floating_point:
        return value.dtype.itemsize == 1 and any(name + end in tensors for end in SCALES)
    leaf = name.rpartition(".")[2]
    return not value.is_complex() and (
        (leaf.endswith("weight") and value.dtype is not torch.bool)
        or (value.dtype is torch.int8 and value.ndim > 1)
    )


def check_numbers(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor], what: str) -> None:
    """Raises BadInput for tensors that the network's types can't hold: integers for weights, complex for real ones."""
    integers = [
        name
        for name, tensor in tensors.items()
        if name in own
        and is_continuous(own[name])
        and not is_continuous(tensor)
        and tensor.dtype is not torch.bool
    ]
    if integers:
        raise BadInput(
            f"{what} holds integers where the network has floating-point numbers: {shorten(integers)}. Quantized "
            "weights mean nothing without their scales: give the weights before the quantization."
        )
    parts = [
        n for n, tensor in tensors.items() if n in own and tensor.is_complex() and not own[n].is_complex()
    ]
    if parts:
        raise BadInput(f"{what} holds complex numbers where the network has real ones: {shorten(parts)}.")


def weight_names(state: State, tensors: Mapping[str, Tensor]) -> set[str]:
    """Which tensors are weights: the parameters of a network.

    A state dict alone doesn't say which tensors are parameters: then all floating-point tensors count but those with
    the names of well-known buffers.

    Args:
        state: a network or a state dict.
        tensors: its tensors.

    >>> norm = nn.BatchNorm1d(2)
    >>> sorted(weight_names(norm, tensors_of(norm)))
    ['bias', 'weight']
    >>> sorted(weight_names(norm.state_dict(), tensors_of(norm)))
    ['bias', 'weight']
    """
    continuous = {name for name, tensor in tensors.items() if is_continuous(tensor)}
    if isinstance(state, nn.Module):
        return continuous & {name for name, _ in state.named_parameters(remove_duplicate=False)}
    return {
        name
        for name in continuous
        if not BUFFERS.search(name)
        and (not BESIDE_ORIGINAL.search(name) or BESIDE_ORIGINAL.sub("_orig", name) not in tensors)
    }


def is_continuous(tensor: Tensor) -> bool:
    """True for numbers that can lie between two others: floating-point and complex ones."""
    return tensor.is_floating_point() or tensor.is_complex()


def shorten(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
