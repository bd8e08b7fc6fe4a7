"""What is said of a data set's classes: baselines, shares, few images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from sklearn.metrics import balanced_accuracy_score

from transferscope.core.datasets import Description
from transferscope.core.errors import BadInput
from transferscope.data.inspect.facts import DataFacts, SplitFacts, split_facts, wilson_interval
from transferscope.metrics.evaluation.balanced_accuracy import balanced_accuracy


def facts(names: tuple[str, ...], train: list[int], test: list[int], multi_label: bool = False) -> DataFacts:
    """The facts of data with these numbers of images of each class."""
    about = Description(class_names=names, image_size_px=32, multi_label=multi_label)
    splits = {
        name: split_facts(np.repeat(np.arange(len(counts)), counts), len(names))
        for name, counts in (("train", train), ("test", test))
    }
    return DataFacts(about=about, splits=splits)


def test_a_majority_class_is_the_baseline_and_named() -> None:
    uneven = facts(("healthy", "sick"), [95, 5], [570, 30])
    assert uneven.baseline == 0.95
    assert uneven.baseline_in_words == "always answering 'healthy' has 0.950"
    (note,) = uneven.notes()
    assert "95.0 % of the test images are of 'healthy'" in note
    assert facts(("a", "b"), [50, 50], [300, 300]).notes() == []


def test_a_class_without_test_images_and_classes_of_one_image_are_named() -> None:
    notes = facts(("cat", "dog", "owl"), [4, 1, 1], [150, 150, 0]).notes()
    assert "owl has no test images: the test accuracy is that of the other 2 of 3 classes." in notes[0]
    assert "2 of 3 classes have a single training image: dog, owl." in notes[1]


@pytest.mark.parametrize(
    ("names", "each", "is_named"),
    [
        (tuple(map(str, range(20, 44))), 50, True),
        (tuple(map(str, range(100))), 50, False),  # numbers of classes
        (tuple(map(str, range(100))), 1, True),
        (tuple(f"{number:03}" for number in range(20, 44)), 50, False),
        (("3", "5", "8"), 50, False),
        (tuple("abcdefghijkl"), 50, False),
    ],
)
def test_classes_that_may_be_quantities(names: tuple[str, ...], each: int, is_named: bool) -> None:
    notes = facts(names, [each] * len(names), [100] * len(names)).notes()
    assert any("regression" in note for note in notes) == is_named


def test_few_test_images_are_named_with_what_that_means() -> None:
    (note,) = facts(("a", "b"), [50, 50], [10, 10]).notes()
    low, high = binomtest(16, 20).proportion_ci(method="wilson")
    assert "only 20 test images" in note
    assert f"from {low:.2f} to {high:.2f}" in note


def test_few_test_images_of_several_labels_speak_of_the_auc() -> None:
    (note,) = facts(("a", "b"), [50, 50], [10, 10], multi_label=True).notes()
    assert "mean AUC" in note
    assert "accuracy" not in note


def test_labels_of_several() -> None:
    labels = np.array([[1, 0], [1, 1], [0, 0]], dtype=np.float32)
    found = split_facts(labels, 2)
    assert (found.num_images, found.counts) == (3, (2, 1))
    assert facts(("a", "b"), [5, 5], [300, 20], multi_label=True).baseline == 0.5


@pytest.mark.parametrize(("right", "n"), [(0, 7), (16, 20), (20, 20), (950, 1000)])
def test_the_interval_of_a_share_is_scipys(right: int, n: int) -> None:
    expected = binomtest(right, n).proportion_ci(method="wilson")
    assert wilson_interval(right / n, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_balanced_accuracy_is_scikit_learns() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, labels = (
        torch.randn(200, 5, generator=generator),
        torch.randint(0, 4, (200,), generator=generator),
    )
    labels[:100] = 1
    predicted = logits[:, :4].argmax(1)
    expected = balanced_accuracy_score(labels, predicted)
    assert balanced_accuracy(logits[:, :4], labels) == pytest.approx(expected, abs=1e-12)
    with pytest.raises(BadInput):
        balanced_accuracy(logits, torch.zeros(200, 5))


def test_the_report_says_how_test_images_were_chosen() -> None:
    splits = {name: SplitFacts(num_images=40, counts=(20, 20)) for name in ("train", "test")}
    about = Description(class_names=("cat", "dog"), image_size_px=8, division="the test images are 20 %")
    assert DataFacts(about=about, splits=splits).notes()[0] == "The test images are 20 %."
