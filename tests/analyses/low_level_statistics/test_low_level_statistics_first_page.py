"""What low_level_statistics says on the first page of made-up tables."""

from __future__ import annotations

import pytest
from first_page import SPREAD, Tables, frame, text_of


def controls(value: float) -> Tables:
    rows = [
        {"target": "near", "seed": seed, "quantity": quantity, "part": part, "value": value + SPREAD[seed]}
        for seed in range(3)
        for quantity in ("final metric", "optimization speed")
        for part in ("gain", "weight statistics", "weight statistics, permuted")
    ]
    return {"low_level_statistics": {"low_level_statistics": frame(rows)}}


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.2, "alone help"), (-0.2, "alone harm"), (0.0, "undecided whether the statistics")],
)
def test_what_weight_statistics_give(value: float, words: str) -> None:
    assert words in text_of(controls(value))
