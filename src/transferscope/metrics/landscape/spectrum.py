"""Singular values of a convolution as a linear operator."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from transferscope.core.errors import BadInput
from transferscope.metrics.inputs.guard import guarded


@guarded
def conv_singular_values(
    weight: Tensor,
    input_size: int | tuple[int, int],
    *,
    stride: int | tuple[int, int] = 1,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
) -> Tensor:
    """All singular values of a 2-d convolution on images of this size, with circular padding.

    In the Fourier basis the operator is block-diagonal (Sedghi, Gupta, Long 2019, theorem 6). With stride 1 there
    is one block for each frequency (u, v): the c_out x c_in matrix F[u, v], where F is the 2-d discrete Fourier
    transform of the kernel. With a stride s the frequencies u, u + m / s, u + 2 m / s, ... of an input of m pixels
    alias to one frequency of the output; their matrices side by side, divided by sqrt(s), are its block. The same
    holds for v. A kernel larger than the image wraps around it.

    A transposed convolution is the adjoint of the convolution with the same weight and stride: it has the same
    singular values, with the size of its output as `input_size`. Zero padding gives another operator; its spectrum
    is near this one where the image is much larger than the kernel.

    Args:
        weight: (c_out, c_in / groups, kh, kw), real or complex, as PyTorch stores it.
        input_size: side of the image in pixels, or (height, width); a multiple of the stride.
        stride, dilation, groups: of the convolution; stride and dilation may be (vertical, horizontal).

    Returns:
        (height / s * width / s * groups * min(c_out, s * s * c_in) / groups,) float64, at least 0, descending: one
        value for each row or each column of the operator's matrix, whichever are fewer. NaN where a weight is not
        finite.

    Raises:
        BadInput: the weight is not that of a 2-d convolution, a size, stride, dilation or number of groups is not a
            whole number of at least 1, the groups don't divide c_out, or the stride doesn't divide the size.

    >>> import torch
    >>> conv_singular_values(torch.tensor([[[[1.0, -1.0]]]]), (1, 2))
    tensor([2., 0.], dtype=torch.float64)
    >>> conv_singular_values(torch.tensor([[[[1.0, -1.0]]]]), (1, 2), stride=(1, 2))
    tensor([1.4142], dtype=torch.float64)
    """
    if not isinstance(weight, Tensor) or weight.ndim != 4 or 0 in weight.shape:
        came = tuple(weight.shape) if isinstance(weight, Tensor) else f"a {type(weight).__name__}"
        raise BadInput(
            f"Expected the weight (c_out, c_in / groups, kh, kw) of a 2-d convolution, got {came}. For a 1-d "
            "convolution give weight[:, :, None] and (1, length); 3-d convolutions are not supported."
        )
    size = _pair("input_size", input_size)
    step, spread = _pair("stride", stride), _pair("dilation", dilation)
    if isinstance(groups, bool) or not isinstance(groups, int) or groups < 1 or len(weight) % groups:
        raise BadInput(f"Expected groups that divide the {len(weight)} output channels, got {groups!r}.")
    if size[0] % step[0] or size[1] % step[1]:
        rounded = tuple(-(-m // s) * s for m, s in zip(size, step, strict=True))
        raise BadInput(
            f"The stride {step} does not divide the input size {size}: with circular padding the operator is then no "
            f"convolution. Take the next multiple of the stride, {rounded}."
        )
    outputs = (size[0] // step[0], size[1] // step[1])
    aliased = step[0] * step[1]
    wide = weight.detach().to(torch.complex128 if weight.is_complex() else torch.float64)
    kernel = _wrapped(_dilated(wide, spread), size)
    if not kernel.isfinite().all():
        count = outputs[0] * outputs[1] * groups * min(len(weight) // groups, aliased * weight.shape[1])
        return torch.full((count,), torch.nan, dtype=torch.float64, device=weight.device)
    blocks = _blocks(kernel, step, groups)
    if weight.is_complex():
        return torch.linalg.svdvals(blocks).flatten().sort(descending=True).values
    # Of a real kernel the output's frequencies v and -v have the same singular values: half of them suffices.
    values = torch.linalg.svdvals(blocks[:, : outputs[1] // 2 + 1])
    mirrored = values[:, 1 : (outputs[1] + 1) // 2]
    return torch.cat([values.flatten(), mirrored.flatten()]).sort(descending=True).values


def _blocks(kernel: Tensor, stride: tuple[int, int], groups: int) -> Tensor:
    """(height / s, width / s, groups, c_out / groups, s * s * c_in / groups): a matrix for each output frequency.

    With stride 1 only the first half of the columns is there for a real kernel.
    """
    vertical, horizontal = stride
    if vertical * horizontal == 1:
        spectrum = torch.fft.fft2(kernel) if kernel.is_complex() else torch.fft.rfft2(kernel)
        return spectrum.unflatten(0, (groups, -1)).permute(3, 4, 0, 1, 2)
    # (c_out, c_in, aliases, height / s, aliases, width / s)
    spectrum = torch.fft.fft2(kernel).unflatten(3, (horizontal, -1)).unflatten(2, (vertical, -1))
    matrices = spectrum.unflatten(0, (groups, -1)).permute(4, 6, 0, 1, 3, 5, 2).flatten(4)
    return matrices / math.sqrt(vertical * horizontal)


def _pair(name: str, given: Any) -> tuple[int, int]:
    """Vertical and horizontal, of one number for both or of two."""
    both = tuple(given) if isinstance(given, (tuple, list)) else (given, given)
    whole = [int(each) for each in both if hasattr(each, "__index__") and not isinstance(each, bool)]
    if len(both) != 2 or len(whole) != 2 or min(whole) < 1:
        raise BadInput(f"Expected {name} of at least 1, one number or (vertical, horizontal), got {given!r}.")
    return whole[0], whole[1]


def _dilated(weight: Tensor, dilation: tuple[int, int]) -> Tensor:
    """The kernel with dilation - 1 zeros between its entries."""
    if dilation == (1, 1):
        return weight
    (kh, kw), (vertical, horizontal) = weight.shape[2:], dilation
    spread = weight.new_zeros(*weight.shape[:2], (kh - 1) * vertical + 1, (kw - 1) * horizontal + 1)
    spread[:, :, ::vertical, ::horizontal] = weight
    return spread


def _wrapped(weight: Tensor, size: tuple[int, int]) -> Tensor:
    """(c_out, c_in, height, width): the kernel laid on the image, added up where it goes around."""
    (kh, kw), (height, width) = weight.shape[2:], size
    rows, columns = -(-kh // height), -(-kw // width)
    padded = functional.pad(weight, (0, columns * width - kw, 0, rows * height - kh))
    return padded.unflatten(3, (columns, width)).unflatten(2, (rows, height)).sum((2, 4))
