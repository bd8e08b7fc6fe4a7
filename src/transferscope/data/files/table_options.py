"""The options of images in a table. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from transferscope.core.options import SeveralLabels
from transferscope.data.files.split_share import Share
from transferscope.data.files.stored_size import refuse_stored_size
from transferscope.data.files.table_labels import Uncertain

IMAGE_COLUMNS = (
    "path",
    "file",
    "filename",
    "filepath",
    "image",
    "image_path",
    "image_file",
    "img",
    "image_index",
)
LABEL_COLUMNS = (
    "label",
    "labels",
    "class",
    "class_name",
    "target",
    "category",
    "finding_labels",
    "diagnosis",
    "dx",
)
SPLIT_COLUMNS = ("split", "subset", "partition")
GROUP_COLUMNS = ("group", "group_id", "patient", "patient_id", "subject", "subject_id", "lesion_id")


class TableOptions(SeveralLabels):
    """The options of images in a table."""

    path: Path
    """The table: .csv, .tsv, .jsonl or .ndjson, each also with .gz, or .parquet. CSV files have a header."""
    join: tuple[Path, ...] = ()
    """Further tables, whose columns are added by the columns that they have in common with the first, such as a table
    of labels to a table of splits."""
    test_path: Path | None = None
    """A table of the test images with the same columns, if the test images have a table of their own."""
    root: Path | None = None
    """The folder below which the images are; default: the folder of the table."""
    image_column: str | None = None
    """The column of the paths below the root, or of the bytes of image files. Default: the only one of bytes, or else
    the only one with a usual name: path, file, filename, filepath, image, image_path, image_file, img, image_index."""
    file_pattern: str | None = None
    """The path of an image from the columns of its row, as in "images/{image_id}.jpg"; "{subject:.2}" is the first two
    letters of a cell. `*` in its folders is searched: "images_*/{Image Index}"."""
    label_column: str | None = None
    """The column of the classes. Default: the only one with a usual name: label, labels, class, class_name, target,
    category, finding_labels, diagnosis, dx."""
    label_separator: str | None = Field(default=None, min_length=1)
    """For several labels in one cell of label_column: what separates them, as in "Edema|Effusion"."""
    no_label: str | None = None
    """With label_separator: the text that stands for an image without labels, as "No Finding"."""
    label_columns: tuple[str, ...] = ()
    """Several labels an image instead of label_column, each in a column of 0 and 1 (or true, false, yes, no)."""
    one_hot: bool = False
    """True if exactly one of the label_columns is 1 in each row: it is the class of the image."""
    uncertain_labels: Uncertain = "bad"
    """What -1 in label_columns, which marks an uncertain label in radiology reports, counts as. bad: see on_bad.
    missing: as an empty cell; see missing_labels."""
    split_column: str | None = None
    """The column of the splits. Default: the only one with a usual name (split, subset, partition), unless test_path,
    test_list or test_share is given."""
    train_split: str = "train"
    """Cells of split_column that mark training images."""
    test_split: str = "test"
    """Cells of split_column that mark test images. Rows with other cells are left out, and a note counts them."""
    test_list: Path | None = None
    """A text file that names the test images, one in a line, as the table does; all others are for training."""
    test_share: Share | None = None
    """The share of each class that is for testing. Default: a fifth if nothing else divides the images; see
    `transferscope.data.files.split_share`. all: as in the data set `imagefolder`."""
    split_seed: int = Field(default=0, ge=0)
    """Seed of the split by test_share."""
    group_column: str | None = None
    """The column that names the patient, scene or other group of an image. test_share puts all images of a group into
    the same split, and intervals take groups as units. Default: the only one with a usual name: group, group_id,
    patient, patient_id, subject, subject_id, lesion_id."""
    image_size_px: int = Field(default=224, ge=8, le=1024)
    """Side of the square images."""
    channels: int = Field(default=3, ge=1, le=64)
    """As in the data set `imagefolder`."""
    resize: Literal["crop", "pad", "stretch", "evaluation"] = "crop"
    """As in the data set `imagefolder`."""
    stored_size_px: int | None = Field(default=None, ge=16, le=2048)
    """Side at which training images are stored besides, a multiple of image_size_px: augmentation then takes its crops
    from images of this side, so that a crop has details of its own. Default: crops are taken from images of
    image_size_px and enlarged."""
    max_train_size: int | None = Field(default=None, ge=2)
    """Maximum number of training images, chosen at random; default: all."""
    max_test_size: int | None = Field(default=None, ge=2)
    """Maximum number of test images, chosen at random; default: all."""
    seed: int = Field(default=0, ge=0)
    """Seed of the selection and of the order of the images."""
    grey_range: tuple[float, float] | None = None
    """As in the data set `imagefolder`."""

    @field_validator("label_columns", "join", mode="before")
    @classmethod
    def _one(cls, value: Any) -> Any:
        return (value,) if isinstance(value, (str, Path)) else value

    @model_validator(mode="after")
    def _fit_together(self) -> TableOptions:
        if self.label_columns and self.label_column is not None:
            raise ValueError("label_column and label_columns exclude each other; give one of them")
        if self.one_hot and len(self.label_columns) < 2:
            raise ValueError("one_hot needs label_columns: the columns of the classes")
        if self.no_label is not None and self.label_separator is None:
            raise ValueError("no_label needs label_separator, as in label_separator: '|'")
        divisions = [
            name
            for name in ("test_path", "test_list", "test_share", "split_column")
            if getattr(self, name) is not None
        ]
        if len(divisions) > 1:
            raise ValueError(f"{' and '.join(divisions)} exclude each other; give one of them")
        if self.image_column is not None and self.file_pattern is not None:
            raise ValueError("image_column and file_pattern exclude each other; give one of them")
        if self.grey_range is not None and self.grey_range[0] >= self.grey_range[1]:
            raise ValueError("grey_range: the first value becomes black and must be less than the second")
        refuse_stored_size(self.stored_size_px, self.image_size_px)
        return self

    @property
    def folder(self) -> Path:
        """The folder below which the images are."""
        return self.path.parent if self.root is None else self.root
