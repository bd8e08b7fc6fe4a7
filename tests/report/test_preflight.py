"""What is said of given networks before anything is measured on them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from transferscope.core.errors import BadInput
from transferscope.report.preflight import (
    COLUMNS,
    CheckedNetwork,
    check_different,
    judged,
    lines_of,
    table_of,
    warnings_of,
)

NAMES = ("ant", "bee", "cow", "dog")
LABELS = torch.arange(200) % 4


def logits(accuracy: float, order: Sequence[int] = (0, 1, 2, 3), labels: Tensor = LABELS) -> Tensor:
    """A network that is right on exactly this share of each class, if its outputs are in this order."""
    place = torch.arange(len(labels)) // 4 / (len(labels) // 4)
    guessed = torch.where(place < accuracy, labels, (labels + 1 + torch.arange(len(labels)) // 4 % 3) % 4)
    return torch.eye(4)[torch.tensor(order).argsort()[guessed]]


def codes(network: CheckedNetwork) -> list[str]:
    return [remark.code for remark in network.remarks]


def test_a_good_network_has_its_accuracy_with_its_interval_and_no_remark() -> None:
    network = judged("a", logits(0.8), LABELS, NAMES, expected=0.82)
    assert (network.metric, network.value, network.baseline) == ("accuracy", 0.8, 0.25)
    # Wilson, computed by hand
    z, n, p = 1.959964, 200, 0.8
    centre, half = p + z**2 / (2 * n), z * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5
    assert (network.low, network.high) == pytest.approx(
        ((centre - half) / (1 + z**2 / n), (centre + half) / (1 + z**2 / n)), abs=1e-6
    )
    assert not network.remarks
    assert lines_of([network])[0] == "your networks, accuracy on 200 test images (always 'ant' 0.250):"
    assert "expected 0.820" in lines_of([network])[1]


@pytest.mark.parametrize(("expected", "is_said"), [(0.93, True), (0.6, True), (0.85, False), (0.76, False)])
def test_an_accuracy_other_than_expected_is_said_first(expected: float, is_said: bool) -> None:
    network = judged("a", logits(0.8), LABELS, NAMES, expected=expected)
    assert codes(network) == (["not as expected"] if is_said else [])
    first = lines_of([network])[0]
    assert (
        first.startswith(f"warning: a: accuracy 0.800 on 200 test images, expected {expected:.3f}") == is_said
    )


def test_another_class_order_is_named_with_how_to_set_it() -> None:
    network = judged("a", logits(0.8, order=(3, 0, 2, 1)), LABELS, NAMES)
    (remark,) = network.remarks
    assert remark.code == "class order"
    assert remark.fields["classes"] == ["dog", "ant", "cow", "bee"]
    assert remark.fields["value"] == 0.8
    assert "data.classes=[dog,ant,cow,bee]" in warnings_of([network])[0]


def test_a_network_at_chance_is_named_with_the_likely_causes() -> None:
    network = judged("a", torch.randn(200, 4, generator=torch.Generator().manual_seed(0)), LABELS, NAMES)
    assert codes(network) == ["chance level"]
    assert "normalization" in warnings_of([network])[0]


def test_naming_the_commonest_class_is_no_skill() -> None:
    labels = (torch.arange(100) < 5).long()
    network = judged("a", torch.tensor([[1.0, 0.0]]).expand(100, 2), labels, ("no", "yes"))
    assert (network.value, network.baseline) == (0.95, 0.95)
    assert codes(network) == ["chance level"]


def test_findings_are_judged_by_their_mean_auc() -> None:
    labels = torch.rand(100, 3, generator=torch.Generator().manual_seed(0)).round()
    good = judged("a", labels * 2 - 1, labels, NAMES[:3], expected=0.9)
    assert (good.metric, good.value, good.baseline) == ("mean AUC", 1.0, 0.5)
    assert codes(good) == ["not as expected"]
    swapped = judged("c", (labels * 2 - 1)[:, [0, 2, 1]], labels, NAMES[:3])
    assert codes(swapped) == ["class order"]
    order = ",".join(NAMES[index] for index in (0, 2, 1))
    assert (
        f"labels in another order. Was it trained with that order? Then set data.classes=[{order}]"
        in (warnings_of([swapped])[0])
    )
    inverted = judged("b", -labels, labels, NAMES[:3])
    assert codes(inverted) == ["chance level"]
    assert "opposite" in warnings_of([inverted])[0]


def test_the_same_network_twice_is_refused() -> None:
    check_different({"a": ["1", "0"], "b": ["2", "0"]})
    with pytest.raises(BadInput, match="a and c are the same network"):
        check_different({"a": ["1"], "b": ["2"], "c": ["1"]})
    with pytest.raises(BadInput, match="b is what it was started from"):
        check_different({"a": ["1", "0"], "b": ["0", "0"]})


def test_the_table_has_a_row_a_network() -> None:
    table = table_of([judged("a", logits(0.8), LABELS, NAMES), judged("b", logits(0.2), LABELS, NAMES, 0.9)])
    assert table.columns == [column.name for column in COLUMNS]
    assert table["value"].to_list() == [0.8, 0.2]
    assert table["expected"].to_list() == [None, 0.9]
    assert table["remarks"][0] == ""
    assert "expected 0.900" in table["remarks"][1]
