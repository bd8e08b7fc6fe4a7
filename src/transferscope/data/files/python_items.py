"""Items of data sets in Python: the image and the label of an item, and the image as a uint8 square."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from transferscope.core.errors import BadInput

if TYPE_CHECKING:
    import numpy as np

    from transferscope.data.files.grey_levels import GreyLevels
    from transferscope.data.files.squares import Originals

IMAGE_KEYS = ("image", "img", "pixel_values", "x")
LABEL_KEYS = ("label", "labels", "target", "y")
"""Possible keys of the image and the label if an item is a dict."""
MAX_TRIES = 10
"""Number of images whose labels are read to determine the type of the labels."""
SHAPE_HINT = (
    "an image is a PIL image, or an array or a tensor (h, w), (h, w, 1 or 3) or (1 or 3, h, w), of uint8 or of "
    "floats from 0 to 1"
)


def item_of(split: Any, row: int) -> tuple[Any, Any]:
    """The image and the label of an item. Raises ValueError if the item has another form."""
    item = split[row]
    if isinstance(item, Mapping):
        images, labels = ([key for key in keys if key in item] for keys in (IMAGE_KEYS, LABEL_KEYS))
        if len(images) != 1 or len(labels) != 1:
            raise ValueError(
                f"a dict of {', '.join(map(repr, item))}; expected one of {', '.join(IMAGE_KEYS)} and one of "
                f"{', '.join(LABEL_KEYS)}"
            )
        return item[images[0]], item[labels[0]]
    if not isinstance(item, tuple | list) or len(item) != 2:
        came = f"{len(item)} values" if isinstance(item, tuple | list) else f"a {type(item).__name__}"
        raise ValueError(f"{came}; expected a pair of an image and its label, or a dict of the two")
    return item[0], item[1]


def first_label(split: Any, where: str) -> Any:
    """The label of the first readable image, which shows the type of the labels."""
    reason = ""
    for row in range(min(len(split), MAX_TRIES)):
        try:
            return item_of(split, row)[1]
        except Exception as error:  # the user's code may raise anything
            reason = f"{type(error).__name__}: {error}"
    raise BadInput(
        f"{where}: none of the first {MAX_TRIES} images can be had ({reason}). Expected an image and "
        "its label at each number."
    )


class ItemPixels:
    """Converts images to uint8 squares; grey values with more than 8 bits are mapped by the range of the training
    images."""

    def __init__(self, levels: GreyLevels, originals: Originals, train: Any, rows: Sequence[int]) -> None:
        self._levels, self._originals = levels, originals
        self._train, self._rows = train, rows
        self._has_range = levels.stated is not None

    def pixels(self, image: Any) -> np.ndarray:
        """(3, side, side) or (side, side), uint8."""
        import numpy as np
        from PIL import Image, ImageOps

        from transferscope.data.files.grey_levels import grey_kind
        from transferscope.data.files.squares import square, to_rgb

        side = self._originals.size_px
        if not isinstance(image, Image.Image):
            array = _as_uint8(np.asarray(image.detach().cpu() if hasattr(image, "detach") else image))
            self._originals.sizes[array.shape[1], array.shape[0]] += 1
            self._originals.add_square(array)
            if array.shape[:2] == (side, side):
                return array if array.ndim == 2 else array.transpose(2, 0, 1)
            image = Image.fromarray(array if array.ndim == 2 or array.shape[2] == 3 else array[:, :, 0])
        else:
            self._originals.add(image)
            image = ImageOps.exif_transpose(image)
        if grey_kind(image) is not None and not self._has_range:
            self._look_at_training_images()
        rgb = to_rgb(image, self._levels)
        pixels = np.asarray(rgb) if rgb.size == (side, side) else square(rgb, side, self._originals.resize)
        self._originals.add_square(pixels)
        return pixels.transpose(2, 0, 1)

    def _look_at_training_images(self) -> None:
        """Called once, for the first image with more than 8 bits."""
        import numpy as np
        from PIL import Image

        from transferscope.data.files.grey_levels import grey_kind

        self._has_range = True
        for row in self._rows:
            try:
                image, _ = item_of(self._train, row)
                if isinstance(image, Image.Image) and (kind := grey_kind(image)) is not None:
                    self._levels.look_at(np.asarray(image), kind)
            except Exception:  # reading the image for itself will say what is wrong
                continue


def _as_uint8(array: np.ndarray) -> np.ndarray:
    """(h, w), (h, w, 1) or (h, w, 3), uint8."""
    import numpy as np

    if array.dtype.kind == "f":
        # a comparison with NaN is false
        if not ((array >= 0) & (array <= 1)).all():
            raise ValueError(
                f"floats from {array.min():g} to {array.max():g}; {SHAPE_HINT}: leave normalizing out, and divide "
                "what goes to 255"
            )
        array = np.rint(array.astype(np.float64) * 255).astype(np.uint8)
    if array.ndim == 3 and array.shape[0] in (1, 3) and array.shape[2] in (1, 3):
        raise ValueError(
            f"the shape {array.shape}, of which the first or the last may be the channels; {SHAPE_HINT}"
        )
    if array.ndim == 3 and array.shape[2] not in (1, 3) and array.shape[0] in (1, 3):
        array = array.transpose(1, 2, 0)
    if array.dtype != np.uint8 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3))):
        raise ValueError(f"{array.dtype} of shape {array.shape}; {SHAPE_HINT}")
    return array
