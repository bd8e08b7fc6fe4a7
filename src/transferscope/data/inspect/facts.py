"""Statistics of a decoded data set, and facts that affect the meaning of an accuracy. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from transferscope.core.datasets import Description
from transferscope.data.files.image_list import without_test_images

SPLITS = ("train", "test")
FEW_TEST_IMAGES = 200
"""With fewer, the 95 % interval of an accuracy of 0.8 reaches more than 5 points to either side."""
UNEVEN_SHARE = 0.5
"""A class with a larger share of the test images, and with 1.5 times its even share, is named."""
MIN_NUMBERS = 10
"""With as many classes that are called by numbers, these may be quantities."""
FEW_TRAIN_IMAGES = 5
"""Where half of the classes that are called by numbers have fewer, the numbers may be quantities."""
MAX_NAMED = 5
"""Classes named in a note; the others are counted."""


@dataclass(frozen=True, kw_only=True)
class SplitFacts:
    """Statistics of one split."""

    num_images: int
    counts: tuple[int, ...]
    """Images of each class; with several labels an image, images that have each label."""

    def share(self, number: int) -> float:
        """Share of the images that are of a class, or have a label; NaN without images."""
        return self.counts[number] / self.num_images if self.num_images else float("nan")

    @property
    def commonest(self) -> int:
        """Number of the class with most images, the first of several."""
        return max(range(len(self.counts)), key=self.counts.__getitem__)


@dataclass(frozen=True, kw_only=True)
class DataFacts:
    """Statistics of both splits and their labels."""

    about: Description
    splits: Mapping[str, SplitFacts]
    left_out: int = 0
    """Unusable images that were left out."""

    @property
    def commonest(self) -> int:
        """Number of the class with most test images."""
        return self.splits["test"].commonest

    @property
    def baseline(self) -> float:
        """Test metric without looking at an image: the largest share of a class, or the mean AUC of chance, 0.5."""
        return 0.5 if self.about.multi_label else self.splits["test"].share(self.commonest)

    @property
    def baseline_in_words(self) -> str:
        """Such as: always answering 'cat' has 0.950."""
        if self.about.multi_label:
            return "chance has a mean AUC of 0.500"
        return f"always answering '{self.about.class_names[self.commonest]}' has {self.baseline:.3f}"

    def notes(self) -> list[str]:
        """Notes on these data for readers of an accuracy: how the test images were chosen, and `class_notes`."""
        division = (
            [f"{self.about.division[0].upper()}{self.about.division[1:]}."] if self.about.division else []
        )
        return division + class_notes(self.about, self.splits["train"], self.splits["test"])


def split_facts(labels: np.ndarray, num_classes: int) -> SplitFacts:
    """Counts of a split.

    Args:
        labels: (n,) class indices, or (n, num_classes) of 0 and 1.
        num_classes: as in the description.
    """
    if labels.ndim == 1:
        counts = np.bincount(labels.astype(np.int64), minlength=num_classes)
    else:
        counts = (labels > 0).sum(axis=0)
    return SplitFacts(num_images=len(labels), counts=tuple(counts.tolist()))


def class_notes(about: Description, train: SplitFacts, test: SplitFacts) -> list[str]:
    """Notes on unusual classes and numbers of images; empty if there are none."""
    names, noun = about.class_names, "labels" if about.multi_label else "classes"
    notes = [] if about.multi_label else [*_without_test_images(names, test), *_majority(names, test)]
    singles = [name for name, count in zip(names, train.counts, strict=True) if count == 1]
    if singles:
        notes.append(
            f"{len(singles)} of {len(names)} {noun} have a single training image: {_named(singles)}."
        )
    if not about.multi_label:
        notes += _quantities(names, train)
    if 0 < test.num_images < FEW_TEST_IMAGES:
        low, high = wilson_interval(0.8, test.num_images)
        interval = (
            "the mean AUC would be another one on other test images"
            if about.multi_label
            else f"the 95 % interval of an accuracy of 0.80 over other test images reaches from {low:.2f} to {high:.2f}"
        )
        notes.append(
            f"There are only {test.num_images} test images: {interval}. The evidence for claims and "
            "advice accounts for this where the report says that an interval is over test images too."
        )
    return notes


def wilson_interval(share: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Interval of a share of n independent images, such as an accuracy, after Wilson (1927).

    Ends: (p + z^2 / 2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n), with z the (1 + level) / 2 quantile of
    the normal distribution. Unlike p -+ z * standard error it is not empty where all images are right.

    Args:
        share: p, in [0, 1].
        n: images, at least 1.
        level: coverage, inside (0, 1).

    >>> [round(end, 3) for end in wilson_interval(1.0, 20)]
    [0.839, 1.0]
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    middle = share + z * z / (2 * n)
    half = z * ((share * (1 - share) + z * z / (4 * n)) / n) ** 0.5
    return max(0.0, (middle - half) / (1 + z * z / n)), min(1.0, (middle + half) / (1 + z * z / n))


def _without_test_images(names: Sequence[str], test: SplitFacts) -> list[str]:
    absent = [name for name, count in zip(names, test.counts, strict=True) if not count]
    return without_test_images(names, absent)


def _majority(names: Sequence[str], test: SplitFacts) -> list[str]:
    largest = test.commonest
    share = test.share(largest)
    if not share > max(UNEVEN_SHARE, 1.5 / len(names)):
        return []
    return [
        f"{100 * share:.1f} % of the test images are of '{names[largest]}': a network that always answers this has an "
        f"accuracy of {share:.3f}. Compare the balanced accuracy, the mean over the classes."
    ]


def _quantities(names: Sequence[str], train: SplitFacts) -> list[str]:
    """True if the classes look like values of a quantity: numbers that don't count from 0 or 1, or classes of few
    images."""
    if len(names) < MIN_NUMBERS or any(len(name) > 1 and name[0] == "0" and name.isdigit() for name in names):
        return []
    try:
        values = sorted(float(name) for name in names)
    except ValueError:
        return []
    counts_up = values[0] in (0, 1) and values == [values[0] + number for number in range(len(values))]
    if counts_up and sorted(train.counts)[len(names) // 2] >= FEW_TRAIN_IMAGES:
        return []
    return [
        f"The {len(names)} classes are called by numbers, {values[0]:g} to {values[-1]:g}. If these are quantities, "
        "such as ages, this is a regression: here an answer that is off by one is as wrong as any other. Group them "
        "into ranges."
    ]


def _named(names: Sequence[str]) -> str:
    more = len(names) - MAX_NAMED
    return ", ".join(names[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
