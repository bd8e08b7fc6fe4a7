"""Which training images are held out."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from transferscope.core.datasets import ImageSplit
from transferscope.core.errors import TaskFailed
from transferscope.train.held_out import held_out_rows, hold_out


def split(labels: torch.Tensor) -> ImageSplit:
    n = len(labels)
    images = torch.arange(n)[:, None, None, None].expand(n, 1, 2, 2).to(torch.uint8)
    return ImageSplit(images=images, labels=labels, ids=tuple(f"train/{row}" for row in range(n)))


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.floats(0, 0.99))
def test_each_class_gives_its_share_up_to_rounding(labels: list[int], fraction: float) -> None:
    rows = held_out_rows(torch.tensor(labels), fraction)
    assert len(set(rows)) == len(rows) == round(fraction * len(labels))
    taken, there = Counter(labels[row] for row in rows), Counter(labels)
    for name, count in there.items():
        assert abs(taken[name] - fraction * count) < 1


def test_several_labels_are_spread_by_their_set() -> None:
    labels = torch.tensor([[0.0, 1.0]] * 40 + [[1.0, 1.0]] * 20)
    rows = held_out_rows(labels, 0.25)
    assert Counter(row < 40 for row in rows) == {True: 10, False: 5}


def test_the_two_parts_are_all_images_each_once_and_always_the_same() -> None:
    data = split(torch.arange(30) % 3)
    kept, held = hold_out(data, 0.2)
    assert (len(kept), len(held)) == (24, 6)
    assert sorted(kept.ids + held.ids) == sorted(data.ids)
    for part in (kept, held):
        rows = [int(name.split("/")[1]) for name in part.ids]
        assert part.images[:, 0, 0, 0].tolist() == rows
        assert part.labels.tolist() == [row % 3 for row in rows]
    again = hold_out(data, 0.2)[1]
    assert again.ids == held.ids
    # literal, since stored results rest on it
    assert rows == [9, 13, 14, 23, 25, 27]


def test_what_is_held_out_does_not_depend_on_the_pixels() -> None:
    data = split(torch.arange(30) % 3)
    other = ImageSplit(images=data.images.flip(0), labels=data.labels, ids=data.ids)
    assert hold_out(other, 0.2)[1].ids == hold_out(data, 0.2)[1].ids


def test_copies_of_a_held_out_image_are_not_trained_on() -> None:
    data = split(torch.zeros(20, dtype=torch.int64))
    doubled = ImageSplit(
        images=data.images.repeat(2, 1, 1, 1), labels=data.labels.repeat(2), ids=tuple(map(str, range(40)))
    )
    kept, held = hold_out(doubled, 0.25)
    assert len(held) == 10
    assert not {int(image[0, 0, 0]) for image in kept.images} & {int(image[0, 0, 0]) for image in held.images}


def test_none_held_out_is_the_data_as_they_are() -> None:
    data = split(torch.arange(9) % 3)
    kept, held = hold_out(data, 0.0)
    assert kept is data
    assert len(held) == 0


@pytest.mark.parametrize(("fraction", "holds", "leaves"), [(0.01, 0, 9), (0.99, 9, 0)])
def test_nothing_held_out_or_left_is_said(fraction: float, holds: int, leaves: int) -> None:
    with pytest.raises(TaskFailed, match=f"holds out {holds} and leaves {leaves} to train on"):
        hold_out(split(torch.arange(9) % 3), fraction)
