"""Data of several kinds as batches, each sample with its place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from transferscope.errors import BadInput

Batch = Tensor | Sequence[Tensor]
Data = Tensor | tuple[Tensor, Tensor] | Iterable[Batch]


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
        BadInput: too few samples.
    """
    if isinstance(data, tuple) and len(data) == 2:
        inputs, labels = data
        # Two batches in a tuple look much the same; labels are as many as the inputs, with at most two axes.
        if isinstance(inputs, Tensor) and isinstance(labels, Tensor) and len(labels) == len(inputs):
            data = inputs if labels.ndim <= 2 else data
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


def _joined(batches: Iterable[Batch], smallest: int) -> Iterator[Tensor]:
    """Batches as they come, those too small joined to a neighbour."""
    ready: list[Tensor] = []
    growing: list[Tensor] = []
    for batch in batches:
        inputs = batch[0] if isinstance(batch, (tuple, list)) and batch else batch
        if not isinstance(inputs, Tensor):
            raise BadInput(
                f"Expected inputs as a tensor, or batches of tensors, got a batch with {type(inputs).__name__}. Of "
                "arrays: torch.from_numpy(array)."
            )
        growing.append(inputs)
        if sum(map(len, growing)) >= smallest:
            if ready:
                yield torch.cat(ready)
            ready, growing = growing, []
    ready += growing
    if sum(map(len, ready)) < smallest:
        raise BadInput(f"Expected at least {smallest} samples, got {sum(map(len, ready))}.")
    yield torch.cat(ready)
