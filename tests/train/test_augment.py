"""Augmentation against a slow, literal one: a pixel at a time, from the definition of the map."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from transferscope.train.augment import LOG_RATIO, affine_maps, augment, crop_and_flip_maps, warp


def images(n: int = 6, height: int = 9, width: int = 9) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (n, 3, height, width), generator=generator, dtype=torch.uint8)


def literal_sample(image: Tensor, x: float, y: float) -> list[float]:
    """The image at a place in pixels (0.5 is the middle of the first), bilinear, its edge repeated."""
    _, height, width = image.shape
    x, y = min(max(x - 0.5, 0.0), width - 1.0), min(max(y - 0.5, 0.0), height - 1.0)
    left, top = min(int(x), width - 1), min(int(y), height - 1)
    right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
    a, b = x - left, y - top
    return [
        (1 - a) * (1 - b) * channel[top][left]
        + a * (1 - b) * channel[top][right]
        + (1 - a) * b * channel[bottom][left]
        + a * b * channel[bottom][right]
        for channel in image.double().tolist()
    ]


def close(found: Tensor, expected: Tensor) -> bool:
    """Equal up to the rounding to a whole shade of what float32 makes of a half."""
    return bool(((found.double() - expected).abs() <= 0.5 + 1e-3).all())


def test_a_crop_is_that_rectangle_stretched_and_mirrored() -> None:
    batch = images()
    theta = crop_and_flip_maps(len(batch), (0.1, 0.9), torch.Generator().manual_seed(1))
    found = warp(batch, theta)
    flips = set()
    for image, row, out in zip(batch, theta.double(), found, strict=True):
        size = image.shape[1]
        mirrored, width, height = bool(row[0, 0] < 0), float(row[0, 0].abs()) * size, float(row[1, 1]) * size
        left, top = (
            (float(row[0, 2]) + 1) / 2 * size - width / 2,
            (float(row[1, 2]) + 1) / 2 * size - height / 2,
        )
        flips.add(mirrored)
        expected = torch.zeros(out.shape, dtype=torch.float64)
        for y in range(size):
            for x in range(size):
                column = size - 1 - x if mirrored else x
                place = (left + (column + 0.5) / size * width, top + (y + 0.5) / size * height)
                expected[:, y, x] = torch.tensor(literal_sample(image, *place))
        assert close(out, expected)
    assert flips == {True, False}


def test_crops_lie_inside_with_the_areas_and_shapes_asked_for() -> None:
    theta = crop_and_flip_maps(20000, (0.08, 0.5), torch.Generator().manual_seed(2)).double()
    width, height = theta[:, 0, 0].abs(), theta[:, 1, 1]
    assert (theta[:, 0, 2].abs() + width <= 1 + 1e-6).all()
    assert (theta[:, 1, 2].abs() + height <= 1 + 1e-6).all()
    area, ratio = width * height, (width / height).log()
    assert area.min() >= 0.08 - 1e-6
    assert area.max() <= 0.5 + 1e-6
    assert area.mean().item() == pytest.approx(0.29, abs=0.005)
    assert ratio.abs().max() <= LOG_RATIO + 1e-6
    assert ratio.std().item() == pytest.approx(2 * LOG_RATIO / math.sqrt(12), rel=0.03)  # uniform
    assert (theta[:, 0, 0] < 0).double().mean().item() == pytest.approx(0.5, abs=0.02)
    assert (theta[:, :, :2].flatten(1)[:, 1:3] == 0).all()
    whole = crop_and_flip_maps(1000, (1.0, 1.0), torch.Generator().manual_seed(3))
    assert whole[:, 0, 0].abs().max() <= 1
    assert whole[:, 1, 1].max() <= 1


@pytest.mark.parametrize(("height", "width"), [(9, 9), (8, 12)])
def test_affine_turns_scales_and_shifts_about_the_middle(height: int, width: int) -> None:
    batch = images(4, height, width)
    theta = affine_maps(len(batch), height / width, torch.Generator().manual_seed(4))
    draws = torch.rand(len(batch), 4, generator=torch.Generator().manual_seed(4)).double()
    for image, draw, out in zip(batch, draws, warp(batch, theta), strict=True):
        angle = (2 * draw[0].item() - 1) * 15 * math.pi / 180
        scale = 0.95 + 0.1 * draw[1].item()
        shift = [(2 * draw[2].item() - 1) * 0.05 * width, (2 * draw[3].item() - 1) * 0.05 * height]
        expected = torch.zeros(out.shape, dtype=torch.float64)
        for y in range(height):
            for x in range(width):
                # what was shifted last comes back first
                dx, dy = x + 0.5 - width / 2 - shift[0], y + 0.5 - height / 2 - shift[1]
                back = (
                    (math.cos(angle) * dx + math.sin(angle) * dy) / scale + width / 2,
                    (-math.sin(angle) * dx + math.cos(angle) * dy) / scale + height / 2,
                )
                expected[:, y, x] = torch.tensor(literal_sample(image, *back))
        assert close(out, expected)


@pytest.mark.parametrize("how", ["crop_and_flip", "affine"])
def test_each_image_has_its_own_draw_and_all_of_it_comes_from_the_generator(how: str) -> None:
    same = images(1).expand(8, -1, -1, -1)

    def varied(seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return augment(same, how, generator, crop_scale=(0.3, 1.0))  # type: ignore[arg-type]

    found = varied(0)
    assert found.dtype == torch.uint8
    assert found.shape == same.shape
    assert len({tuple(image.flatten().tolist()) for image in found}) == 8
    assert torch.equal(found, varied(0))
    assert not torch.equal(found, varied(1))


def test_none_gives_the_images_and_draws_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    batch = images()
    assert augment(batch, "none", generator, crop_scale=(0.08, 1.0)) is batch
    assert torch.equal(generator.get_state(), before)
