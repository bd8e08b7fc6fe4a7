"""Small pictures show the image's own pixels."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from transferscope.core.errors import BadInput
from transferscope.data.inspect.thumbnail import png_thumbnail


def opened(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png))


def random_image(*shape: int) -> torch.Tensor:
    return torch.randint(256, shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_small_image_keeps_its_pixels(channels: int) -> None:
    image = random_image(channels, 32, 20)
    shown = opened(png_thumbnail(image))
    assert (shown.format, shown.size) == ("PNG", (20, 32))
    pixels = torch.from_numpy(np.array(shown)).reshape(32, 20, channels)
    assert torch.equal(pixels.permute(2, 0, 1), image)


def test_a_large_image_is_made_smaller_and_keeps_its_shape() -> None:
    assert opened(png_thumbnail(random_image(3, 224, 112))).size == (48, 96)
    assert opened(png_thumbnail(random_image(3, 224, 224), max_side_px=10)).size == (10, 10)


def test_other_channels_show_their_mean() -> None:
    image = torch.tensor([10, 30, 50, 70], dtype=torch.uint8).reshape(4, 1, 1)
    assert opened(png_thumbnail(image)).getpixel((0, 0)) == 40


def test_channels_last_is_no_other_image() -> None:
    batch = random_image(2, 3, 8, 8)
    assert png_thumbnail(batch.to(memory_format=torch.channels_last)[1]) == png_thumbnail(batch[1])


def test_size_in_bytes_is_small() -> None:
    assert len(png_thumbnail(random_image(3, 32, 32))) < 3500


@pytest.mark.parametrize("image", [torch.zeros(3, 8, 8), torch.zeros(8, 8, dtype=torch.uint8)])
def test_bad_input(image: torch.Tensor) -> None:
    with pytest.raises(BadInput, match="uint8"):
        png_thumbnail(image)
