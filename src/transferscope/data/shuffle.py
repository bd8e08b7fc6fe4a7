"""The two shuffles of the paper: blocks of an image, and all its pixels and channels."""

from __future__ import annotations

import math
from functools import lru_cache
from numbers import Integral

import numpy as np
import torch
from torch import Tensor

from transferscope.core.errors import BadInput

MAX_SEED = 2**32 - 1
"""The largest seed that numpy.random.RandomState accepts."""
WIDE_BYTES = 28
"""From this block width on, moving whole rows of blocks is faster than moving single values."""


def block_shuffle(images: Tensor, block_size: int, *, seed: int) -> Tensor:
    """Cut the images into square blocks, and rearrange the blocks by one permutation for all images.

    With the blocks of an image numbered in row-major order and perm a random permutation of their numbers,
    new[i] = old[perm[i]]; pixels inside a block, and channels, are not permuted. The permutation
    depends only on the seed and the number of blocks. Bit-identical to the unfold, permute, fold of the authors'
    code.

    Args:
        images: (n, channels, height, width) or (channels, height, width), any dtype.
        block_size: side of a block in pixels; divides height and width. The whole image as one block changes
            nothing.
        seed: 0 to 2**32 - 1.

    Returns:
        A new contiguous tensor of the shape, dtype and device of `images`; gradients flow through it.

    Raises:
        BadInput: `images` has another number of axes, `block_size` does not divide it, or the seed is out of
            range.

    Source: Neyshabur, Sedghi, Zhang 2020 (arXiv:2008.11687), section 3.1 "Role of feature reuse".

    >>> image = torch.tensor([[[1, 2], [3, 4]]])
    >>> block_shuffle(image, 1, seed=0)
    tensor([[[3, 4],
             [2, 1]]])
    >>> block_shuffle(image, 2, seed=0)
    tensor([[[1, 2],
             [3, 4]]])
    """
    _, height, width = _image_shape(images)
    _check_block_size(block_size, height, width)
    # An image is a row of units, moved one by one: whole widths of a block, or where these are short, numbers of 4
    # bytes, as the processor gathers several of them at once. As plain bits: nothing is computed with them.
    seed = _checked_seed(seed)
    if images.requires_grad and torch.is_grad_enabled():  # moved as numbers: bits have no gradient
        index = _source_of_units(height, width, block_size, block_size, seed).to(images.device)
        return images.reshape(-1, height * width).index_select(1, index).view(images.shape)
    # a conjugate view holds other bits than its numbers
    planes = images.detach().resolve_conj().resolve_neg().contiguous().view(-1, height * width)
    num_units = 1
    block_bytes = block_size * images.element_size()
    if block_bytes < WIDE_BYTES and block_bytes % 4 == 0:
        if planes.stride(1) != 1 or planes.storage_offset() * images.element_size() % 4:
            planes = planes.clone(memory_format=torch.contiguous_format)
        units = planes.view(torch.float32)
        num_units = block_bytes // 4
    else:
        units = planes if block_size == 1 else planes.view(len(planes), -1, block_size)
    index = _source_of_units(height, width, block_size, num_units, seed).to(images.device)
    return units.index_select(1, index).view(images.dtype).view(images.shape)


@lru_cache(maxsize=16)
def _source_of_units(height: int, width: int, block_size: int, num_units: int, seed: int) -> Tensor:
    """The source of each unit of an image; blocks are `width` units wide. Don't write to the result."""
    down, across = height // block_size, width // block_size
    order = _permutation(down * across, seed).reshape(down, 1, across)
    row_in_block = np.arange(block_size).reshape(1, block_size, 1)
    source_run = ((order // across) * block_size + row_in_block) * across + order % across
    source_unit = source_run[..., None] * num_units + np.arange(num_units)
    with torch.inference_mode(False):  # kept for later calls, which may need gradients
        return torch.from_numpy(source_unit.reshape(-1))


def moves_no_block(image_size: int, block_size: int, *, seed: int) -> bool:
    """True if `block_shuffle` of square images with this seed leaves every block where it is."""
    count = (image_size // block_size) ** 2
    return bool((_permutation(count, seed) == np.arange(count)).all())


def pixel_channel_shuffle(images: Tensor, *, seed: int) -> Tensor:
    """Permute all values of an image, over channels and pixels, in the same way for all images.

    With the numbers of an image in the order (channel, row, column) and perm a random permutation,
    new[i] = old[perm[i]]. The last step of the paper's series: unlike `block_shuffle` with blocks of one
    pixel, it also breaks the colours.

    Args:
        images: (n, channels, height, width) or (channels, height, width), any dtype.
        seed: 0 to 2**32 - 1.

    Returns:
        A new contiguous tensor of the shape, dtype and device of `images`.

    Raises:
        BadInput: `images` has another number of axes, or the seed is out of range.

    Source: Neyshabur, Sedghi, Zhang 2020 (arXiv:2008.11687), section 3.1 "Role of feature reuse".

    >>> pixel_channel_shuffle(torch.tensor([[[1, 2]], [[3, 4]]]), seed=0)
    tensor([[[3, 4]],
    <BLANKLINE>
            [[2, 1]]])
    """
    size = math.prod(_image_shape(images))
    seed = _checked_seed(seed)
    index = torch.from_numpy(_permutation(size, seed)).to(images.device)
    return images.reshape(-1, size).index_select(1, index).view(images.shape)


def block_sizes(height: int, width: int) -> list[int]:
    """The possible block sizes in pixels, ascending, for images of this size.

    >>> block_sizes(32, 24)
    [1, 2, 4, 8]
    """
    common = math.gcd(height, width)
    return [size for size in range(1, common + 1) if common % size == 0]


def _image_shape(images: Tensor) -> tuple[int, int, int]:
    if not isinstance(images, Tensor):
        raise BadInput(
            f"images to shuffle must be a tensor, got a {type(images).__name__}. Of an array: torch.from_numpy(array)."
        )
    if images.layout != torch.strided:
        raise BadInput("images to shuffle must be a dense tensor; give images.to_dense().")
    if images.ndim not in (3, 4):
        raise BadInput(
            "images to shuffle must be (n, channels, height, width) or (channels, height, width); these have "
            f"the shape {tuple(images.shape)}. Add or remove axes: images[:, None] for grey images, say."
        )
    channels, height, width = images.shape[-3:]
    return channels, height, width


def _check_block_size(block_size: int, height: int, width: int) -> None:
    valid = block_sizes(height, width)
    if not isinstance(block_size, Integral) or block_size not in valid:  # NumPy's whole numbers too
        raise BadInput(
            f"blocks of {block_size} px do not fill images of {height} x {width} px: the block size must "
            f"divide both sides. Valid: {', '.join(map(str, valid))}. Choose one of these."
        )


def _checked_seed(seed: int) -> int:
    if not isinstance(seed, Integral) or isinstance(seed, bool) or not 0 <= seed <= MAX_SEED:
        raise BadInput(
            f"the seed of a shuffle must be a whole number from 0 to {MAX_SEED}; this one is {seed!r}."
        )
    return int(seed)


def _permutation(length: int, seed: int) -> np.ndarray:
    # The legacy generator on purpose: it is what the authors used, and its stream is frozen for good.
    return np.random.RandomState(seed).permutation(length)
