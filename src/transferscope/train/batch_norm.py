"""BatchNorm with the statistics of the whole batch, over all processes of a training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode


class _Total(torch.autograd.Function):
    """The sum over the processes; its gradient is the sum of their gradients."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:  # noqa: ARG004
        return _total(tensor)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # noqa: ARG004
        return _total(gradients[0])


def _total(tensor: Tensor) -> Tensor:
    total = tensor.contiguous().clone()
    torch.distributed.all_reduce(total)
    return total


def whole_batch_norm(
    inputs: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """`torch.nn.functional.batch_norm` in training, with mean and variance over the batches of all processes.

    Computes the mean before the variance, in two passes, which avoids cancellation. The running statistics become
    those of one process with the whole batch, with the variance divided by n - 1. `torch.nn.SyncBatchNorm` computes
    the same, but only on GPUs.

    Args:
        inputs: (n, channels, ...), this process's part of the batch.
        running_mean, running_var: (channels,), changed in place.
        weight, bias: (channels,).
        momentum: weight of the batch in the running statistics.
        eps: added to the variance.
    """
    axes = [axis for axis in range(inputs.ndim) if axis != 1]
    shape = [-1 if axis == 1 else 1 for axis in range(inputs.ndim)]
    x = inputs.float() if inputs.dtype in (torch.bfloat16, torch.float16) else inputs
    count = _total(torch.tensor(x.numel() // x.shape[1], dtype=x.dtype, device=x.device))
    mean = _Total.apply(x.sum(axes)) / count
    centred = x - mean.view(shape)
    var = _Total.apply(centred.square().sum(axes)) / count
    with torch.no_grad():
        if running_mean is not None and running_var is not None:
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
            running_var.lerp_((var * count / (count - 1)).to(running_var.dtype), momentum)
    found = centred * torch.rsqrt(var + eps).view(shape)
    if weight is not None:
        found = found * weight.view(shape)
    if bias is not None:
        found = found + bias.view(shape)
    return found.to(inputs.dtype)


class WholeBatchStatistics(TorchFunctionMode):
    """Context manager: BatchNorm in training uses the statistics of all processes, in every module."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = dict(kwargs or {})
        # as it is called with a mode on: the first five in place, the rest by name
        if func is functional.batch_norm and given.get("training"):
            given.pop("training")
            return whole_batch_norm(*args, **given)
        return func(*args, **given)
