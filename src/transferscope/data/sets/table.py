"""Images that a table lists: CSV, TSV, JSON Lines or Parquet with a column of paths, or of the bytes of image files."""

from __future__ import annotations

import io
from typing import IO, Literal

from transferscope.core.datasets import Description, ImageData
from transferscope.data.files.group_ids import group_of
from transferscope.data.files.table_options import TableOptions
from transferscope.data.files.table_rows import TableListing, list_table

VERSION = 1
TEXT_KEY = "path"


class Options(TableOptions):
    """The options of images in a table."""

    dataset: Literal["table"] = "table"
    """Name of the data set."""


def describe(options: Options) -> Description:
    """The classes are the labels of the training rows: whole numbers in numerical order, names in that of text.

    Raises:
        BadInput: the table can't be read or used; see `FileOptions.on_bad`.
    """
    table = list_table(options)
    table.listing.problems.settle(options.on_bad, options.path)
    table.listing.check(options.path)
    return table.listing.description(options.image_size_px, options.channels, table.fingerprint)


def load(options: Options) -> ImageData:
    """Decode the images, in random order; ids are the paths, or row numbers, behind the name of the group.

    Raises:
        BadInput: as `describe`, or there are images that can't be used; see `FileOptions.on_bad`.
    """
    from transferscope.data.files.decode import SquareDecoder
    from transferscope.data.files.load_list import load_list

    table = list_table(options)

    def read(key: str) -> str | IO[bytes]:
        return key if table.content is None else _content(table, int(key))

    decode = SquareDecoder(options.image_size_px, options.resize, options.grey_range, read, options.channels)
    return load_list(
        table.listing,
        decode,
        options.image_size_px,
        options,
        options.path,
        options.channels,
        options.stored_size_px,
    )


def cluster_of(id: str) -> str:
    """The group of an image, such as its patient; the image itself if the table names no groups."""
    return group_of(id)


def _content(table: TableListing, row: int) -> IO[bytes]:
    assert table.content is not None
    content = table.content[row]
    if content is None:
        raise ValueError("there is none in the row")
    return io.BytesIO(content)
