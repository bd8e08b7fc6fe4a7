"""Any image model of timm, by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from transferscope.core.errors import BadInput, did_you_mean
from transferscope.core.options import Arguments, ForeignNetwork, FrozenMap

if TYPE_CHECKING:
    from torch import nn


class Timm(ForeignNetwork):
    """An image model of timm at its own random initialization."""

    name: Literal["timm"] = "timm"
    """Name of the network."""
    model: str
    """Name of the model in timm, such as resnet18 or vit_small_patch16_224; it may include a tag of weights after a
    dot."""
    arguments: Arguments = FrozenMap()
    """Further arguments of timm.create_model, such as drop_rate."""


OPTIONS = {"timm": Timm}


def build(options: Timm, num_classes: int, channels: int, image_size_px: int | None) -> nn.Module:
    """The network for images of this size.

    Raises:
        BadInput: timm isn't there, has no such model, or refuses the arguments.
    """
    timm = import_timm()
    if not timm.is_model(options.model):
        architecture = options.model.partition(".")[0]
        raise BadInput(f"timm has no model '{options.model}'.{_nearest(architecture, timm.list_models())}")
    arguments = {"num_classes": num_classes, "in_chans": channels, **options.arguments}
    cfg = timm.get_pretrained_cfg(options.model)
    if image_size_px is not None and cfg is not None and cfg.fixed_input_size:
        # models such as ViTs are made for one size of image; the others take any
        arguments.setdefault("img_size", image_size_px)
    try:
        return timm.create_model(options.model, pretrained=False, **arguments)
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise BadInput(
            f"timm can't make '{options.model}' with {arguments}: {str(error) or type(error).__name__}. "
            "See timm.create_model for what `arguments` may hold."
        ) from error


def import_timm() -> Any:
    """The package timm, where torch has no GPU too. Raises BadInput that names the extra."""
    from transferscope.models.networks.torchvision import import_torchvision

    import_torchvision("timm")
    try:
        import timm
    except ImportError as error:
        raise BadInput(f"the package timm can't be imported ({error}). {INSTALL}") from None
    return timm


INSTALL = "Install it with: pip install 'transferscope[timm]'"


def _nearest(name: str, names: list[str]) -> str:
    hint = did_you_mean(name, names)
    # over a thousand names are no help
    return hint if len(hint) < 100 else " List them with timm.list_models()."
