"""The order of classes that fits best, against all permutations, and no order from chance."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch
from torch import Tensor

from transferscope.metrics.evaluation.class_order import better_class_order


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
    assert found.accuracy == pytest.approx(float((torch.tensor(order)[guessed] == labels).double().mean()))


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
