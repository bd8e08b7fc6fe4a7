"""The user's own images in folders: root/train/<class>/*.png and root/test/<class>/*.png."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from transferscope.core.datasets import Description, ImageData
from transferscope.data.files.class_folders import list_folders
from transferscope.data.files.folder_options import FolderOptions

VERSION = 2
TEXT_KEY = "root"
TEST_FOLDER = "test"


class Options(FolderOptions):
    """The options of images in folders."""

    dataset: Literal["imagefolder"] = "imagefolder"
    """Name of the data set."""
    root: Path
    """The folder that holds `train` and `test`."""


def describe(options: Options) -> Description:
    """The classes are the folders in `train`, sorted by name; no image is opened.

    Raises:
        BadInput: the folders are not as expected, or hold what can't be used; see `FileOptions.on_bad`.
    """
    listing = list_folders(options, TEST_FOLDER)
    listing.problems.settle(options.on_bad, options.root)
    return listing.description(options.image_size_px, options.channels or 3)


def load(options: Options) -> ImageData:
    """Decode the images, in random order; ids are paths relative to the root.

    Images are turned upright by their EXIF orientation; transparent pixels become white; grey values of 16 bits are
    mapped to 8 by `grey_range`.

    Raises:
        BadInput: as `describe`, or there are images that can't be used; see `FileOptions.on_bad`.
    """
    from transferscope.data.files.decode import SquareDecoder
    from transferscope.data.files.load_list import load_list

    channels = options.channels or 3
    decode = SquareDecoder(options.image_size_px, options.resize, options.grey_range, channels=channels)
    listing = list_folders(options, TEST_FOLDER)
    return load_list(
        listing, decode, options.image_size_px, options, options.root, channels, options.stored_size_px
    )
