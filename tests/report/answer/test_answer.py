"""The first page on made-up tables: right in every case, with an interval or the seeds behind each number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from transferscope.analyses.contract import all_claims
from transferscope.analyses.findings import Finding, Verdict, not_measured
from transferscope.report.answer.advice import advice as advised
from transferscope.report.answer.answer import answer
from transferscope.report.page.content import Advice, Answer

CLAIMS = all_claims()

Tables = dict[str, dict[str, pl.DataFrame]]
SPREAD = (-0.01, 0.0, 0.01, 0.005, -0.005)


def frame(rows: Sequence[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, infer_schema_length=None)


def reuse(
    gains: dict[str, tuple[float, float | None]], *, seeds: int = 3, speed: float = 0.2, block: int = 1
) -> Tables:
    """Gain of each target unshuffled and at the smallest blocks, None where it isn't shuffled."""
    rows = []
    for target, by_view in gains.items():
        for view, size, gain in zip(("unshuffled", "blocks"), (32, block), by_view, strict=True):
            for seed in range(seeds) if gain is not None else ():
                own = gain + SPREAD[seed]
                keys = {
                    "target": target,
                    "view": view,
                    "block_size_px": size,
                    "seed": seed,
                    "metric": "accuracy",
                }
                numbers = {"p_t": 0.6 + own, "ri_t": 0.6, "gain": own, "speed_gain": speed + SPREAD[seed]}
                rows.append({**keys, **numbers, "p_t_speed": 0.5 + speed, "ri_t_speed": 0.5})
    return {"feature_reuse": {"feature_reuse": frame(rows)}}


def on_page(tables: Tables, seeds: int = 3, findings: Sequence[Finding] = ()) -> Answer:
    study: Any = SimpleNamespace(seeds=tuple(range(seeds)), instances=None)
    return answer(study, tables, findings)


def said(item: Advice) -> str:
    return f"{item.text} {item.evidence}"


def advice(tables: Tables) -> list[str]:
    return [said(item) for item in advised(tables)]


def text_of(tables: Tables, **options: Any) -> str:
    return " ".join(on_page(tables, **options).paragraphs)


def test_a_gain_with_its_interval() -> None:
    made = on_page(reuse({"near": (0.2, None)}))
    text = made.paragraphs[0]
    assert "near +20.0 points [+17.5, +22.5], from 0.60 to 0.80" in text
    assert "So it helped on near." in text
    assert "It trained faster" in text
    assert made.headlines[0].value == "+20.0 points"
    assert made.headlines[0].detail == "1 target [+17.5, +22.5]"


def test_a_gain_below_zero_is_said_to_hurt() -> None:
    made = on_page(reuse({"near": (-0.2, None)}, speed=-0.2))
    assert "near −20.0 points [−22.5, −17.5]" in made.paragraphs[0]
    assert "it hurt on near" in made.paragraphs[0]
    assert "helped" not in made.paragraphs[0]
    assert "It trained more slowly" in made.paragraphs[0]
    assert advice(reuse({"near": (-0.2, None)}))[0].startswith("Train from scratch on near")


def test_a_gain_that_seeds_cannot_tell_from_nothing() -> None:
    made = on_page(reuse({"near": (0.001, None), "far": (0.1, None)}, speed=0.0))
    assert "it helped on far; these seeds can't tell it from no difference on near" in made.paragraphs[0]
    assert "Whether it trained faster can't be told" in made.paragraphs[0]
    assert (
        made.summary[0]
        == "Pre-training helped on far; it made no difference that these seeds can tell on near."
    )
    assert advice(reuse({"near": (0.001, None)}, speed=0.0))[0].startswith(
        "Whether to pre-train for near can't be told"
    )
    faster = on_page(reuse({"near": (0.001, None)})).advice[0]
    assert faster.text.endswith(
        "where time counts, on near: they train faster. Whether the final metric gains can't be told."
    )
    assert faster.why == "the whole 95 % interval over 3 seeds lies on one side, for the speed"


