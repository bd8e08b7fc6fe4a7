"""From uint8 images to the float images that a network sees."""

from __future__ import annotations

import torch
from torch import Tensor

from transferscope.core.errors import BadInput, did_you_mean
from transferscope.core.options import IMAGENET, MeanStd, NamedNormalization, Normalization

NORMALIZATIONS: tuple[NamedNormalization, ...] = ("per_image", "unit", "imagenet", "centred_64")
PER_IMAGE_FLOOR = 0.1
"""Added to an image's standard deviation, so that a flat image stays flat and its noise isn't blown up."""


def normalize(images: Tensor, how: Normalization, dtype: torch.dtype = torch.float32) -> Tensor:
    """The images as the network sees them.

    With x = images / 255:

    - "per_image": (x - m_c) / (s + 0.1), with m_c the mean of the image's channel c and s the root mean
      square of x - m_c over all channels and pixels of the image. Brightness and colour cast go, the contrast
      between channels stays. The same before and after a block shuffle, up to rounding.
    - "unit": (x - 0.5) / 0.5, from -1 to 1.
    - "imagenet": (x - mean_c) / std_c with the constants that most published ImageNet weights expect.
    - MeanStd: the same with constants of its own.
    - "centred_64": (images - 128) / 64, about -2 to 2, as the paper does with CheXpert.

    Args:
        images: (n, channels, height, width), uint8; "imagenet" needs 3 channels, MeanStd as many as it has.
        how: one of "per_image", "unit", "imagenet", "centred_64", or a MeanStd.
        dtype: precision of the computation and of the result.

    Returns:
        (n, channels, height, width), of that dtype, in the memory format of `images`.

    Raises:
        BadInput: `images` has another dtype, number of axes or of channels, or `how` is unknown.

    Source: "imagenet": the constants of torchvision's reference training; "centred_64": the paper's
    released code; "per_image": this project.

    >>> normalize(torch.tensor([[[[0, 255]]]], dtype=torch.uint8), "unit")
    tensor([[[[-1.,  1.]]]])
    """
    if images.dtype != torch.uint8 or images.ndim != 4:
        raise BadInput(
            "images to normalize must be uint8 of shape (n, channels, height, width); these are "
            f"{images.dtype} of shape {tuple(images.shape)}."
        )
    if isinstance(how, MeanStd):
        return _by_constants(images, how, "by mean and std", dtype)
    if how == "per_image":
        return _per_image(images, dtype)
    if how == "unit":
        return images.to(dtype).mul_(2 / 255).sub_(1)
    if how == "imagenet":
        return _by_constants(images, IMAGENET, "'imagenet'", dtype)
    if how == "centred_64":
        return images.to(dtype).sub_(128).div_(64)
    raise BadInput(f"unknown normalization '{how}'.{did_you_mean(how, NORMALIZATIONS)}")


def _per_image(images: Tensor, dtype: torch.dtype) -> Tensor:
    # In units of 0 to 255 throughout: one pass less over the data.
    centred = images.to(dtype)
    centred.sub_(centred.mean(dim=(2, 3), keepdim=True))
    size = centred[0].numel() if len(centred) else 1
    deviation = torch.linalg.vector_norm(centred, dim=(1, 2, 3), keepdim=True).div_(size**0.5)
    return centred.div_(deviation.add_(255 * PER_IMAGE_FLOOR))


def _by_constants(images: Tensor, how: MeanStd, what: str, dtype: torch.dtype) -> Tensor:
    channels = len(how.mean)
    if images.shape[1] != channels:
        raise BadInput(
            f"the normalization {what} needs {channels} channels; these images have {images.shape[1]}. "
            "Use 'per_image' or 'unit'."
        )
    mean, std = (
        torch.tensor(each, device=images.device, dtype=dtype).view(-1, 1, 1) for each in (how.mean, how.std)
    )
    return images.to(dtype).sub_(255 * mean).div_(255 * std)
