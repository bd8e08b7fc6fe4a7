"""Splits by share: against a literal version, and what must hold for any labels and groups."""

from __future__ import annotations

import hashlib

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from transferscope.data.files.split_share import divide


def literal(labels: list[int], groups: list[str], share: float, seed: int) -> set[int]:
    """The rule of the docstring, word by word, for single labels."""
    classes = sorted(set(labels))
    n = {one: labels.count(one) for one in classes}
    wanted = {one: min(max(round(share * n[one]), 1), n[one] - 1) for one in classes}

    def taken(rows: set[int], one: int) -> int:
        return sum(labels[row] == one for row in rows)

    def distance(rows: set[int]) -> float:
        return sum(abs(wanted[one] - taken(rows, one)) / n[one] for one in classes)

    test: set[int] = set()
    for group in sorted(set(groups), key=lambda name: hashlib.sha256(f"{seed} {name}".encode()).digest()):
        with_it = test | {row for row, name in enumerate(groups) if name == group}
        if distance(with_it) < distance(test) - 1e-9 and all(taken(with_it, one) < n[one] for one in classes):
            test = with_it
    return test


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 6)), min_size=4, max_size=30), st.integers(0, 3))
def test_the_literal_rule_and_no_group_in_both(rows: list[tuple[int, int]], seed: int) -> None:
    labels, groups = [row[0] for row in rows], [f"g{row[1]}" for row in rows]
    train, test = divide(labels, groups, 0.3, seed)
    assert sorted(train + test) == list(range(len(rows)))
    assert set(test) == literal(labels, groups, 0.3, seed)
    assert not {groups[row] for row in train} & {groups[row] for row in test}
    assert {labels[row] for row in train} == set(labels)


def test_the_order_of_rows_and_further_rows_of_other_classes_decide_nothing() -> None:
    names = [f"{number}.png" for number in range(40)]
    labels = [number % 2 for number in range(40)]
    chosen = {names[row] for row in divide(labels, names, 0.25, 0)[1]}
    assert len(chosen) == 10
    back = divide(labels[::-1], names[::-1], 0.25, 0)[1]
    assert {names[::-1][row] for row in back} == chosen
    more = divide([*labels, 2, 2, 2], [*names, "a", "b", "c"], 0.25, 0)[1]
    assert {names[row] for row in more if row < 40} == chosen
    assert {names[row] for row in divide(labels, names, 0.25, 1)[1]} != chosen


def test_each_of_several_labels_is_shared_out() -> None:
    rng = np.random.default_rng(0)
    labels = [tuple(row) for row in (rng.random((400, 3)) < [0.5, 0.2, 0.05]).astype(int).tolist()]
    test = divide(labels, [f"p{row // 2}" for row in range(400)], 0.25, 0)[1]
    for column in range(3):
        all_of_it, of_test = (
            sum(row[column] for row in rows) for rows in (labels, [labels[r] for r in test])
        )
        assert abs(of_test - 0.25 * all_of_it) <= 2 + 0.02 * all_of_it
    assert abs(len(test) - 100) <= 15