@pytest.mark.parametrize("seeds", [1, 2])
def test_few_seeds_give_numbers_and_no_verdict(seeds: int) -> None:
    made = on_page(reuse({"near": (0.2, 0.1)}, seeds=seeds), seeds=seeds)
    noun = "seed" if seeds == 1 else "seeds"
    text = " ".join([*made.paragraphs, *map(said, made.advice)])
    assert f"({seeds} {noun}, no interval)" in text
    assert made.summary[0] == (
        f"Whether pre-training made a difference on near can't be told from {seeds} {noun}: an interval needs 3."
    )
    for word in ("helped", "hurt", "nan", "comes from low-level"):
        assert word not in text
    assert "can't be told" in text
    # two seeds tell a large gain from 0, and its share has an interval: Fieller's is exact
    assert (made.headlines[2].value == "unknown") == (seeds == 1)


def test_seeds_that_all_give_the_same_have_no_interval() -> None:
    """Made-up tables without any spread: numbers with why there is no interval, and nothing said of them."""
    tables = reuse({"near": (0.2, 0.1)})
    same = tables["feature_reuse"]["feature_reuse"].with_columns(
        pl.col("gain", "speed_gain").mean().over("view"),
    )
    made = on_page({"feature_reuse": {"feature_reuse": same}})
    text = " ".join([*made.paragraphs, *map(said, made.advice)])
    assert "near +20.0 points (3 seeds, all the same, no interval)" in text
    assert made.summary[0].endswith("on near can't be told from 3 seeds: there is no interval over them.")
    for word in ("helped", "hurt", "nan", "comes from low-level"):
        assert word not in text
    assert made.headlines[2].value == "50 %"
    assert made.headlines[2].detail.endswith("blocks (no interval)")


def test_what_survives_shuffling() -> None:
    made = on_page(reuse({"near": (0.2, 0.1)}))
    assert "with blocks of 1 px shuffled, so that no shape is left" in made.paragraphs[1]
    assert "+10.0 points [+7.5, +12.5] instead of +20.0 points [+17.5, +22.5]" in made.paragraphs[1]
    assert "What remains, in final metric and speed, comes from low-level statistics" in made.paragraphs[1]
    assert made.headlines[2].value == "50 %"
    assert made.headlines[2].detail.startswith("in the final metric, at 1 px blocks [")


def test_where_shuffled_images_are_worse_with_pre_training() -> None:
    made = on_page(reuse({"near": (0.2, -0.1)}, block=4))
    assert "no shape above 4 px is left" in made.paragraphs[1]
    assert "worse than random ones in final metric" in made.paragraphs[1]
    assert "in speed, comes from low-level statistics or from features of at most 4 px." in made.paragraphs[1]
    assert made.headlines[2].value == "−50 %"


def test_no_share_of_a_gain_below_zero() -> None:
    made = on_page(reuse({"near": (-0.2, -0.1)}))
    assert (made.headlines[2].value, made.headlines[2].label) == (
        "unknown",
        "share of the gain that survives shuffling",
    )
    assert "is below it" in made.headlines[2].detail


def test_only_shuffled_targets_are_compared() -> None:
    made = on_page(reuse({"near": (0.2, 0.1), "far": (0.5, None)}))
    assert "instead of +20.0 points" in made.paragraphs[1]
    assert "mean over 1 target" in made.paragraphs[1]
    assert len(on_page(reuse({"near": (0.2, None)})).headlines) == 2


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
    [(0.2, "alone help"), (-0.2, "alone harm"), (0.0, "alone change the final metric can't be told")],
)
def test_what_weight_statistics_give(value: float, words: str) -> None:
    assert words in text_of(controls(value))


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


@pytest.mark.parametrize(
    ("left", "speed", "block", "words"),
    [
        (
            0.1,
            0.2,
            1,
            "part of the gain is left, in the final metric and in speed: low-level statistics carry it.",
        ),
        (0.1, 0.2, 4, "in the final metric and in speed: nothing larger than 4 px carries it."),
        (0.0, 0.2, 1, "Whether one is left in the final metric can't be told from these seeds."),
        (0.0, 0.0, 1, "no gain is left that these seeds can tell."),
        (-0.1, 0.0, 1, "the final metric is worse than from scratch: its gain needs intact images."),
    ],
)
def test_the_plain_answer_says_no_more_of_what_survives_than_the_seeds_do(
    left: float, speed: float, block: int, words: str
) -> None:
    said = on_page(reuse({"near": (0.2, left)}, speed=speed, block=block)).summary[1]
    assert words in said
    assert ("intact" in said) == (left < 0)


