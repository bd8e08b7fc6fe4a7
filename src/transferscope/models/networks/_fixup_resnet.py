"""Fixup ResNets: residual networks that train without normalisation layers.

Source: Zhang, Dauphin, Ma, "Fixup Initialization: Residual Learning Without Normalization", ICLR 2019.
Shapes below: b images, c channels, h x w pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parameter import Parameter


class ScalarBias(nn.Module):
    """Adds one learned number, initially 0, to its input."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias


def _conv(c_in: int, c_out: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, size, stride, padding=size // 2, bias=False)


class Residual(nn.Module):
    """One residual block: [bias, conv, bias, relu] ..., last conv scaled and biased, plus the shortcut.

    All convolutions of the branch except the last are initialized with He's standard deviation times
    L^(-1 / (2m - 2)) for L blocks in the network and m convolutions in the branch; the last is zero.
    """

    def __init__(self, kind: str, c_in: int, width: int, stride: int, num_blocks: int) -> None:
        super().__init__()
        if kind == "basic":
            convs = [_conv(c_in, width, 3, stride), _conv(width, width, 3)]
        else:
            convs = [_conv(c_in, width, 1), _conv(width, width, 3, stride), _conv(width, 4 * width, 1)]
        self.c_out = convs[-1].out_channels
        self.convs = nn.ModuleList(convs)
        self.biases_in = nn.ModuleList(ScalarBias() for _ in convs)
        self.biases_out = nn.ModuleList(ScalarBias() for _ in convs)
        self.scale = Parameter(torch.ones(1))
        self.shortcut = None if stride == 1 and c_in == self.c_out else _conv(c_in, self.c_out, 1, stride)
        for conv in convs[:-1]:
            _he_normal(conv, num_blocks ** (-1 / (2 * len(convs) - 2)))
        nn.init.zeros_(convs[-1].weight)
        if self.shortcut is not None:
            _he_normal(self.shortcut)

    def forward(self, x: Tensor) -> Tensor:
        x_biased = self.biases_in[0](x)
        y = self.convs[0](x_biased)
        for i in range(1, len(self.convs)):
            y = F.relu(self.biases_out[i - 1](y))
            y = self.convs[i](self.biases_in[i](y))
        y = self.biases_out[-1](y * self.scale)
        return F.relu(y + (x if self.shortcut is None else self.shortcut(x_biased)))


class Stem(nn.Module):
    """First convolution, scalar bias, relu; and pooling for large images."""

    def __init__(self, kind: str, channels: int, width: int) -> None:
        super().__init__()
        self.conv = _conv(channels, width, 3 if kind == "small" else 7, stride=2)
        self.bias = ScalarBias()
        self.pool = nn.Identity() if kind == "small" else nn.MaxPool2d(3, stride=2, padding=1)
        _he_normal(self.conv)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(F.relu(self.bias(self.conv(x))))


class Head(nn.Module):
    """Mean over pixels, scalar bias, linear layer."""

    def __init__(self, c_in: int, num_classes: int, zero: bool) -> None:
        super().__init__()
        self.bias = ScalarBias()
        self.linear = nn.Linear(c_in, num_classes)
        if zero:
            nn.init.zeros_(self.linear.weight)
            nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.bias(x.mean(dim=(2, 3))))


class FixupResNet(nn.Module):
    """Stem, stages `stage1`, `stage2`, ..., and `head`; (b, c, h, w) images to (b, num_classes) logits.

    The arguments except the last two are those of `FixupResNetOptions`.
    """

    def __init__(
        self,
        *,
        block: str,
        depths: Sequence[int],
        widths: Sequence[int],
        stem: str,
        zero_head: bool,
        num_classes: int,
        channels: int,
    ) -> None:
        super().__init__()
        self.stem = Stem(stem, channels, widths[0])
        num_blocks = sum(depths)
        c_in = widths[0]
        self._stages: list[str] = []
        for i, (depth, width) in enumerate(zip(depths, widths, strict=True), start=1):
            blocks: list[Residual] = []
            for j in range(depth):
                stride = 2 if i > 1 and j == 0 else 1
                blocks.append(Residual(block, c_in, width, stride, num_blocks))
                c_in = blocks[-1].c_out
            self.add_module(f"stage{i}", nn.Sequential(*blocks))
            self._stages.append(f"stage{i}")
        self.head = Head(c_in, num_classes, zero_head)
        self.MODULES = {name: (name,) for name, _ in self.named_children()}

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for stage in self._stages:
            x = getattr(self, stage)(x)
        return self.head(x)


def _he_normal(conv: nn.Conv2d, factor: float = 1.0) -> None:
    """He et al. (2015) by fan-out, as in the Fixup paper, times a factor."""
    fan_out = conv.out_channels * conv.kernel_size[0] * conv.kernel_size[1]
    nn.init.normal_(conv.weight, std=factor * (2 / fan_out) ** 0.5)
