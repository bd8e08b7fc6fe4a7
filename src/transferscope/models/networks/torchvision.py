"""Any image classifier of torchvision, by its name."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Literal

from transferscope.core.errors import BadInput, did_you_mean
from transferscope.core.options import Arguments, ForeignNetwork, FrozenMap

if TYPE_CHECKING:
    from torch import nn


class Torchvision(ForeignNetwork):
    """An image classifier of torchvision at its own random initialization."""

    name: Literal["torchvision"] = "torchvision"
    """Name of the network."""
    model: str
    """torchvision's name for it, such as resnet18 or vit_b_16."""
    arguments: Arguments = FrozenMap()
    """Further arguments of the model, such as dropout."""


OPTIONS = {"torchvision": Torchvision}


def build(options: Torchvision, num_classes: int, channels: int, image_size_px: int | None) -> nn.Module:
    """The network for images of this size.

    Raises:
        BadInput: torchvision isn't there, has no such model, or refuses the arguments or the channels.
    """
    from transferscope.models.torchvision_ops import import_torchvision

    models = import_torchvision("torchvision").models
    names = models.list_models(module=models)
    if options.model not in names:
        raise BadInput(
            f"torchvision has no image classifier '{options.model}'.{did_you_mean(options.model, names)}"
        )
    if channels != 3:
        raise BadInput(
            f"networks of torchvision take images of 3 channels, these have {channels}. Take the network of the "
            "same name from timm, which takes any number."
        )
    arguments = {"num_classes": num_classes, **options.arguments}
    parameters = _parameters(models.get_model_builder(options.model))
    if image_size_px is not None and "image_size" in parameters:
        arguments.setdefault("image_size", image_size_px)
    if "aux_logits" in parameters:
        # auxiliary heads would make the output a tuple, and their losses belong to another recipe
        arguments |= {"aux_logits": False, "init_weights": True}
    try:
        return models.get_model(options.model, weights=None, **arguments)
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise BadInput(
            f"torchvision can't make '{options.model}' with {arguments}: {str(error) or type(error).__name__}."
        ) from error


def _parameters(builder: object) -> set[str]:
    """Names of the arguments of a builder, and of the class that it hands `**kwargs` to."""
    found = set(inspect.signature(builder).parameters)  # pyright: ignore[reportArgumentType]
    made = inspect.signature(builder).return_annotation  # pyright: ignore[reportArgumentType]
    if isinstance(made, str):
        made = getattr(inspect.getmodule(builder), made, None)
    return found | set(inspect.signature(made).parameters) if inspect.isclass(made) else found
