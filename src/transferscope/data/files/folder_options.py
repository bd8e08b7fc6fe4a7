"""The options of images in one folder per class. Imports no torch."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from transferscope.core.options import FileOptions, Frozen, later_option
from transferscope.data.files.split_share import Share
from transferscope.data.files.stored_size import refuse_stored_size


def one_group(pattern: str | None) -> str | None:
    """The regular expression as it is. Raises ValueError if it is none, or has not one group in parentheses."""
    if pattern is None:
        return None
    try:
        num_groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from None
    if num_groups != 1:
        raise ValueError(f"has {num_groups} groups in parentheses; expected one, as in '(patient[0-9]+)'")
    return pattern


class SplitFolders(Frozen):
    """Names of the folders of the two splits, below the root."""

    train: str | None = None
    """The folder of the training images; by default train."""
    test: str | None = None
    """The folder of the test images; by default test (val for ImageNet)."""


class FolderOptions(FileOptions):
    """The options of images in folders."""

    root: Path
    """The folder that holds those of the splits."""
    image_size_px: int = Field(default=224, ge=8, le=1024)
    """Side of the square images."""
    resize: Literal["crop", "pad", "stretch", "evaluation"] = "crop"
    """crop: the short side is resized to image_size_px and the middle is kept. pad: the long side is, and the
    rest is filled with the image's mean colour, so that nothing is cut off. stretch: both sides are, whatever the
    proportions, as torchvision's Resize((side, side)) does. evaluation: the short side is resized to 256/224 of
    image_size_px and the middle is kept, as ImageNet networks are evaluated."""
    stored_size_px: int | None = later_option(ge=16, le=2048)
    """Side at which training images are stored besides, a multiple of image_size_px: augmentation then takes its crops
    from images of this side, so that a crop has details of its own. Default: crops are taken from images of
    image_size_px and enlarged."""
    max_train_size: int | None = Field(default=None, ge=2)
    """Maximum number of training images, spread evenly over the classes; default: all."""
    max_test_size: int | None = Field(default=None, ge=2)
    """Maximum number of test images, spread evenly over the classes; default: all."""
    seed: int = Field(default=0, ge=0)
    """Seed of the selection and of the order of the images."""
    splits: SplitFolders | None = later_option()
    """Which folders hold the splits, as in {train: training, test: val}."""
    test_share: Share | None = later_option()
    """For images without a test split, <root>/<class>/<image>: the share of each class that is for testing. Default:
    a fifth if no folder below the root is named as a split; see `transferscope.data.files.split_share`. all: each image
    is in both splits, for networks that were trained elsewhere, as `compare` does by default."""
    split_seed: int | None = later_option(ge=0)
    """Seed of that split; default: 0."""
    group_pattern: str | None = later_option()
    """A regular expression with one group in parentheses, which finds the name of a patient or scene in the path of an
    image: "(patient[0-9]+)". `test_share` then puts all images of one name into the same split."""
    exclude: tuple[str, ...] = later_option(())
    """Patterns of files and folders to leave out, by their name or their path below the root: "*_mask*"."""
    channels: int | None = later_option(ge=1, le=64)
    """Number of channels of the images: 3 by default, of which grey images fill all; 1 for grey values, to which
    colours are converted; other numbers for TIFF and .npy files that have so many."""
    grey_range: tuple[float, float] | None = later_option()
    """The grey values that become black and white, for 16-bit images. Default: 0 and 65535 if the training images
    use at least half of this range, otherwise their lowest and highest value."""

    @field_validator("exclude", mode="before")
    @classmethod
    def _one_pattern(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("group_pattern", mode="after")
    @classmethod
    def _one_group(cls, value: str | None) -> str | None:
        return one_group(value)

    @field_validator("grey_range", mode="after")
    @classmethod
    def _black_below_white(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and value[0] >= value[1]:
            raise ValueError(
                "the first value becomes black and must be less than the second, which becomes white"
            )
        return value

    @model_validator(mode="after")
    def _stored_size(self) -> FolderOptions:
        refuse_stored_size(self.stored_size_px, self.image_size_px)
        return self
