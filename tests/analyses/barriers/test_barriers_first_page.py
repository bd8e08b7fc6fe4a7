"""What barriers says on the first page of made-up tables."""

from __future__ import annotations

import polars as pl
import pytest
from first_page import SPREAD, Tables, advice, frame, on_page, text_of
from made_findings import made_finding

from transferscope.analyses.barriers.claims import P_T_SHARE_A_BASIN
from transferscope.analyses.claims import Verdict, not_measured


def barriers(
    heights: dict[str, float],
    *,
    midpoint: float | None = 0.8,
    seeds: int = 3,
    batch_norm: str = "none",
) -> Tables:
    pairs = [(a, b) for a in range(seeds) for b in range(a + 1, seeds)]
    rows = [
        {
            "target": "near",
            "target_b": "near",
            "definition": "line",
            "checkpoint": "final",
            "pair": pair,
            "seed_a": a,
            "seed_b": b,
            "barrier_metric": max(0.0, height + SPREAD[a + b - 1] / 10),
            "interior_drop_metric": height + SPREAD[a + b - 1] / 10,
            "metric_a": 0.7,
            "metric_b": 0.8,
            "metric_midpoint": midpoint,
            "batch_norm": batch_norm,
        }
        for pair, height in heights.items()
        for a, b in pairs
    ]
    return {"barriers": {"barriers": frame(rows)}}


@pytest.mark.parametrize(
    ("height", "words", "detail"),
    [
        (0.001, "No barrier was found there.", "no barrier"),
        (0.3, "That is a barrier.", "a barrier"),
        (0.02, "These seeds do not decide", "seeds can't decide"),
    ],
)
def test_whether_there_is_a_barrier(height: float, words: str, detail: str) -> None:
    made = on_page(barriers({"P-T & P-T": height, "RI-T & RI-T": 0.5}))
    assert words in made.paragraphs[0]
    assert "50.0 points [" in made.paragraphs[0]
    assert "0.800 where the two themselves have 0.750 on average, +5.0 points" in made.paragraphs[0]
    assert made.headlines[0].detail.startswith(f"{detail} [")
    normed = on_page(barriers({"P-T & P-T": height}, batch_norm="re-estimate")).paragraphs[0]
    assert "the two themselves, with BatchNorm treated alike in all three, have 0.750" in normed


@pytest.mark.parametrize(
    ("verdict", "seeds", "words"),
    [
        ("holds", 3, "They lie in one basin of the loss: flat"),
        ("undecided", 3, "is undecided."),
        ("does not hold", 3, "does not hold."),
        ("undecided", 0, ""),
    ],
)
def test_a_basin_is_spoken_of_only_where_its_claim_holds(verdict: Verdict, seeds: int, words: str) -> None:
    finding = made_finding(P_T_SHARE_A_BASIN, verdict) if seeds else not_measured(P_T_SHARE_A_BASIN, "")
    made = on_page(barriers({"P-T & P-T": 0.001}), findings=[finding])
    assert made.summary[-1].startswith(
        "On the straight line between two fine-tuned networks, no barrier was found on near (0.1 points)."
    )
    assert ("basin" in made.summary[-1]) == (verdict == "holds")
    assert words in made.paragraphs[0]
    assert ("basin" in made.paragraphs[0]) == bool(words)


@pytest.mark.parametrize(
    ("height", "words"),
    [
        (0.001, "No barrier was found there."),
        (0.3, "That is a barrier."),
        (0.02, "These seeds do not decide"),
    ],
)
def test_pairs_across_targets_have_a_sentence_of_their_own(height: float, words: str) -> None:
    within, between = barriers({"P-T & P-T": 0.5}), barriers({"P-T & P-T": height})
    table = between["barriers"]["barriers"].with_columns(target_b=pl.lit("far"))
    both = pl.concat([within["barriers"]["barriers"], table])
    (_, across, _) = on_page({"barriers": {"barriers": both}}).paragraphs
    assert across.startswith(
        "Whether a barrier lies between networks of different targets: On the test images of near, "
    )
    assert "between a network fine-tuned on near and one fine-tuned on far" in across
    assert words in across
    assert "different targets" not in text_of(within)


def test_a_path_without_its_middle_and_without_p_t() -> None:
    assert "Averaging" not in text_of(barriers({"P-T & P-T": 0.0}, midpoint=None))
    assert "Nothing was measured" in text_of(barriers({"RI-T & RI-T": 0.4}))
    assert on_page(barriers({"P-T & P-T": 0.0}, seeds=2)).headlines[0].detail == "too few seeds to decide"


def averaging(gain: float, scratch: float | None = -0.5) -> Tables:
    rows = [
        {
            "target": "near",
            "target_b": "near",
            "pair": f"{kind} & {kind}",
            "seed_a": a,
            "seed_b": b,
            "num_instances": 2,
            "what": "averaged weights",
            "metric_gain": value + SPREAD[a + b - 1] / 10,
        }
        for kind, value in (("P-T", gain), ("RI-T", scratch))
        if value is not None
        for a, b in ((0, 1), (0, 2), (1, 2))
    ]
    return {"barriers": {"barriers_averaging": frame(rows)}}


@pytest.mark.parametrize(
    ("gain", "words"),
    [
        (0.01, "On near, the weights of two fine-tuned networks can be averaged. near: +1.0 points ["),
        (-0.3, "On near, don't average"),
        (-0.02, "these seeds do not decide"),
    ],
)
def test_whether_averaging_is_safe(gain: float, words: str) -> None:
    (line,) = advice(averaging(gain))
    assert words in line
    assert "two trained from scratch: −50.0 points" in line
    assert "scratch" not in advice(averaging(gain, None))[0]


def test_averaging_is_advised_on_each_target_alone() -> None:
    table = averaging(0.01)["barriers"]["barriers_averaging"]
    far = averaging(-0.3)["barriers"]["barriers_averaging"].with_columns(
        target=pl.lit("far"), target_b=pl.lit("far")
    )
    safe, unsafe = advice({"barriers": {"barriers_averaging": pl.concat([table, far])}})
    assert safe.startswith("On near, the weights of two fine-tuned networks can be averaged.")
    assert unsafe.startswith("On far, don't average")
    assert "transferscope average" in safe
    assert "transferscope average" not in unsafe


def test_paths_above_the_line_everywhere_have_no_barrier() -> None:
    """The barrier is 0 in every pair and has no spread; the drop between the ends, which claims test, has one."""
    made = on_page(barriers({"P-T & P-T": -0.01}))
    assert made.summary[-1].startswith(
        "On the straight line between two fine-tuned networks, no barrier was found on"
    )
    assert made.headlines[0].detail.startswith("no barrier")
