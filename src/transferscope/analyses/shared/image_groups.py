"""Tables with the numbers of another table without one group of test images at a time.

The table `NAME_images` has the keys of the table `NAME`, the column `without_group` and those numbers of `NAME` that
claims use. The statistic of a claim, computed from the rows of one `without_group`, is the one without these images.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from transferscope.analyses.contract import Row, Split
from transferscope.core.tables import Column

if TYPE_CHECKING:
    from torch import Tensor

WITHOUT_GROUP = Column(
    "without_group",
    "int",
    "Group of test images that is left out, 0 to 19: image i of the test split is in group i mod 20, and images of one "
    "patient are in one group; the numbers are those without these images",
)


def groups_of(split: Split) -> Tensor:
    """(n,) the group of each image."""
    from transferscope.metrics.evaluation.image_groups import image_groups

    return image_groups(len(split.labels), split.clusters)


def rows_without(numbers: Mapping[str, Tensor | float | None]) -> list[Row]:
    """A row for each group that is left out.

    Args:
        numbers: column -> (20,) the number without each group; or one number that no test image is behind.
    """
    from transferscope.metrics.evaluation.image_groups import NUM_GROUPS

    columns = {
        name: [value] * NUM_GROUPS if value is None or isinstance(value, int | float) else value.tolist()
        for name, value in numbers.items()
    }
    return [
        {"without_group": group, **{name: values[group] for name, values in columns.items()}}
        for group in range(NUM_GROUPS)
    ]
