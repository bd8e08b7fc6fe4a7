"""torchvision with any build of torch.

A published wheel of torchvision is built for one build of torch. Beside another one, such as a torch for the CPU
only, its compiled operators don't load, and then `import torchvision` itself fails, because it describes two of
them: `nms` and `qnms`. Networks for classification use neither. Where the operators really can't be loaded, these
two get a name, so that the rest of the package works; calling them is an error as before.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transferscope.core.errors import BadInput

if TYPE_CHECKING:
    import torch

SCHEMAS = {
    name: f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor" for name in ("nms", "qnms")
}
_defined: list[torch.library.Library] = []  # an operator lives as long as its library


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
