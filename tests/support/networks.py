"""Networks of a user's own, so small that all of an analysis runs in seconds."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

needs_timm = pytest.mark.skipif(
    importlib.util.find_spec("timm") is None, reason="timm isn't installed (extra `timm`)"
)


class Plain(nn.Module):
    """Two convolutions with BatchNorm, an in-place and a shared ReLU, dropout, and two linear layers."""

    def __init__(self, num_classes: int, channels: int = 3, width: int = 4) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride=2, padding=1)
        self.norm1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.norm2 = nn.BatchNorm2d(2 * width)
        self.hidden = nn.Linear(2 * width, 8)
        self.dropout = nn.Dropout(0.1)
        self.classifier = nn.Linear(8, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm1(self.conv1(x)))
        x = self.relu(self.norm2(self.conv2(x)))
        x = F.relu(self.hidden(x.mean(dim=(2, 3))))
        return self.classifier(self.dropout(x))


class Dead(nn.Module):
    """`conv2` gives the same number for every image and never fires; `unused` is never called."""

    def __init__(self, num_classes: int, channels: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 4, 3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1)
        self.unused = nn.Linear(3, 3)
        self.classifier = nn.Linear(4, num_classes)
        with torch.no_grad():
            for parameter in self.conv2.parameters():
                parameter.fill_(-1.0 if parameter.ndim == 1 else 0.0)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv1(x))
        x = x + F.relu(self.conv2(x))
        return self.classifier(x.mean(dim=(2, 3)))


class Tied(nn.Module):
    """Two convolutions of one and the same weights."""

    def __init__(self, num_classes: int, channels: int = 3) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, 4, 3, stride=2, padding=1)
        self.first, self.second = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.second.weight = self.first.weight
        self.classifier = nn.Linear(4, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.second(F.relu(self.first(self.stem(x)))))
        return self.classifier(x.mean(dim=(2, 3)))


class TextTransformer(nn.Module):
    """(n, length) tokens to (n, num_classes) logits."""

    def __init__(self, num_classes: int, vocabulary: int = 20, length: int = 6, width: int = 12) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.places = nn.Embedding(length, width)
        layer = nn.TransformerEncoderLayer(
            width, 2, 2 * width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, num_classes)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.tokens(tokens) + self.places(torch.arange(tokens.shape[1], device=tokens.device))
        return self.out(self.norm(self.encoder(x)).mean(dim=1))


def text_transformer(num_classes: int) -> nn.Module:
    """A factory for the network `module`."""
    return TextTransformer(num_classes)


class PixelTransformer(TextTransformer):
    """The text transformer where there are only images: a few of their pixels, from -1 to 1, are the tokens."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes, length=16)

    def forward(self, tokens: Tensor) -> Tensor:
        pixels = tokens[:, 0, 4::8, 4::8].flatten(1)
        return super().forward(pixels.mul(8).long().add(10).clamp(0, 19))


class TwoOutputs(Plain):
    """Logits and features, as some networks give."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return super().forward(x), x


def a_number(num_classes: int) -> int:
    """No network."""
    return num_classes


NOT_CALLABLE = 3


def perceptron(num_classes: int) -> nn.Module:
    """Layers that PyTorch draws with no constant in them."""
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(),
        nn.Linear(24, num_classes),
    )  # fmt: skip


def lazy(num_classes: int) -> nn.Module:
    """Layers that take their shapes from the first batch."""
    return nn.Sequential(
        nn.LazyConv2d(8, 3, 2, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.LazyLinear(num_classes),
    )
