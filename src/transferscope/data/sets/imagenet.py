"""ImageNet (ILSVRC 2012) as folders: root/train/<wnid>/*.JPEG and root/val/<wnid>/*.JPEG."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from transferscope.core.datasets import ASSUMED, Description, ImageData
from transferscope.data.files.class_folders import list_folders
from transferscope.data.files.folder_options import FolderOptions

VERSION = 1
TEXT_KEY = "root"
TEST_FOLDER = "val"

NUM_CLASSES = 1000
OFFICIAL_SIZES = (1_281_167, 50_000)
"""Training and validation images, as published."""


class Options(FolderOptions):
    """The options of ImageNet; the validation images are the test images."""

    dataset: Literal["imagenet"] = "imagenet"
    """Name of the data set."""
    root: Path
    """The folder that holds `train` and `val`, each with a folder of images for every class (n01440764, ...)."""
    resize: Literal["crop", "pad", "evaluation"] = "evaluation"
    """evaluation: the short side is resized to 256/224 of image_size_px and the middle is kept, as ImageNet networks
    are evaluated. crop and pad: as of `imagefolder`."""


def describe(options: Options) -> Description:
    """The classes are the folders in `train`, sorted by name; no image is opened.

    Raises:
        BadInput: the folders are not as expected, or hold what can't be used; see `FileOptions.on_bad`.
    """
    listing = list_folders(options, TEST_FOLDER)
    listing.problems.settle(options.on_bad, options.root)
    return listing.description(options.image_size_px, options.channels or 3)


def assumed(options: Options) -> Description:
    """What ILSVRC 2012 holds, with numbers for the names of the classes."""
    num_train, num_test = OFFICIAL_SIZES
    return Description(
        class_names=tuple(f"class {number}" for number in range(NUM_CLASSES)),
        image_size_px=options.image_size_px,
        num_train=min(num_train, options.max_train_size or num_train),
        num_test=min(num_test, options.max_test_size or num_test),
        fingerprint=ASSUMED,
    )


def load(options: Options) -> ImageData:
    """Decode the images, in random order; ids are paths relative to the root.

    Raises:
        BadInput: as `describe`, or there are images that can't be used; see `FileOptions.on_bad`.

    Source: O. Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, IJCV 2015.
    """
    from transferscope.data.files.decode import SquareDecoder
    from transferscope.data.files.load_list import load_list

    channels = options.channels or 3
    decode = SquareDecoder(options.image_size_px, options.resize, options.grey_range, channels=channels)
    listing = list_folders(options, TEST_FOLDER)
    return load_list(
        listing, decode, options.image_size_px, options, options.root, channels, options.stored_size_px
    )
