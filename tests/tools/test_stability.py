"""The program that runs the embedded study again: what it counts on runs whose verdicts are known."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tools.stability import Basins, Outcome, coverage, instructions, page, repeat_rates


def outcome(verdict: str, evidence: str = "strong", effect: float = 1.0, p: float = 0.001) -> Outcome:
    return Outcome(
        verdict=verdict,
        evidence=evidence,
        effect=effect,
        seeds_low=effect - 0.5,
        seeds_high=effect + 0.5,
        p_value=p,
        is_on_claimed_side=verdict != "does not hold",
    )


HOLDS, FAILS = outcome("holds"), outcome("does not hold", "some", -1.0, 0.01)
OPEN, HINT = outcome("undecided", "open", 0.2, 0.3), outcome("undecided", "hint", 0.8, 0.04)


def test_coverage_compares_with_the_mean_of_the_other_runs() -> None:
    # means of the others: -.4, .6 and .1
    assert coverage([HOLDS, FAILS, OPEN]) == [False, False, True]


def test_a_repeated_verdict_is_the_same_in_another_run() -> None:
    rates = repeat_rates(["a"], [{"a": HOLDS}, {"a": HOLDS}, {"a": OPEN}])
    assert rates == {"strong": [True, False, True, False], "some": [], "hint": []}


def test_a_hint_is_repeated_by_a_hint_or_more_on_the_same_side() -> None:
    assert repeat_rates(["a"], [{"a": HINT}, {"a": HOLDS}, {"a": FAILS}, {"a": OPEN}])["hint"] == [
        True,
        False,
        False,
    ]


def test_the_page_has_the_counts() -> None:
    same = [{"a": HOLDS, "b": HOLDS}, {"a": HOLDS, "b": OPEN}]
    others = [{"a": HOLDS, "b": HOLDS}, {"a": HOLDS, "b": FAILS}, {"a": OPEN, "b": OPEN}]
    pairs = {"RI-T & RI-T": Basins(apart=72, apart_called=3, joined=0, joined_called=0)}
    text = page([same[0], *others], same[1], pairs)
    assert "| verdicts that differ between two runs, mean | 1.7 |" in text  # 1, 2 and 2 of three pairs
    assert "| claims that hold in one run and do not hold in another | 1 (`b`) |" in text
    narrower = f"{instructions(0)} and {instructions(1)}"
    assert f"| verdicts that differ between {narrower}, same seeds | 1 (`b`) |" in text
    assert "| RI-T & RI-T with a barrier of more than 10 points that are called a basin | 3 of 72 |" in text
    assert "| of these with strong evidence in one of the two | 1 (`b`) |" in text
    assert "| `a` | 2 | 0 | 1 | 33 % | 0.2 to 1 |" in text
