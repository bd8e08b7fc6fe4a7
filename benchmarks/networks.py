"""Networks of the benchmarks: a ResNet with BatchNorm, written out so that no library of models is needed.

He, Zhang, Ren, Sun 2016. Its ReLUs don't write in place: some of the others keep references to what a layer
gave, and would compare what an in-place ReLU made of it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Block(nn.Module):
    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(c_out)
        self.down = None
        if stride != 1 or c_in != c_out:
            self.down = nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + (x if self.down is None else self.down(x)))


class ResNet(nn.Sequential):
    """Stem, eight residual blocks, head: ten modules in a chain.

    Args:
        width: channels of the first stage; 64 is ResNet-18.
        num_classes: outputs.
        large: 7 x 7 stem of stride 2 with a pooling, as for photographs; else a 3 x 3 stem.
        seed: of the weights.
    """

    def __init__(self, width: int, num_classes: int, *, large: bool, seed: int) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            super().__init__(*_stem(width, large), *_blocks(width), _head(8 * width, num_classes))
        self.eval()


def _stem(width: int, large: bool) -> list[nn.Module]:
    if large:
        conv: nn.Module = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        return [nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(3, 2, 1))]
    return [nn.Sequential(nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())]


def _blocks(width: int) -> list[nn.Module]:
    blocks: list[nn.Module] = []
    c_in = width
    for stage in range(4):
        for index in range(2):
            c_out = width * 2**stage
            blocks.append(Block(c_in, c_out, 2 if stage and not index else 1))
            c_in = c_out
    return blocks


def _head(c_in: int, num_classes: int) -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c_in, num_classes))


def convolutions(model: nn.Module) -> list[str]:
    """Names of the convolutions, in order: twenty in a ResNet-18."""
    return [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]


def images(n: int, size_px: int, seed: int = 0) -> Tensor:
    """(n, 3, size_px, size_px) float32."""
    return torch.randn(n, 3, size_px, size_px, generator=torch.Generator().manual_seed(seed))


def settle(model: nn.Module, inputs: Tensor) -> None:
    """Gives BatchNorm the statistics of these inputs, so that activations are of the size they have in life."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for module in norms:
        module.reset_running_stats()
        module.momentum = None  # type: ignore[assignment]
    model.train()
    with torch.no_grad():
        model(inputs)
    model.eval()
