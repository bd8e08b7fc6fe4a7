"""What criticality says on the first page of made-up tables."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from first_page import SPREAD, Tables, advice, frame, on_page, text_of


def criticality(
    drops: dict[str, float], *, cumulative: Sequence[float], kinds: Sequence[str] = ("P-T", "RI-T")
) -> Tables:
    rows = [
        {
            "target": "near",
            "kind": kind,
            "seed": seed,
            "module": module,
            "depth": depth,
            "is_head": False,
            "test_drop": (drop if kind == "P-T" else 0.4) + SPREAD[seed] / 10,
            "test_drop_cumulative": cumulative[depth] + SPREAD[seed] / 10,
        }
        for kind in kinds
        for seed in range(3)
        for depth, (module, drop) in enumerate(drops.items())
    ]
    return {"criticality": {"criticality": frame(rows)}}


def test_the_plain_answer_says_what_rewinding_costs_and_where() -> None:
    def sits(*drops: float) -> str:
        named = dict(zip(("stem", "stage1"), drops, strict=True))
        return on_page(criticality(named, cumulative=drops)).summary[0]

    cost = "for less than 2 points of the test metric (mean over seeds, on near)"
    assert sits(0.0, 0.01) == (
        f"Any single module of a fine-tuned network can be rewound to its pre-trained values {cost}."
    )
    assert sits(0.0, 0.1) == (
        f"Any module but stage1 can alone be rewound to its pre-trained values {cost}. Fine-tuning had to change "
        "stage1: reset alone, it costs more."
    )
    assert sits(0.1, 0.1) == (
        f"No module of a fine-tuned network can be rewound to its pre-trained values {cost}."
    )
    # the interval of 1.9 points reaches over 2
    assert sits(0.0, 0.019) == (
        f"Module stem can alone be rewound to its pre-trained values {cost}. These seeds do not decide whether "
        "stage1 (1 of 2 modules) can."
    )
    assert sits(0.019, 0.1) == (
        "These seeds do not decide whether stem (1 of 2 modules) can be rewound to its pre-trained values "
        f"{cost}. Fine-tuning had to change stage1: reset alone, it costs more."
    )
    assert sits(0.019, 0.021).startswith(
        "These seeds do not decide whether any single module of a fine-tuned"
    )


def test_where_it_sits() -> None:
    made = on_page(criticality({"stem": 0.0, "stage1": 0.01, "stage2": 0.1}, cumulative=(0.0, 0.015, 0.2)))
    text = made.paragraphs[0]
    assert (
        "less than 2 points of the test metric for stem and stage1; the most costly is stage2, 10.0 points ["
        in text
    )
    assert "Everything up to stage1 can be rewound together at 1.5 points" in text
    assert "costs 40.0 points [" in text
    assert (made.headlines[0].value, made.headlines[0].detail) == (
        "2 of 3",
        "one at a time, at less than 2 points; 3 seeds",
    )


def test_a_module_counts_only_where_the_interval_says_so() -> None:
    made = on_page(criticality({"stem": 0.0, "stage1": 0.019, "stage2": 0.1}, cumulative=(0.0, 0.019, 0.2)))
    text = made.paragraphs[0]
    assert (
        "of the test metric for stem; for stage1 at 1.9 points [+1.7, +2.1] that is undecided; the most"
        in text
    )
    assert "Everything up to stem can be rewound together at 0.0 points [" in text
    assert "; with stage1 that is undecided, 1.9 points [" in text
    assert made.headlines[0].value == "1 to 2 of 3"
    assert made.headlines[0].detail.endswith("3 seeds; 1 undecided")
    none = on_page(criticality({"stem": 0.019}, cumulative=(0.019,), kinds=("P-T",)))
    assert none.headlines[0].value == "0 to 1 of 1"
    assert "is undecided for every module; the most costly is stem, 1.9 points" in none.paragraphs[0]
    assert (
        "undecided whether modules from the bottom up can be rewound at less than 2 points"
        in none.paragraphs[0]
    )


def test_where_every_module_is_needed() -> None:
    text = text_of(criticality({"stem": 0.1, "stage1": 0.2}, cumulative=(0.1, 0.3), kinds=("P-T",)))
    assert "for no module; the most costly is stage1" in text
    assert "not even stem" in text
    assert "from scratch" not in text
    assert text_of(criticality({"stem": 0.1}, cumulative=(0.1,), kinds=("RI-T",))).startswith(
        "Nothing was measured"
    )


def freezing(chosen: Sequence[int | None]) -> Tables:
    """Number of modules that each seed could freeze; None: the seed has no chosen set."""
    names = ("none", "stem", "stem, stage1")
    rows = [
        {
            "target": "near",
            "kind": "P-T",
            "seed": seed,
            "order": "bottom up",
            "num_modules": count,
            "modules": names[count],
            "share": 0.1 * count,
            "test_drop": 0.01 * count + SPREAD[seed] / 10,
            "acceptable_drop": 0.02,
            "chosen": count == own,
        }
        for seed, own in enumerate(chosen)
        for count in range(3)
    ]
    return {"criticality": {"criticality_freezing": frame(rows)}}


def test_what_to_leave_frozen() -> None:
    (line,) = advice(freezing((2, 2, 2)))
    assert "leave stem and stage1 frozen (20 % of the parameters)" in line
    assert "2.0 points [" in line
    few = advice(freezing((1, 2, 2)))[0]
    assert "freezing saves nothing: only stem can be left frozen, 10 % of the parameters" in few
    (line,) = advice(freezing((0, 2, 0)))
    assert "Leave no module of near frozen" in line
    assert "of the training metric in 2 of 3 seeds" in line


@pytest.mark.parametrize("chosen", [(0, 2), (2, 2), (None, 2)])
def test_what_to_leave_frozen_can_not_be_told_from_two_seeds(chosen: tuple[int | None, ...]) -> None:
    (item,) = on_page(freezing(chosen)).advice
    assert item.text == "Which modules of near to leave frozen is undecided with 2 seeds."
    assert (item.evidence, item.why) == ("open", "at least 3 seeds are needed")


def test_no_set_can_be_left_frozen() -> None:
    assert "can be left frozen in every one of 3 seeds" in advice(freezing((None, 2, 2)))[0]
