"""From a network's options to the network. Importable without torch: the planner reads the options.

A family of networks is one module in `transferscope.models.networks`, importable without torch, with

- `OPTIONS`: the options models by the network's name,
- `build(options, num_classes, channels, image_size_px)`: a new network, drawn from torch's global generator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from transferscope.core.errors import BadInput, did_you_mean
from transferscope.core.options import NetworkOptions, load_plugin, plugin_names
from transferscope.models.networks.fixup_resnet import FixupResNet as FixupResNet
from transferscope.models.networks.fixup_resnet import FixupResNetPreset as FixupResNetPreset

if TYPE_CHECKING:
    from torch import Tensor, nn

    from transferscope.models.modules.find import Module

PACKAGE = "transferscope.models.networks"


def network_options(name: str) -> type[NetworkOptions]:
    """The options model of the network of this name.

    Raises:
        BadInput: unknown name; the message has the nearest one.
    """
    family = _families().get(name)
    if family is None:
        raise BadInput(f"unknown network '{name}'.{did_you_mean(name, _families())}")
    return load_plugin(PACKAGE, family, "network").OPTIONS[name]


def network_from_text(text: str) -> NetworkOptions:
    """The options behind a short spelling: timm:resnet18, torchvision:resnet18, package.module:factory, or a name.

    >>> network_from_text("timm:resnet18").model
    'resnet18'
    >>> network_from_text("my_networks.small:make").factory
    'my_networks.small:make'

    Raises:
        BadInput: none of these.
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
    """A new network, its weights drawn from torch's global generator.

    Args:
        options: the network.
        num_classes: outputs.
        channels: of the images.
        image_size_px: side of the images, for networks that are made for one size.

    Raises:
        BadInput: a package is missing, or what is asked for isn't there.
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
    """The network's modules as its options name them, from the stem to the head.

    Args:
        options, model: the network.
        num_classes: its outputs.
        channels, image_size_px: of the images. A pass over two shows the head and the order; without a size these are
            as defined.

    Raises:
        BadInput: they can't be found, the options' patterns don't fit, or the network can't be run on such images.
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
    """Runs a network with lazy layers once, in evaluation mode: they draw their weights when they see inputs."""
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
    """Network name -> the module that knows it."""
    return {
        name: family
        for family in plugin_names(PACKAGE)
        for name in load_plugin(PACKAGE, family, "network").OPTIONS
    }
