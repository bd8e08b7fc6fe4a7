"""The shuffles against a slow, literal unfold, permute, fold, and their errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import fold, unfold

from transferscope.core.errors import BadInput
from transferscope.data.shuffle import block_shuffle, block_sizes, pixel_channel_shuffle

DTYPES = (torch.uint8, torch.float32, torch.float64, torch.bool, torch.int64)


def literal_block_shuffle(images: Tensor, block_size: int, seed: int) -> Tensor:
    """Each image for itself: unfold, permute the columns, fold; as the paper's code does it."""
    height, width = images.shape[-2:]
    number = (height // block_size) * (width // block_size)
    perm = torch.from_numpy(np.random.RandomState(seed).permutation(number))
    shuffled = []
    for image in images:
        columns = unfold(image[None].double(), kernel_size=block_size, stride=block_size)
        folded = fold(columns[:, :, perm], (height, width), kernel_size=block_size, stride=block_size)
        shuffled.append(folded[0].to(images.dtype))
    return torch.stack(shuffled)


def literal_pixel_channel_shuffle(images: Tensor, seed: int) -> Tensor:
    perm = np.random.RandomState(seed).permutation(images[0].numel())
    new = torch.empty_like(images, memory_format=torch.contiguous_format)
    for old_image, new_image in zip(images.contiguous(), new, strict=True):
        for i, source in enumerate(perm):
            new_image.view(-1)[i] = old_image.view(-1)[source]
    return new


@st.composite
def image_batches(draw: st.DrawFn, max_side_blocks: int = 5) -> tuple[Tensor, int]:
    """Images of many shapes, dtypes and memory layouts, with a block size that fits them."""
    block_size = draw(st.integers(1, 6))
    n, channels = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    height = block_size * draw(st.integers(1, max_side_blocks))
    width = block_size * draw(st.integers(1, max_side_blocks))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    shape = (n, channels, height, width)
    images = torch.randint(0, 256, shape, generator=generator).to(draw(st.sampled_from(DTYPES)))
    layout = draw(st.sampled_from(("contiguous", "channels_last", "transposed", "strided")))
    if layout == "channels_last":
        images = images.to(memory_format=torch.channels_last)
    elif layout == "transposed":
        images = images.transpose(2, 3).contiguous().transpose(2, 3)
    elif layout == "strided":
        images = images.repeat_interleave(2, dim=3)[..., ::2]
    return images, block_size


@settings(max_examples=150, deadline=None)
@given(image_batches(), st.integers(0, 2**32 - 1))
def test_block_shuffle_is_unfold_permute_fold_to_the_bit(batch: tuple[Tensor, int], seed: int) -> None:
    images, block_size = batch
    before = images.clone()
    shuffled = block_shuffle(images, block_size, seed=seed)
    assert shuffled.dtype == images.dtype
    assert torch.equal(shuffled, literal_block_shuffle(images, block_size, seed))
    assert torch.equal(shuffled[0], block_shuffle(images[0], block_size, seed=seed))
    assert torch.equal(images, before)
    assert shuffled.data_ptr() != images.data_ptr()


@settings(max_examples=40, deadline=None)
@given(image_batches(max_side_blocks=2), st.integers(0, 2**32 - 1))
def test_pixel_channel_shuffle_is_one_permutation_of_everything(batch: tuple[Tensor, int], seed: int) -> None:
    images, _ = batch
    shuffled = pixel_channel_shuffle(images, seed=seed)
    assert shuffled.dtype == images.dtype
    assert torch.equal(shuffled, literal_pixel_channel_shuffle(images, seed))
    assert torch.equal(shuffled[0], pixel_channel_shuffle(images[0], seed=seed))
    assert shuffled.data_ptr() != images.data_ptr()


@pytest.mark.parametrize("block_size", [32, 28, 16, 14, 8, 7, 4, 2, 1])
def test_the_papers_block_sizes_at_224(block_size: int) -> None:
    images = torch.arange(3 * 224 * 224).view(1, 3, 224, 224)
    seed = 1234
    assert torch.equal(
        block_shuffle(images, block_size, seed=seed), literal_block_shuffle(images, block_size, seed)
    )


def test_one_block_changes_nothing() -> None:
    images = torch.arange(2 * 3 * 64).view(2, 3, 8, 8)
    assert torch.equal(block_shuffle(images, 8, seed=3), images)


def test_a_shuffle_keeps_every_block() -> None:
    image = torch.arange(64).view(1, 8, 8)
    blocks = {tuple(b.flatten().tolist()) for row in image[0].split(4) for b in row.split(4, dim=1)}
    new = block_shuffle(image, 4, seed=1)
    assert {tuple(b.flatten().tolist()) for row in new[0].split(4) for b in row.split(4, dim=1)} == blocks


def test_no_images_give_no_images() -> None:
    assert block_shuffle(torch.empty(0, 3, 8, 8), 4, seed=0).shape == (0, 3, 8, 8)
    assert pixel_channel_shuffle(torch.empty(0, 3, 8, 8), seed=0).shape == (0, 3, 8, 8)


@pytest.mark.parametrize("block_size", [0, -1, 3, 16, 64])
def test_a_block_size_that_does_not_divide_is_refused_with_the_valid_ones(block_size: int) -> None:
    with pytest.raises(BadInput, match=r"32 x 24 px.*Valid: 1, 2, 4, 8\."):
        block_shuffle(torch.zeros(1, 3, 32, 24), block_size, seed=0)


@pytest.mark.parametrize("shape", [(8,), (8, 8), (1, 1, 3, 8, 8)])
def test_other_numbers_of_axes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(BadInput, match="channels, height, width"):
        block_shuffle(torch.zeros(shape), 1, seed=0)
    with pytest.raises(BadInput, match="channels, height, width"):
        pixel_channel_shuffle(torch.zeros(shape), seed=0)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_out_of_range_is_refused(seed: int) -> None:
    with pytest.raises(BadInput, match="seed of a shuffle"):
        block_shuffle(torch.zeros(1, 2, 2), 1, seed=seed)


def test_block_sizes_of_the_paper() -> None:
    assert {224, 112, 56, 32, 28, 16, 14, 8, 7, 4, 2, 1} == set(block_sizes(224, 224))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.float32, torch.float64])