def test_the_plain_answer_says_what_putting_back_costs_and_where() -> None:
    def sits(*drops: float) -> str:
        named = dict(zip(("stem", "stage1"), drops, strict=True))
        return on_page(criticality(named, cumulative=drops)).summary[0]

    cost = "for less than 2 points of the test metric (mean over seeds, on near)"
    assert sits(0.0, 0.01) == (
        f"Any single module of a fine-tuned network can go back to its pre-trained values {cost}."
    )
    assert sits(0.0, 0.1) == (
        f"Any module but stage1 can alone go back to its pre-trained values {cost}. Fine-tuning had to change stage1: "
        "reset alone, it costs more."
    )
    assert sits(0.1, 0.1) == (
        f"No module of a fine-tuned network can go back to its pre-trained values {cost}."
    )
    # the interval of 1.9 points reaches over 2
    assert sits(0.0, 0.019) == (
        f"Module stem can alone go back to its pre-trained values {cost}. These seeds do not decide whether "
        "stage1 (1 of 2 modules) can."
    )
    assert sits(0.019, 0.1) == (
        "These seeds do not decide whether stem (1 of 2 modules) can go back to its pre-trained values "
        f"{cost}. Fine-tuning had to change stage1: reset alone, it costs more."
    )
    assert sits(0.019, 0.021).startswith("Whether any single module of a fine-tuned network can go back")


def test_where_it_sits() -> None:
    made = on_page(criticality({"stem": 0.0, "stage1": 0.01, "stage2": 0.1}, cumulative=(0.0, 0.015, 0.2)))
    text = made.paragraphs[0]
    assert (
        "less than 2 points of the test metric for stem and stage1; the most costly is stage2, 10.0 points ["
        in text
    )
    assert "Everything up to stage1 can be put back together at 1.5 points" in text
    assert "costs 40.0 points [" in text
    assert (made.headlines[0].value, made.headlines[0].detail) == (
        "2 of 3",
        "one at a time, at less than 2 points; 3 seeds",
    )


def test_a_module_counts_only_where_the_interval_says_so() -> None:
    made = on_page(criticality({"stem": 0.0, "stage1": 0.019, "stage2": 0.1}, cumulative=(0.0, 0.019, 0.2)))
    text = made.paragraphs[0]
    assert (
        "of the test metric for stem; of stage1 at 1.9 points [+1.7, +2.1] that can't be told; the most"
        in text
    )
    assert "Everything up to stem can be put back together at 0.0 points [" in text
    assert "; with stage1 that can't be told, 1.9 points [" in text
    assert made.headlines[0].value == "1 to 2 of 3"
    assert made.headlines[0].detail.endswith("3 seeds; 1 can't be told")
    none = on_page(criticality({"stem": 0.019}, cumulative=(0.019,), kinds=("P-T",)))
    assert none.headlines[0].value == "0 to 1 of 1"
    assert "can't be told of any of 1; the most costly is stem, 1.9 points" in none.paragraphs[0]
    assert "from the bottom up can be put back at less than 2 points can't be told" in none.paragraphs[0]


def test_where_every_module_is_needed() -> None:
    text = text_of(criticality({"stem": 0.1, "stage1": 0.2}, cumulative=(0.1, 0.3), kinds=("P-T",)))
    assert "for no module; the most costly is stage1" in text
    assert "not even stem" in text
    assert "from scratch" not in text
    assert text_of(criticality({"stem": 0.1}, cumulative=(0.1,), kinds=("RI-T",))).startswith(
        "Nothing was measured"
    )


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
            "barrier_metric": height + SPREAD[a + b - 1] / 10,
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
        (0.02, "can't be told from these seeds", "seeds can't decide"),
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
    claim = next(claim for claim in CLAIMS if claim.id == "p_t_share_a_basin")
    finding = replace(not_measured(claim, ""), verdict=verdict, num_seeds=seeds)
    made = on_page(barriers({"P-T & P-T": 0.001}), findings=[finding])
    assert made.summary[-1].startswith(
        "No barrier was found on the straight line between two fine-tuned networks: at its lowest point the test "
        "metric is 0.1 points ["
    )
    assert ("basin" in made.summary[-1]) == (verdict == "holds")
    assert words in made.paragraphs[0]
    assert ("basin" in made.paragraphs[0]) == bool(words)


