"""Batches that get smaller where a GPU's memory is short."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

from transferscope.core.errors import BadInput

_log = logging.getLogger(__name__)
Found = TypeVar("Found")


def in_batches(run: Callable[[slice], Found], count: int, batch_size: int) -> Iterator[Found]:
    """What `run` gives for batches of `count` examples, in order.

    A batch that does not fit the memory is halved, and so are those after it; that is logged. Only for networks whose
    outputs don't depend on what else is in the batch: they may then differ in the last bits, no more.

    Args:
        run: takes the batch's place among the examples; called again for a part of what it failed at.
        count: examples.
        batch_size: examples in a batch to begin with.

    Raises:
        BadInput: one example alone does not fit.
    """
    start = 0
    while start < count:
        try:
            found = run(slice(start, start + batch_size))
        except torch.OutOfMemoryError as error:
            batch_size = halved(min(batch_size, count - start), error)
            continue
        yield found
        start += batch_size


def halved(batch_size: int, error: torch.OutOfMemoryError) -> int:
    """The size to go on with after a batch of this one did not fit; said in the log.

    Raises:
        BadInput: it was one example.
    """
    if batch_size == 1:
        reason = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise BadInput(
            f"out of memory in an evaluation with a batch of one image: {reason} Use a smaller image_size_px or "
            "network, fewer tasks on a GPU, or a device with more memory."
        ) from None
    _log.warning(
        "out of memory in an evaluation: its batches were halved from %d to %d", batch_size, batch_size // 2
    )
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    return batch_size // 2
