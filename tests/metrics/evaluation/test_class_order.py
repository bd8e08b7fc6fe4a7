"""The order of classes that fits best, against all permutations, and no order from chance."""

from __future__ import annotations

import math
from itertools import permutations

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from transferscope.metrics.evaluation.class_order import better_class_order, better_label_order


def confused(labels: Tensor, order: tuple[int, ...], accuracy: float, seed: int = 0) -> Tensor:
    """Logits of a network whose output i stands for class order[i], right with this probability."""
    generator = torch.Generator().manual_seed(seed)
    num_classes = len(order)
    output_of = torch.tensor(order).argsort()
    right = torch.rand(len(labels), generator=generator) < accuracy
    random = torch.randint(num_classes, labels.shape, generator=generator)
    return torch.eye(num_classes)[torch.where(right, output_of[labels], random)]


@pytest.mark.parametrize("order", [(3, 0, 2, 1), (1, 0, 2, 3), (1, 2, 3, 0)])
def test_the_order_is_the_best_of_all(order: tuple[int, ...]) -> None:
    labels = torch.arange(100) % 4
    logits = confused(labels, order, 0.8)
    found = better_class_order(logits, labels)
    guessed = logits.argmax(1)
    best = max(permutations(range(4)), key=lambda each: int((torch.tensor(each)[guessed] == labels).sum()))
    assert found is not None
    assert found.order == best == order
    assert found.value == pytest.approx(float((torch.tensor(order)[guessed] == labels).double().mean()))


def test_two_of_many_classes_that_changed_places_are_found() -> None:
    for num_classes in (12, 100):
        labels = torch.arange(50 * num_classes) % num_classes
        order = (*range(num_classes - 2), num_classes - 1, num_classes - 2)
        found = better_class_order(confused(labels, order, 0.9), labels)
        assert found is not None
        assert found.order == order


@pytest.mark.parametrize("seed", range(20))
def test_chance_is_no_order(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(10, (60,), generator=generator)
    assert better_class_order(torch.randn(60, 10, generator=generator), labels) is None


def test_a_network_that_always_gives_one_class_has_no_order() -> None:
    labels = (torch.arange(100) < 5).long()
    assert better_class_order(torch.tensor([[0.0, 1.0]]).expand(100, 2), labels) is None


def test_two_swapped_classes_of_very_different_size_are_found() -> None:
    labels = (torch.arange(200) < 20).long()
    found = better_class_order(confused(labels, (1, 0), 0.9), labels)
    assert found is not None
    assert found.order == (1, 0)


def test_the_right_order_and_few_examples_are_left_alone() -> None:
    labels = torch.arange(100) % 4
    assert better_class_order(confused(labels, (0, 1, 2, 3), 0.3), labels) is None
    assert better_class_order(torch.eye(2)[:1], torch.tensor([1])) is None


def labels_and_logits(noise: float, seed: int = 0, num_labels: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    source = torch.Generator().manual_seed(seed)
    labels = (torch.rand(300, num_labels, generator=source) < torch.linspace(0.1, 0.5, num_labels)).float()
    return labels, labels + noise * torch.randn(labels.shape, generator=source, dtype=torch.float32)


def test_two_swapped_labels_are_found_and_their_mean_auc() -> None:
    labels, logits = labels_and_logits(0.5)
    order = [0, 4, 2, 3, 1, 5]
    found = better_label_order(logits[:, order], labels)
    assert found is not None
    assert list(found.order) == order
    expected = sum(roc_auc_score(labels[:, j], logits[:, j]) for j in range(6)) / 6
    assert found.value == pytest.approx(expected, abs=0.01), "the mean of two halves"


@pytest.mark.parametrize("seed", range(20))
def test_labels_in_order_by_chance_or_inverted_get_no_other_order(seed: int) -> None:
    labels, logits = labels_and_logits(0.5, seed)
    random = torch.randn(logits.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float32)
    for outputs in (logits, random, -logits, torch.zeros_like(logits), labels_and_logits(5.0, seed)[1]):
        assert better_label_order(outputs, labels) is None
    few = slice(0, 12)
    assert better_label_order(random[few], labels[few]) is None


def test_a_label_of_no_image_keeps_its_output() -> None:
    labels, logits = labels_and_logits(0.3)
    labels[:, 2] = 0
    found = better_label_order(logits[:, [1, 0, 2, 3, 4, 5]], labels)
    assert found is not None
    assert found.order == (1, 0, 2, 3, 4, 5)
    assert math.isfinite(found.value)


def test_labels_that_come_together_are_not_confused() -> None:
    labels, logits = labels_and_logits(0.8, seed=1)
    labels[:, 1] = torch.where(torch.arange(300) % 10 > 0, labels[:, 0], labels[:, 1])
    logits[:, 1] = logits[:, 0] * 0.9 + 0.1 * logits[:, 1]
    assert better_label_order(logits, labels) is None
