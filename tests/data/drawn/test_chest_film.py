"""The preparation of radiographs against a version that goes pixel by pixel."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transferscope.data.drawn.chest_film import equalize_histogram, prepare, resize_bilinear


def literal_equalized(grey: np.ndarray) -> np.ndarray:
    """255 (C(v) - C(v0)) / (N - C(v0)), counted anew for every pixel, in float64."""
    values = sorted(grey.ravel().tolist())
    at_least = sum(value == values[0] for value in values)
    if at_least == len(values):
        return grey.astype(float)
    result = np.empty(grey.shape)
    for place, value in np.ndenumerate(grey):
        up_to = sum(other <= value for other in values)
        result[place] = 255 * (up_to - at_least) / (len(values) - at_least)
    return result


def literal_pixel(image: np.ndarray, y: float, x: float) -> float:
    """The value at a place between pixel centres; beyond the outermost centres that of the border."""
    y, x = min(max(y, 0), image.shape[0] - 1), min(max(x, 0), image.shape[1] - 1)
    total = 0.0
    for row in {math.floor(y), math.ceil(y)}:
        for column in {math.floor(x), math.ceil(x)}:
            total += (1 - abs(y - row)) * (1 - abs(x - column)) * image[row, column]
    return total


def literal_resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    result = np.empty((height, width))
    for row in range(height):
        for column in range(width):
            y = (row + 0.5) * image.shape[0] / height - 0.5
            x = (column + 0.5) * image.shape[1] / width - 0.5
            result[row, column] = literal_pixel(image, y, x)
    return result


def literal_prepared(equal: np.ndarray, side: int) -> np.ndarray:
    """In float64 from the equalised image on; not rounded at the end."""
    height, width = equal.shape
    if height >= width:
        size = (side, max(1, round(side * width / height)))
    else:
        size = (max(1, round(side * height / width)), side)
    square = np.full((side, side), 128.0)
    square[: size[0], : size[1]] = literal_resized(equal.astype(float), *size)
    blurred = np.zeros((side, side))
    for row in range(side):
        for column in range(side):
            for down, by_row in ((-1, 1), (0, 2), (1, 1)):
                for across, by_column in ((-1, 1), (0, 2), (1, 1)):
                    y, x = abs(row + down), abs(column + across)
                    y, x = (2 * (side - 1) - at if at >= side else at for at in (y, x))
                    blurred[row, column] += by_row * by_column * square[y, x] / 16
    return blurred


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 22), st.integers(2, 22), st.integers(6, 14), st.integers(0, 250), st.integers(0, 10**6))
def test_against_the_literal_version(height: int, width: int, side: int, low: int, seed: int) -> None:
    rng = np.random.Generator(np.random.PCG64(seed))
    grey = rng.integers(low, 256, (height, width), dtype=np.uint8)
    got = prepare(grey, side)
    assert got.dtype == np.uint8
    assert got.shape == (side, side)
    equal = equalize_histogram(grey)
    # values of .5 may be rounded either way
    assert np.abs(equal - literal_equalized(grey)).max() <= 0.5 + 1e-4
    # uint8 is half a step off at most, and float32 less than .001
    assert np.abs(got - literal_prepared(equal, side)).max() <= 0.501


@pytest.mark.parametrize("seed", range(3))
def test_equalisation_is_even(seed: int) -> None:
    rng = np.random.Generator(np.random.PCG64(seed))
    grey = (rng.normal(90, 12, (32, 32)).clip(0, 255)).astype(np.uint8)
    equal = equalize_histogram(grey)
    # values of .5 may be rounded either way
    assert np.abs(equal - literal_equalized(grey)).max() <= 0.5 + 1e-4
    assert equal.min() == 0
    assert equal.max() == 255
    assert abs(float(equal.mean()) - 127.5) < 8


def test_one_value_stays() -> None:
    flat = np.full((5, 7), 33, dtype=np.uint8)
    assert (equalize_histogram(flat) == 33).all()
    assert prepare(flat, 6)[0, 0] == 33


def test_the_square_is_filled_below_and_at_the_right_with_the_pixel_mean() -> None:
    tall = np.full((20, 10), 200, dtype=np.uint8)
    assert prepare(tall, 10)[:, :4].tolist() == [[200] * 4] * 10
    assert prepare(tall, 10)[:, 6:].tolist() == [[128] * 4] * 10
    assert prepare(tall.T, 10)[6:].tolist() == [[128] * 10] * 4


def test_a_resize_to_the_same_size_changes_nothing() -> None:
    image = np.random.Generator(np.random.PCG64(0)).random((5, 7), dtype=np.float32)
    np.testing.assert_array_equal(resize_bilinear(image, 5, 7), image)
    assert resize_bilinear(image[:1, :1], 3, 2).tolist() == np.full((3, 2), image[0, 0]).tolist()
