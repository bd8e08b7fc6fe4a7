"""Singular values of convolutions against the dense matrix of the operator."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from transferscope.errors import BadInput
from transferscope.metrics.spectrum import conv_singular_values

TOLERANCE = 1e-12


def dense(weight, height, width):
    """The matrix of the circular convolution, entry by entry."""
    c_out, c_in, kh, kw = weight.shape
    matrix = np.zeros((c_out, height, width, c_in, height, width))
    places = (range(c_out), range(c_in), range(height), range(width), range(kh), range(kw))
    for o, c, i, j, a, b in itertools.product(*places):
        matrix[o, i, j, c, (i + a) % height, (j + b) % width] += weight[o, c, a, b]
    return matrix.reshape(c_out * height * width, -1)


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 2**31),
    channels=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    size=st.tuples(st.integers(1, 5), st.integers(1, 5)),
)
def test_against_the_dense_operator(seed, channels, kernel, size):
    weight = torch.randn(
        *channels, *kernel, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    expected = np.linalg.svd(dense(weight.numpy(), *size), compute_uv=False)
    found = conv_singular_values(weight, size).numpy()
    assert len(found) == size[0] * size[1] * min(channels)
    np.testing.assert_allclose(found, expected[: len(found)], rtol=0, atol=TOLERANCE * max(1, expected[0]))


def test_groups_are_a_block_diagonal_operator():
    weight = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    blocks = [dense(part.numpy(), 4, 4) for part in weight.chunk(2)]
    expected = np.sort(np.concatenate([np.linalg.svd(block, compute_uv=False) for block in blocks]))[::-1]
    np.testing.assert_allclose(conv_singular_values(weight, 4, groups=2), expected, rtol=0, atol=1e-12)


def test_norm_of_the_operator_bounds_pytorchs_convolution():
    weight = torch.randn(3, 2, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = torch.randn(50, 2, 6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y = functional.conv2d(functional.pad(x, (1, 1, 1, 1), mode="circular"), weight)
    gains = y.flatten(1).norm(dim=1) / x.flatten(1).norm(dim=1)
    values = conv_singular_values(weight, 6)
    assert gains.max() <= values[0]
    # The mean square of the singular values is that of the gains on white noise.
    assert (values.square().sum() / x[0].numel()).item() == pytest.approx(
        gains.square().mean().item(), rel=0.1
    )


def test_float32_weights_are_widened():
    weight = torch.randn(2, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    found = conv_singular_values(weight, 5)
    assert found.dtype == torch.float64
    assert torch.equal(found, conv_singular_values(weight.double(), 5))


def test_weights_that_are_not_finite():
    weight = torch.randn(2, 3, 3, 3)
    weight[0, 0, 0, 0] = torch.nan
    found = conv_singular_values(weight, 4)
    assert found.shape == (32,)
    assert found.isnan().all()


@pytest.mark.parametrize(
    ("shape", "size", "groups"), [((2, 2, 3), 4, 1), ((2, 2, 3, 3), 0, 1), ((3, 2, 3, 3), 4, 2)]
)
def test_bad_input(shape, size, groups):
    with pytest.raises(BadInput):
        conv_singular_values(torch.zeros(shape), size, groups=groups)
