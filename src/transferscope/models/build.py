"""Builds a network from its options. Importable without torch, because the planner reads the options.

A family of networks is one module in `transferscope.models.networks`, importable without torch, that defines

- `OPTIONS`: network name -> options model,
- `build(options, num_classes, channels, image_size_px)`: a new network, initialized with torch's global generator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from transferscope.core.errors import BadInput, did_you_mean
from transferscope.core.options import NetworkOptions, load_plugin, plugin_names
from transferscope.models.networks.fixup_resnet import FixupResNetOptions as FixupResNetOptions
from transferscope.models.networks.fixup_resnet import FixupResNetPreset as FixupResNetPreset

if TYPE_CHECKING:
    from torch import Tensor, nn

    from transferscope.models.modules.find import Module

PACKAGE = "transferscope.models.networks"


def network_options(name: str) -> type[NetworkOptions]:
    """The options model of the network of this name.

    Raises:
        BadInput: the name is unknown; the message suggests the nearest one.
    """
    family = _families().get(name)
    if family is None:
        raise BadInput(f"unknown network '{name}'.{did_you_mean(name, _families())}")
    return load_plugin(PACKAGE, family, "network").OPTIONS[name]


def network_from_text(text: str) -> NetworkOptions:
    """The options for a short name: timm:resnet18, torchvision:resnet18, package.module:factory, or a name.

    >>> network_from_text("timm:resnet18").model
    'resnet18'
    >>> network_from_text("my_networks.small:make").factory
    'my_networks.small:make'

    Raises:
        BadInput: the text has none of these forms.
    """
    family, colon, name = text.partition(":")
    try:
        if not colon:
            return network_options(text).model_validate({"name": text})
        if family in ("timm", "torchvision"):
            if not name:
                raise BadInput(f"'{text}' names no model; write {family}:resnet18, for instance.")
            return network_options(family).model_validate({"name": family, "model": name})
        return network_options("module").model_validate({"name": "module", "factory": text})
    except ValidationError:
        raise BadInput(
            f"can't read the network '{text}'. Valid: timm:<model>, torchvision:<model>, "
            f"<package.module>:<function>, or one of {', '.join(sorted(_families()))} where all its options have "
            "defaults."
        ) from None


def build(
    options: NetworkOptions, num_classes: int, channels: int = 3, image_size_px: int | None = None
) -> nn.Module:
    """A new network, initialized with torch's global generator.

    Args:
        options: options of the network.
        num_classes: number of outputs.
        channels: channels of the images.
        image_size_px: side of the images, for networks with a fixed input size.

    Raises:
        BadInput: a package is missing, or the network doesn't exist.
    """
    family = _families().get(options.name)
    if family is None:
        raise BadInput(f"no network is known for {type(options).__name__}")
    made = load_plugin(PACKAGE, family, "network").build(options, num_classes, channels, image_size_px)
    _give_lazy_layers_shapes(made, channels, image_size_px)
    return made


def modules_of(
    options: NetworkOptions,
    model: nn.Module,
    num_classes: int,
    channels: int = 3,
    image_size_px: int | None = None,
) -> dict[str, Module]:
    """The modules of a network, as its options define them, from the stem to the head.

    Args:
        options, model: the network.
        num_classes: number of outputs.
        channels, image_size_px: channels and side of the images. A pass over two images determines the head and the
            order; without a size, the order of definition is used.

    Raises:
        BadInput: no modules are found, the patterns of the options don't match, or the network can't process such
            images.
    """
    from transferscope.models.modules.find import find_modules

    choice: Any = getattr(options, "modules", "blocks")
    example = None if image_size_px is None else example_images(channels, image_size_px)
    return find_modules(model, num_classes=num_classes, choice=choice, example=example)


def example_images(channels: int, image_size_px: int) -> Tensor:
    """Two different images (2, channels, size, size), the same at each call."""
    import torch

    shape = (2, channels, image_size_px, image_size_px)
    return torch.linspace(-1, 1, 2 * channels * image_size_px**2).reshape(shape)


def _give_lazy_layers_shapes(model: nn.Module, channels: int, image_size_px: int | None) -> None:
    """Run a network with lazy layers once, in evaluation mode, which initializes them."""
    import torch
    from torch.nn.parameter import is_lazy

    if not any(is_lazy(each) for each in (*model.parameters(), *model.buffers())):
        return
    wanted = f"{type(model).__name__} has lazy layers, which take their shapes from a first batch"
    if image_size_px is None:
        raise BadInput(f"{wanted}; the size of the images is needed.")
    modes = [(module, module.training) for module in model.modules()]
    try:
        with torch.no_grad():
            model.eval()(example_images(channels, image_size_px))
    except Exception as error:
        raise BadInput(
            f"{wanted}; on images (2, {channels}, {image_size_px}, {image_size_px}) it raised "
            f"{type(error).__name__}: {error}"
        ) from error
    finally:
        for module, training in modes:
            module.training = training


def _families() -> dict[str, str]:
    """Network name -> the module that defines it."""
    return {
        name: family
        for family in plugin_names(PACKAGE)
        for name in load_plugin(PACKAGE, family, "network").OPTIONS
    }
