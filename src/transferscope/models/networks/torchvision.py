"""Any image classifier of torchvision, by its name, with any build of torch.

A published wheel of torchvision is built for one build of torch. Beside another one, such as a torch for the CPU only,
its compiled operators don't load, and then `import torchvision` itself fails, because it describes two of them: `nms`
and `qnms`. Networks for classification use neither. Where the operators can't be loaded, these two get a name, so that
the rest of the package works; calling them is an error as before.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from transferscope.core.errors import BadInput, did_you_mean
from transferscope.core.options import Arguments, ForeignNetwork, FrozenMap

if TYPE_CHECKING:
    import torch
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
SCHEMAS = {
    name: f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor" for name in ("nms", "qnms")
}
_defined: list[torch.library.Library] = []  # an operator lives as long as its library


def build(options: Torchvision, num_classes: int, channels: int, image_size_px: int | None) -> nn.Module:
    """The network for images of this size.

    Raises:
        BadInput: torchvision isn't there, has no such model, or refuses the arguments or the channels.
    """
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


def import_torchvision(extra: str) -> Any:
    """The package torchvision.

    Args:
        extra: what needs it, for the message.

    Raises:
        BadInput: it isn't installed; the message names the extra.
    """
    if importlib.util.find_spec("torchvision") is None:
        raise BadInput(
            f"networks of {extra} need the package torchvision, which isn't installed. "
            "Install it with: pip install 'transferscope[timm]'"
        )
    if "torchvision" not in sys.modules:
        _define_missing_operators()
    return importlib.import_module("torchvision")


def _define_missing_operators() -> None:
    import torch

    if _defined or _extension_loads():
        return
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name, schema in SCHEMAS.items():
        if not hasattr(torch.ops.torchvision, name):
            library.define(schema)
    _defined.append(library)


def _extension_loads() -> bool:
    import torch

    found = importlib.util.find_spec("torchvision")
    places = [] if found is None else list(found.submodule_search_locations or ())
    for file in sorted(file for place in places for file in Path(place).glob("_C*")):
        try:
            torch.ops.load_library(file)
        except OSError:
            continue
        return True
    return False
