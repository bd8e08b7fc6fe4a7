"""The normalizations against slow, literal twins."""

from __future__ import annotations

import doctest
from types import ModuleType
from typing import cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from transferscope.core.errors import BadInput
from transferscope.core.options import MeanStd, Normalization, named_normalization
from transferscope.data import normalize as normalize_module
from transferscope.data import shuffle as shuffle_module
from transferscope.data.normalize import NORMALIZATIONS, normalize
from transferscope.data.shuffle import block_shuffle

CONSTANTS = MeanStd(mean=(0.1, 0.5, 0.9), std=(0.3, 0.2, 1.5))
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def literal_normalize(images: Tensor, how: Normalization) -> np.ndarray:
    """Image by image, channel by channel, in float64."""
    result = np.empty(tuple(images.shape))
    for i, image in enumerate(images.numpy().astype(np.float64) / 255):
        if how == "per_image":
            centred = np.stack([channel - channel.sum() / channel.size for channel in image])
            standard_deviation = np.sqrt((centred * centred).sum() / centred.size)
            result[i] = centred / (standard_deviation + 0.1)
        elif how == "unit":
            result[i] = (image - 0.5) / 0.5
        elif how == "centred_64":
            result[i] = (images[i].numpy().astype(np.float64) - 128) / 64
        else:
            mean, std = (IMAGENET_MEAN, IMAGENET_STD) if how == "imagenet" else (how.mean, how.std)
            for c in range(3):
                result[i, c] = (image[c] - mean[c]) / std[c]
    return result


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from((*NORMALIZATIONS, CONSTANTS)),
    st.integers(1, 4),
    st.integers(1, 40),
    st.integers(0, 255),
    st.integers(0, 10**6),
    st.booleans(),
)
def test_against_the_literal_twin(
    how: Normalization, n: int, side: int, low: int, seed: int, channels_last: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(low, 256, (n, 3, side, side), generator=generator, dtype=torch.uint8)
    if channels_last:
        images = images.to(memory_format=torch.channels_last)
    before = images.clone()
    result = normalize(images, how)
    assert result.dtype == torch.float32
    np.testing.assert_allclose(result.numpy(), literal_normalize(images, how), rtol=1e-5, atol=2e-6)
    assert torch.equal(images, before)


def test_ranges() -> None:
    extremes = torch.tensor([0, 255], dtype=torch.uint8).repeat(96).view(1, 3, 8, 8)
    assert normalize(extremes, "unit").aminmax() == (-1.0, 1.0)
    per_image = normalize(extremes, "per_image")
    assert per_image.abs().max() == pytest.approx(0.5 / 0.6)


def test_a_flat_image_is_zero_per_image() -> None:
    flat = torch.tensor([10, 200, 90], dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    assert normalize(flat, "per_image").abs().max() == 0


def test_per_image_does_not_depend_on_the_other_images() -> None:
    images = torch.randint(0, 256, (5, 3, 16, 16), generator=torch.Generator().manual_seed(0)).byte()
    together, alone = normalize(images, "per_image")[2:3], normalize(images[2:3], "per_image")
    # means over 256 pixels in float32, added up in another order: 256 * 6e-8 of values up to 3 at worst
    assert torch.allclose(together, alone, rtol=0, atol=4e-5)


def test_per_image_commutes_with_the_block_shuffle() -> None:
    images = torch.randint(0, 256, (5, 3, 16, 16), generator=torch.Generator().manual_seed(0)).byte()
    first = normalize(block_shuffle(images, 4, seed=1), "per_image")
    # the pixels are added up in another order: the tolerance is that of the test above
    assert torch.allclose(first, block_shuffle(normalize(images, "per_image"), 4, seed=1), rtol=0, atol=4e-5)


@pytest.mark.parametrize("how", [*NORMALIZATIONS, CONSTANTS])
def test_no_images_give_no_images(how: Normalization) -> None:
    assert normalize(torch.empty(0, 3, 8, 8, dtype=torch.uint8), how).shape == (0, 3, 8, 8)


def test_constants_of_a_name_are_that_normalization() -> None:
    images = torch.randint(0, 256, (5, 3, 16, 16), generator=torch.Generator().manual_seed(0)).byte()
    imagenet = MeanStd(mean=IMAGENET_MEAN, std=IMAGENET_STD)
    assert named_normalization(imagenet) == "imagenet"
    assert torch.equal(normalize(images, imagenet), normalize(images, "imagenet"))
    half = MeanStd(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    assert named_normalization(half) == "unit"
    assert torch.allclose(normalize(images, half), normalize(images, "unit"), rtol=0, atol=1e-6)
    assert named_normalization(CONSTANTS) == CONSTANTS


def test_wrong_input_is_refused() -> None:
    with pytest.raises(BadInput, match="by mean and std needs 2 channels; these images have 1"):
        normalize(torch.zeros(1, 1, 8, 8, dtype=torch.uint8), MeanStd(mean=(0, 0), std=(1, 1)))
    with pytest.raises(ValueError, match="mean has 1 channels and std 2: must be as many"):
        MeanStd(mean=(0,), std=(1, 1))
    with pytest.raises(BadInput, match=r"must be uint8.*float32"):
        normalize(torch.zeros(1, 3, 8, 8), "unit")
    with pytest.raises(BadInput, match=r"shape \(3, 8, 8\)"):
        normalize(torch.zeros(3, 8, 8, dtype=torch.uint8), "unit")
    with pytest.raises(BadInput, match="needs 3 channels; these images have 1"):
        normalize(torch.zeros(1, 1, 8, 8, dtype=torch.uint8), "imagenet")
    with pytest.raises(BadInput, match="Did you mean 'imagenet'"):
        normalize(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), cast(Normalization, "imagnet"))


@pytest.mark.parametrize("module", [normalize_module, shuffle_module])
def test_doctests(module: ModuleType) -> None:
    results = doctest.testmod(module)
    assert results.attempted > 0
    assert results.failed == 0
