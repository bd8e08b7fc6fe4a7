"""Fixup ResNets: of any size, or with the depths and widths of He et al. (2016)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from transferscope.core.options import NetworkOptions

if TYPE_CHECKING:
    from torch import nn


class FixupResNetOptions(NetworkOptions):
    """A Fixup ResNet of any size: residual, without normalisation layers (Zhang, Dauphin, Ma, ICLR 2019)."""

    name: Literal["fixup_resnet"] = "fixup_resnet"
    """Name of the network."""
    block: Literal["basic", "bottleneck"] = "basic"
    """Two 3 x 3 convolutions, or 1 x 1, 3 x 3, 1 x 1 with four times the width at the end."""
    depths: tuple[int, ...] = Field(default=(1, 1, 1, 1), min_length=1)
    """Residual blocks in each stage."""
    widths: tuple[int, ...] = Field(default=(8, 16, 32, 64), min_length=1)
    """Channels of each stage (of its 3 x 3 convolutions)."""
    stem: Literal["small", "imagenet"] = "small"
    """3 x 3 convolution of stride 2, or 7 x 7 of stride 2 and a pooling of stride 2."""
    zero_head: bool = False
    """Start from a head of zeros as in the Fixup paper; drawn at random by default, as in the released code."""

    @model_validator(mode="after")
    def _stages_agree(self) -> FixupResNetOptions:
        if len(self.depths) != len(self.widths):
            raise ValueError(
                f"depths has {len(self.depths)} stages and widths {len(self.widths)}: must be as many"
            )
        if min(*self.depths, *self.widths) < 1:
            raise ValueError("depths and widths must all be at least 1")
        return self


class FixupResNetPreset(NetworkOptions):
    """A Fixup ResNet with the depths and widths of He et al. (2016)."""

    name: Literal["fixup_resnet18", "fixup_resnet34", "fixup_resnet50", "fixup_resnet101"]
    """Name of the network."""
    zero_head: bool = False
    """Start from a head of zeros as in the Fixup paper; drawn at random by default."""

    def expanded(self) -> FixupResNetOptions:
        """The same network, spelt out."""
        block, depths = PRESETS[self.name]
        return FixupResNetOptions(
            block=block, depths=depths, widths=(64, 128, 256, 512), stem="imagenet", zero_head=self.zero_head
        )


PRESETS: dict[str, tuple[Literal["basic", "bottleneck"], tuple[int, ...]]] = {
    "fixup_resnet18": ("basic", (2, 2, 2, 2)),
    "fixup_resnet34": ("basic", (3, 4, 6, 3)),
    "fixup_resnet50": ("bottleneck", (3, 4, 6, 3)),
    "fixup_resnet101": ("bottleneck", (3, 4, 23, 3)),
}
OPTIONS: dict[str, type[NetworkOptions]] = {
    "fixup_resnet": FixupResNetOptions,
    **dict.fromkeys(PRESETS, FixupResNetPreset),
}


def build(
    options: FixupResNetOptions | FixupResNetPreset,
    num_classes: int,
    channels: int,
    image_size_px: int | None,
) -> nn.Module:
    """The network, from the stem over the stages to the head."""
    from transferscope.models.networks import _fixup_resnet

    spelt_out = options.expanded() if isinstance(options, FixupResNetPreset) else options
    arguments = spelt_out.model_dump(exclude={"name"})
    return _fixup_resnet.FixupResNet(**arguments, num_classes=num_classes, channels=channels)