@pytest.mark.parametrize(
    ("height", "words"),
    [
        (0.001, "No barrier was found there."),
        (0.3, "That is a barrier."),
        (0.02, "can't be told from these seeds"),
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


def test_nothing_measured_is_said() -> None:
    made = on_page({})
    assert made.paragraphs == [
        "Nothing was measured that says what transfer gave.",
        "No claim was tested, from 3 seeds a kind.",
    ]
    assert (list(made.headlines), list(made.advice)) == ([], [])
    empty = {
        name: {table: rows.clear() for table, rows in own.items()}
        for name, own in reuse({"a": (0.1, 0.1)}).items()
    }
    assert on_page(empty).headlines == []


def test_claims_of_the_paper_and_our_own_are_counted_apart() -> None:
    findings = [not_measured(claim, "not run") for claim in CLAIMS]
    own = sum(claim.origin == "transferscope" for claim in CLAIMS)
    last = on_page({}, findings=findings).paragraphs[-1]
    papers = len(CLAIMS) - own
    counts = f"0 hold, 0 do not hold, 0 are undecided and {papers} were not measured"
    assert f"Of the paper's {papers} claims, {counts}" in last
    assert f"of this tool's own {own} claims, 0 hold" in last


def test_counts_of_claims_are_in_the_number_that_grammar_asks_for() -> None:
    paper = [claim for claim in CLAIMS if claim.origin == "paper"][:3]
    verdicts: tuple[Verdict, ...] = ("holds", "does not hold", "undecided")
    findings = [
        replace(not_measured(claim, ""), verdict=verdict, num_seeds=3)
        for claim, verdict in zip(paper, verdicts, strict=True)
    ]
    last = on_page({}, findings=findings).paragraphs[-1]
    assert (
        last == "Of the paper's 3 claims, 1 holds, 1 does not hold and 1 is undecided, from 3 seeds a kind."
    )


# What to do


def choice(**replaced: Any) -> Tables:
    row = {
        "target": "near",
        "best_epoch": 5,
        "best_metric": 0.79,
        "standard_error": 0.01,
        "recommended_epoch": 3,
    }
    row |= {
        "difference": -0.008,
        "difference_low": -0.02,
        "difference_high": 0.004,
        "last_epoch": 6,
        "num_seeds": 3,
    }
    return {"checkpoints": {"checkpoints_choice": frame([{**row, **replaced}])}}


def test_which_checkpoint() -> None:
    (line,) = advice(choice())
    assert "pre-training epoch 3 of 6 is enough" in line
    assert "−0.8 points [−2.0, +0.4]" in line
    assert "There is no earlier one" in advice(choice(recommended_epoch=5))[0]
    one = choice(recommended_epoch=None, standard_error=math.nan, num_seeds=1)
    assert "can't be told from 1 seed" in advice(one)[0]


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
    assert "leave stem frozen (10 %" in advice(freezing((1, 2, 2)))[0], "what every seed can keep"
    (line,) = advice(freezing((0, 2, 0)))
    assert "Leave no module of near frozen" in line
    assert "of the training metric in 2 of 3 seeds" in line


@pytest.mark.parametrize("chosen", [(0, 2), (2, 2), (None, 2)])
def test_what_to_leave_frozen_can_not_be_told_from_two_seeds(chosen: tuple[int | None, ...]) -> None:
    (item,) = advised(freezing(chosen))
    assert item.text == "Which modules of near to leave frozen can't be told from 2 seeds."
    assert (item.certainty, item.why) == ("open", "at least 3 seeds are needed")


def test_no_set_can_be_left_frozen() -> None:
    assert "can be left frozen in every one of 3 seeds" in advice(freezing((None, 2, 2)))[0]


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
        (0.01, "is safe. +1.0 points of the test metric ["),
        (-0.3, "Don't average"),
        (-0.02, "is safe can't be told from these seeds"),
    ],
)
def test_whether_averaging_is_safe(gain: float, words: str) -> None:
    (line,) = advice(averaging(gain))
    assert words in line
    assert "of two trained from scratch −50.0 points" in line
    assert "scratch" not in advice(averaging(gain, None))[0]
