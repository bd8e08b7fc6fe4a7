"""The figure of the first page: parts that add up, whichever way they were measured, and intervals that are theirs."""

from __future__ import annotations

import itertools
import math
from typing import Any

import polars as pl
import pytest
from first_page import figures

from transferscope.analyses import theme
from transferscope.analyses.contract import Panel
from transferscope.analyses.shared.gain_split import COLORS, INTACT, SURVIVES, WHOLE
from transferscope.report.page.drawings import inline_svg

SPREAD = (-0.01, 0.0, 0.01)
CONTROLLED = {
    "weight statistics": -0.1,
    "features on shuffled blocks": 0.05,
    "features lost by shuffling": 0.25,
    "survives shuffling": 0.2,
    "intact features": 0.1,
    "gain": 0.2,
}
WITHOUT_CONTROL = {
    part: CONTROLLED[part] for part in ("weight statistics", "survives shuffling", "intact features", "gain")
}
UNSHUFFLED = {"weight statistics": -0.1, "beyond weight statistics": 0.3, "gain": 0.2}


def shares(
    parts: dict[str, float], targets: tuple[str, ...] = ("near",)
) -> dict[str, dict[str, pl.DataFrame]]:
    rows = [
        {
            "target": target,
            "quantity": quantity,
            "part": part,
            "mean": mean,
            "low": mean - 0.02,
            "high": mean + 0.02,
        }
        for target in targets
        for quantity in ("final metric", "optimization speed")
        for part, mean in parts.items()
    ]
    return {"low_level_statistics": {"low_level_statistics_shares": pl.DataFrame(rows)}}


def reuse() -> dict[str, dict[str, pl.DataFrame]]:
    rows = [
        {
            "target": "near",
            "view": view,
            "block_size_px": size,
            "seed": seed,
            "gain": gain + spread,
            "speed_gain": 0.4 + spread,
            "metric": "accuracy",
            **dict.fromkeys(("p_t", "ri_t", "p_t_speed", "ri_t_speed"), 0.5),
        }
        for view, size, gain in (("unshuffled", 32, 0.3), ("blocks", 4, 0.2), ("blocks", 1, 0.1))
        for seed, spread in enumerate(SPREAD)
    ]
    return {"feature_reuse": {"feature_reuse": pl.DataFrame(rows)}}


def steps(panel: Panel) -> list[dict[str, Any]]:
    """The bars of the panel's first target, from its first."""
    document = panel.chart.to_dict()
    (data,) = {name for name in document["datasets"] if "part" in document["datasets"][name][0]}
    return document["datasets"][data]


@pytest.mark.parametrize("parts", [CONTROLLED, WITHOUT_CONTROL, UNSHUFFLED])
def test_parts_add_up_to_the_gain(parts: dict[str, float]) -> None:
    final, speed = figures(shares(parts))
    assert (final.name, speed.name) == ("split-final", "split-speed")
    *bars, whole = steps(final)
    assert whole["part"] == WHOLE
    assert bars[0]["start"] == whole["start"] == 0
    assert all(after["start"] == before["end"] for before, after in itertools.pairwise(bars))
    assert bars[-1]["end"] == pytest.approx(whole["end"]) == pytest.approx(20)
    for bar in bars:
        assert bar["low"] == pytest.approx(bar["end"] - 2)
        assert bar["high"] == pytest.approx(bar["end"] + 2)
    assert {bar["part"] for bar in bars} <= COLORS.keys()
    assert final.summary == ""
    assert "weight statistics" in speed.summary.lower()


def test_the_control_on_shuffled_images_is_preferred() -> None:
    bars = {bar["part"]: bar["points"] for bar in steps(figures(shares(CONTROLLED))[0])}
    assert bars[SURVIVES] == "+5.0"
    assert bars[INTACT] == "+25.0"
    assert bars["weight statistics"] == "−10.0"


def test_a_target_without_that_control_is_shown_too_and_all_bars_mean_the_same() -> None:
    tables = [
        own["low_level_statistics"]["low_level_statistics_shares"]
        for own in (shares(CONTROLLED, ("near",)), shares(WITHOUT_CONTROL, ("far",)))
    ]
    final, speed = figures({"low_level_statistics": {"low_level_statistics_shares": pl.concat(tables)}})
    svg = inline_svg(theme.draw(final.chart), "p")
    assert all(f">{name}</text>" in svg for name in ("near", "far"))
    assert svg.count(">+20.0</text>") == 4, "survives shuffling and the whole gain, of both"
    assert "beyond that" in speed.summary


def test_without_controls_the_smallest_blocks_split_the_gain() -> None:
    final, speed = figures(reuse())
    survives, intact, whole = steps(final)
    assert (survives["points"], intact["points"], whole["points"]) == ("+10.0", "+20.0", "+30.0")
    # the same spread in both: the difference of the two has none
    assert math.isnan(intact["low"] or math.nan)
    assert survives["high"] == pytest.approx(10 + 4.302653 / 3**0.5, abs=1e-4)
    assert steps(speed)[0]["points"] == "+40.0"
    assert "smallest blocks" in speed.summary


def test_a_study_of_many_targets_shows_the_first() -> None:
    final, _ = figures(shares(UNSHUFFLED, tuple("abcdef")))
    svg = inline_svg(theme.draw(final.chart), "p")
    assert [name for name in "abcdef" if f">{name}</text>" in svg] == list("abcd")


def test_nothing_measured_gives_no_figure() -> None:
    assert figures({}) == []
    whole = reuse()["feature_reuse"]["feature_reuse"].filter(pl.col("view") == "unshuffled")
    assert figures({"feature_reuse": {"feature_reuse": whole}}) == []
