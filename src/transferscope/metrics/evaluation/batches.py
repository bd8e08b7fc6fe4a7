"""Data of several kinds as batches, each sample with its place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset

from transferscope.core.errors import BadInput
from transferscope.metrics.inputs.arguments import tensor

HOW_TO_STACK = (
    "Give one tensor, torch.stack([inputs, ...]), or a DataLoader with a batch_size. If they are batches after all: "
    "torch.cat([inputs, ...])."
)
CHANNELS = (1, 3, 4)
"""First axis of a single image; batches are hardly that small."""

Batch = Tensor | Sequence[Tensor]
Data = Tensor | tuple[Tensor, Tensor] | TensorDataset | Iterable[Batch]


def placed_batches(
    data: Data, batch_size: int, smallest: int, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of at least `smallest` samples: places (m,) int64 of the samples in the data, inputs (m, ...).

    Args:
        data: inputs (n, ...), dealt at random into batches of equal size; (inputs, labels) tensors, of which
            the inputs count; or batches, as tensors or (inputs, ...) sequences, gone through once, those too
            small joined to a neighbour.
        batch_size: samples in one batch; for tensors only.
        smallest: fewest samples in a batch.
        generator: deals.

    Raises:
        BadInput: too few samples; data that are neither, or can be read in two ways.
    """
    data = _inputs_of(data)
    if not isinstance(data, Tensor):
        start = 0
        for batch in _joined(data, smallest):
            yield torch.arange(start, start + len(batch)), batch
            start += len(batch)
        return
    if min(len(data), batch_size) < smallest:
        raise BadInput(
            f"Expected batches of at least {smallest} samples, got {len(data)} samples and "
            f"batch_size={batch_size}."
        )
    order = torch.randperm(len(data), generator=generator, device=generator.device).cpu()
    # Rounded down where the last batch would be too small.
    count = min(-(-len(data) // batch_size), len(data) // smallest)
    for part in order.tensor_split(count):
        yield part, data[part.to(data.device)]


def _inputs_of(data: Data) -> Tensor | Iterable[Batch]:
    """The inputs as one tensor, where the data are a tensor or tensors of the same samples; else the batches.

    Raises:
        BadInput: data of which it isn't clear what they are.
    """
    if isinstance(data, TensorDataset):
        return tensor(data.tensors[0], "data")
    if isinstance(data, Tensor):
        if not data.ndim:
            raise BadInput("Expected inputs (n, ...), got a tensor of shape ().")
        return tensor(data, "data")
    if isinstance(data, (Dataset, Mapping, str)) or not isinstance(data, Iterable):
        raise BadInput(
            f"Expected inputs as a tensor, or batches of tensors, got a {type(data).__name__}. Of a data set: "
            "torch.utils.data.DataLoader(dataset, batch_size=128)."
        )
    if isinstance(data, DataLoader) and data.batch_size is None and data.batch_sampler is None:
        raise BadInput(
            f"Expected batches, got a DataLoader with batch_size=None, which gives single samples. {HOW_TO_STACK}"
        )
    if isinstance(data, (tuple, list)) and len(data) > 2 and all(map(_may_be_single, data)):
        raise BadInput(
            f"Expected batches of inputs (m, ...), got a {type(data).__name__} of {len(data)} elements that look like "
            f"single samples, of the shape {tuple(_inputs_in(data[0]).shape)}. {HOW_TO_STACK}"
        )
    if not isinstance(data, (tuple, list)) or len(data) < 2 or not all(isinstance(x, Tensor) for x in data):
        return data
    # Tensors of the same samples, as loaders give them, or batches of inputs: what differs tells which.
    forms = {(tuple(own.shape[1:]), own.dtype) for own in data if isinstance(own, Tensor)}
    lengths = {len(own) if own.ndim else 0 for own in data if isinstance(own, Tensor)}
    if len(forms) > 1:
        if len(lengths) > 1 or any(_may_be_inputs(own, data[0]) for own in data[1:]):
            raise BadInput(
                "Expected (inputs, labels) of the same samples, or batches of inputs of one shape and dtype, got "
                f"shapes {[tuple(own.shape) for own in data if isinstance(own, Tensor)]}."
            )
        return data[0]
    if len(data) == 2 and len(lengths) == 1:
        raise BadInput(
            "Two tensors of the same shape and dtype can be inputs and targets, or two batches. Give the inputs alone, "
            "or torch.cat(batches)."
        )
    return data


def _inputs_in(batch: Any) -> Any:
    return batch[0] if isinstance(batch, (tuple, list)) and batch else batch


def _may_be_single(batch: Any) -> bool:
    """True for an image (channels, height, width), a vector, and a sample with its label, a number."""
    inputs = _inputs_in(batch)
    if not isinstance(inputs, Tensor):
        return False
    if batch is not inputs and len(batch) > 1 and not np.ndim(_plain(batch[1])):
        return True
    return inputs.ndim < 2 or (inputs.ndim == 3 and len(inputs) in CHANNELS)


def _plain(value: Any) -> Any:
    return value.detach().cpu() if isinstance(value, Tensor) else value


def _may_be_inputs(own: Batch, inputs: Batch) -> bool:
    """True if a tensor may be inputs of another size, and not labels, which have at most two axes."""
    if not isinstance(own, Tensor) or not isinstance(inputs, Tensor):
        return True
    are_tokens = own.ndim == inputs.ndim == 2 and not inputs.is_floating_point()
    return own.ndim > 2 or (are_tokens and own.dtype == inputs.dtype)


def _joined(batches: Iterable[Batch], smallest: int) -> Iterator[Tensor]:
    """Batches as they come, those too small joined to a neighbour."""
    ready: list[Tensor] = []
    growing: list[Tensor] = []
    forms: set[tuple[tuple[int, ...], torch.dtype]] = set()
    for batch in batches:
        inputs = _inputs_in(batch)
        if not isinstance(inputs, Tensor) or not inputs.ndim:
            raise BadInput(
                f"Expected inputs as a tensor, or batches of tensors, got a batch with {type(inputs).__name__}. Of "
                "arrays: torch.from_numpy(array)."
            )
        growing.append(tensor(inputs, "a batch"))
        forms.add((tuple(inputs.shape[1:]), inputs.dtype))
        if len(forms) > 1:
            raise BadInput(
                "Expected batches of inputs of one shape and dtype, got samples of "
                + " and ".join(sorted(f"{shape} in {dtype}" for shape, dtype in forms))
                + ". Pad or resize them to one shape."
            )
        if sum(map(len, growing)) >= smallest:
            if ready:
                yield torch.cat(ready)
            ready, growing = growing, []
    ready += growing
    if sum(map(len, ready)) < smallest:
        raise BadInput(f"Expected at least {smallest} samples, got {sum(map(len, ready))}.")
    yield torch.cat(ready)