@pytest.mark.parametrize("block_size", [1, 2, 4, 6])
def test_bits_are_moved_as_they_are_from_any_place_in_memory(dtype: torch.dtype, block_size: int) -> None:
    """Bytes that would be signalling NaNs as float32, from a tensor that begins at an odd place."""
    size = torch.empty((), dtype=dtype).element_size()
    pattern = torch.tensor([1, 0, 0xA0, 0x7F], dtype=torch.uint8).repeat(2 * 3 * 144 * size // 4 + 4)
    images = pattern[: 2 * 3 * 144 * size + size].view(dtype)[1:].view(2, 3, 12, 12)
    shuffled = block_shuffle(images, block_size, seed=3)
    places = torch.arange(images.numel()).view(images.shape)
    moved = images.reshape(-1)[literal_block_shuffle(places, block_size, 3)]
    assert torch.equal(shuffled.view(torch.uint8), moved.view(torch.uint8))


def test_a_block_size_may_be_a_whole_number_of_numpy() -> None:
    images = torch.arange(2 * 3 * 8 * 8).reshape(2, 3, 8, 8).float()
    assert torch.equal(block_shuffle(images, np.int64(4), seed=3), block_shuffle(images, 4, seed=3))  # type: ignore[arg-type]


@pytest.mark.parametrize("block_size", [1, 2, 8])
def test_gradients_flow_through_the_order(block_size):
    images = torch.randn(2, 3, 8, 8, requires_grad=True)
    shuffled = block_shuffle(images, block_size, seed=3)
    assert torch.equal(shuffled.detach(), block_shuffle(images.detach(), block_size, seed=3))
    weights = torch.randn(2, 3, 8, 8)
    (shuffled * weights).sum().backward()
    assert images.grad is not None
    # a permutation: the gradient is the weights, moved back
    assert torch.equal(block_shuffle(images.grad, block_size, seed=3), weights)


@pytest.mark.parametrize("block_size", [1, 4])
def test_conjugate_views(block_size):
    images = torch.complex(torch.randn(1, 2, 8, 8), torch.randn(1, 2, 8, 8)).conj()
    expected = block_shuffle(images.resolve_conj(), block_size, seed=0)
    assert torch.equal(block_shuffle(images, block_size, seed=0), expected)
