"""What feature_reuse says on the first page of made-up tables."""

from __future__ import annotations

import polars as pl
import pytest
from first_page import SPREAD, Tables, advice, frame, on_page, said


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
    assert "It is undecided whether it trained faster" in made.paragraphs[0]
    assert made.summary[0] == "Pre-training helped on far; it made no clear difference on near."
    assert advice(reuse({"near": (0.001, None)}, speed=0.0))[0].startswith(
        "On near, the pre-trained weights change the final metric by less than 2 points."
    )
    assert advice(reuse({"near": (0.015, None)}, speed=0.0))[0].startswith(
        "Whether to start from the pre-trained weights on near is undecided"
    )
    faster = on_page(reuse({"near": (0.001, None)})).advice[0]
    assert faster.text.endswith(
        "where time counts, on near: they train faster. The effect on the final metric is inconclusive."
    )
    assert faster.evidence in ("strong", "some")
    assert faster.why.endswith(
        "about the speed on training images, and leaves out the time of the pre-training"
    )


@pytest.mark.parametrize("seeds", [1, 2])
def test_few_seeds_give_numbers_and_no_verdict(seeds: int) -> None:
    made = on_page(reuse({"near": (0.2, 0.1)}, seeds=seeds), seeds=seeds)
    noun = "seed" if seeds == 1 else "seeds"
    text = " ".join([*made.paragraphs, *map(said, made.advice)])
    assert f"({seeds} {noun}, no interval)" in text
    assert made.summary[0] == (
        f"Whether pre-training made a difference on near is undecided with {seeds} {noun}: an interval needs 3."
    )
    for word in ("helped", "hurt", "nan", "comes from low-level"):
        assert word not in text
    assert "undecided" in text
    # two seeds tell a large gain from 0, and its share has an interval: Fieller's is exact
    assert len(made.headlines) == 1 + seeds


def test_seeds_that_all_give_the_same_have_no_interval() -> None:
    """Made-up tables without any spread: numbers with why there is no interval, and nothing said of them."""
    tables = reuse({"near": (0.2, 0.1)})
    same = tables["feature_reuse"]["feature_reuse"].with_columns(
        pl.col("gain", "speed_gain").mean().over("view"),
    )
    made = on_page({"feature_reuse": {"feature_reuse": same}})
    text = " ".join([*made.paragraphs, *map(said, made.advice)])
    assert "near +20.0 points (3 seeds, all the same, no interval)" in text
    assert made.summary[0].endswith("on near is undecided with 3 seeds: there is no interval over them.")
    for word in ("helped", "hurt", "nan", "comes from low-level"):
        assert word not in text
    assert len(made.headlines) == 2, "no share without an interval"


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
    assert len(on_page(reuse({"near": (-0.2, -0.1)})).headlines) == 2


def test_only_shuffled_targets_are_compared() -> None:
    made = on_page(reuse({"near": (0.2, 0.1), "far": (0.5, None)}))
    assert "instead of +20.0 points" in made.paragraphs[1]
    assert "mean over 1 target" in made.paragraphs[1]
    assert len(on_page(reuse({"near": (0.2, None)})).headlines) == 2


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
        (0.0, 0.2, 1, "These seeds do not decide whether one is left in the final metric."),
        (0.0, 0.0, 1, "no clear gain is left."),
        (-0.1, 0.0, 1, "the final metric is worse than from scratch: its gain needs intact images."),
    ],
)
def test_the_plain_answer_says_no_more_of_what_survives_than_the_seeds_do(
    left: float, speed: float, block: int, words: str
) -> None:
    said = on_page(reuse({"near": (0.2, left)}, speed=speed, block=block)).summary[1]
    assert words in said
    assert ("intact" in said) == (left < 0)


def test_nothing_measured_gives_no_number() -> None:
    empty = {name: table.clear() for name, table in reuse({"a": (0.1, 0.1)})["feature_reuse"].items()}
    assert on_page({"feature_reuse": empty}).headlines == []
