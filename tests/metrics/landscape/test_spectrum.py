"""Singular values of convolutions against the dense matrix of the operator."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from transferscope.core.errors import BadInput
from transferscope.metrics.landscape.spectrum import conv_singular_values

TOLERANCE = 1e-12


def dense(weight, height, width, stride=(1, 1), dilation=(1, 1), groups=1):
    """The matrix of the circular convolution, entry by entry."""
    c_out, c_in, kh, kw = weight.shape
    rows, columns = height // stride[0], width // stride[1]
    matrix = np.zeros((c_out, rows, columns, groups * c_in, height, width), dtype=weight.dtype)
    places = (range(c_out), range(c_in), range(rows), range(columns), range(kh), range(kw))
    for o, c, i, j, a, b in itertools.product(*places):
        channel = o // (c_out // groups) * c_in + c
        y, x = (i * stride[0] + a * dilation[0]) % height, (j * stride[1] + b * dilation[1]) % width
        matrix[o, i, j, channel, y, x] += weight[o, c, a, b]
    return matrix.reshape(c_out * rows * columns, -1)


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


@settings(deadline=None, max_examples=20)
@given(
    seed=st.integers(0, 2**31),
    channels=st.tuples(st.integers(1, 2), st.integers(1, 3)),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    outputs=st.tuples(st.integers(1, 3), st.integers(1, 2)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 3)),
    groups=st.integers(1, 2),
    kind=st.sampled_from([torch.float64, torch.complex128]),
)
def test_stride_dilation_groups_and_complex_kernels(
    seed, channels, kernel, outputs, stride, dilation, groups, kind
):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(groups * channels[0], channels[1], *kernel, generator=generator, dtype=kind)
    size = (outputs[0] * stride[0], outputs[1] * stride[1])
    matrix = dense(weight.numpy(), *size, stride, dilation, groups)
    expected = np.linalg.svd(matrix, compute_uv=False)
    found = conv_singular_values(weight, size, stride=stride, dilation=dilation, groups=groups).numpy()
    assert len(found) == len(expected) == min(matrix.shape)
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE * max(1, expected[0]))


@pytest.mark.parametrize("size", [8, 16, 32])
def test_the_mean_filter_with_stride_2_has_closed_form(size):
    """Of the frequencies 0 and pi, which alias, the filter of three ones passes 3 and -1: sqrt((9 + 1) / 2) an axis."""
    values = conv_singular_values(torch.ones(1, 1, 3, 3), size, stride=2)
    assert len(values) == (size // 2) ** 2
    assert values[0].item() == pytest.approx(5, rel=1e-12)


def test_a_transposed_convolution_has_the_values_of_its_adjoint():
    weight = torch.randn(3, 2, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    inputs = torch.eye(3 * 9, dtype=torch.float64).reshape(-1, 3, 3, 3)
    full = functional.conv_transpose2d(inputs, weight, stride=2)  # 7 x 7: one row and one column go around
    wrapped = full[:, :, :6, :6].clone()
    wrapped[:, :, :1] += full[:, :, 6:, :6]
    wrapped[:, :, :, :1] += full[:, :, :6, 6:]
    wrapped[:, :, :1, :1] += full[:, :, 6:, 6:]
    expected = torch.linalg.svdvals(wrapped.flatten(1))
    found = conv_singular_values(weight, 6, stride=2)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


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
    ("shape", "size", "options", "named"),
    [
        ((2, 2, 3), 4, {}, "2-d convolution, got \\(2, 2, 3\\)"),
        ((2, 2, 3, 3, 3), 4, {}, "3-d convolutions are not supported"),
        ((2, 2, 3, 3), 0, {}, "input_size of at least 1"),
        ((2, 2, 3, 3), 4.5, {}, "input_size"),
        ((2, 2, 3, 3), (4, 4, 4), {}, "input_size"),
        ((2, 2, 3, 3), 4, {"stride": 0}, "stride of at least 1"),
        ((2, 2, 3, 3), 4, {"dilation": (1, 0)}, "dilation of at least 1"),
        ((2, 2, 3, 3), 7, {"stride": 2}, "multiple of the stride, \\(8, 8\\)"),
        ((3, 2, 3, 3), 4, {"groups": 2}, "groups that divide the 3 output channels"),
    ],
)
def test_bad_input(shape, size, options, named):
    with pytest.raises(BadInput, match=named):
        conv_singular_values(torch.zeros(shape), size, **options)
