"""Singular values of a convolution as a linear operator."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from transferscope.errors import BadInput


def conv_singular_values(weight: Tensor, input_size: int | tuple[int, int], *, groups: int = 1) -> Tensor:
    """All singular values of a 2-d convolution on images of this size, with circular padding and stride 1.

    The operator is block-diagonal in the Fourier basis: its singular values are those of the c_out x c_in
    matrices F[u, v], one for each frequency, where F is the 2-d discrete Fourier transform of the kernel
    (Sedghi, Gupta, Long 2019, theorem 6). A kernel larger than the image wraps around it. Zero padding and a
    stride give another operator; its spectrum is near this one where the image is much larger than the
    kernel.

    Args:
        weight: (c_out, c_in / groups, kh, kw), as PyTorch stores it.
        input_size: side of the image in pixels, or (height, width).
        groups: of the convolution.

    Returns:
        (height * width * groups * min(c_out, c_in) / groups,) float64, at least 0, descending; NaN where a
        weight is not finite.

    Raises:
        BadInput: another number of axes, a size below 1, groups that don't divide the channels.

    >>> import torch
    >>> conv_singular_values(torch.tensor([[[[1.0, -1.0]]]]), (1, 2))
    tensor([2., 0.], dtype=torch.float64)
    """
    height, width = (input_size, input_size) if isinstance(input_size, int) else input_size
    if weight.ndim != 4 or min(height, width) < 1 or groups < 1 or len(weight) % groups:
        raise BadInput(
            "Expected a weight (c_out, c_in / groups, kh, kw), an input of at least 1 pixel and groups that "
            f"divide c_out, got {tuple(weight.shape)}, {input_size} and {groups}."
        )
    kernel = _wrapped(weight.detach().double(), height, width)
    if not kernel.isfinite().all():
        count = height * width * groups * min(len(weight) // groups, weight.shape[1])
        return torch.full((count,), torch.nan, dtype=torch.float64, device=weight.device)
    # Of a real kernel the frequencies u and -u have the same singular values: half of them suffices.
    half = torch.fft.rfft2(kernel)
    matrices = half.unflatten(0, (groups, -1)).permute(3, 4, 0, 1, 2)
    values = torch.linalg.svdvals(matrices)
    mirrored = values[:, 1 : (width + 1) // 2]
    return torch.cat([values.flatten(), mirrored.flatten()]).sort(descending=True).values


def _wrapped(weight: Tensor, height: int, width: int) -> Tensor:
    """(c_out, c_in, height, width): the kernel laid on the image, added up where it goes around."""
    kh, kw = weight.shape[2:]
    rows, columns = -(-kh // height), -(-kw // width)
    padded = functional.pad(weight, (0, columns * width - kw, 0, rows * height - kh))
    return padded.unflatten(3, (columns, width)).unflatten(2, (rows, height)).sum((2, 4))
