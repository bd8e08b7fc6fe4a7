"""The claims about weight statistics, and what its tables say of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from transferscope.analyses.findings import (
    Claim,
    Finding,
    judge,
    largest,
    mean_over_targets,
    not_measured,
)
from transferscope.analyses.low_level_statistics.tables import FINAL, PARTS, SPEED
from transferscope.core.config import Study

if TYPE_CHECKING:
    import polars as pl


WEIGHT_STATISTICS_SPEED_UP = Claim(
    id="weight_statistics_speed_up",
    analysis="low_level_statistics",
    origin="transferscope",
    statement="The statistics of the pre-trained weights speed up the training without any feature.",
    statistic="optimization speed from weights drawn with mean and variance of each pre-trained tensor minus that "
    "of RI-T, mean over targets",
)
FEATURES_GIVE_MORE_THAN_STATISTICS = Claim(
    id="features_give_more_than_statistics",
    analysis="low_level_statistics",
    origin="transferscope",
    statement="More of the gain in the final metric comes from the pre-trained features than from the statistics "
    "of their weights.",
    statistic="final metric of P-T minus that from weights drawn with P's statistics, minus what the latter are "
    "above RI-T, mean over targets",
    reason="zero: more than half of the gain; asked only where there is a gain",
)
FEATURES_SURVIVE_SHUFFLING = Claim(
    id="features_survive_shuffling",
    analysis="low_level_statistics",
    origin="transferscope",
    statement="On shuffled blocks the pre-trained features give more than the statistics of their weights.",
    statistic="final metric of P-T minus that from weights drawn with P's statistics, both trained on shuffled "
    "blocks, mean over targets",
)
CLAIMS = (
    WEIGHT_STATISTICS_SPEED_UP,
    FEATURES_GIVE_MORE_THAN_STATISTICS,
    FEATURES_SURVIVE_SHUFFLING,
)


def findings(tables: Mapping[str, pl.DataFrame], study: Study) -> Sequence[Finding]:
    """The three claims about weight statistics; ours, not the paper's."""
    import polars as pl

    table, n = tables["low_level_statistics"], largest(tables["low_level_statistics_networks"], "n_test")
    final, speed = (table.filter(pl.col("quantity") == quantity) for quantity in (FINAL, SPEED))
    found = [
        judge(
            WEIGHT_STATISTICS_SPEED_UP,
            speed,
            lambda rows: _part(rows, "weight statistics"),  # of training images: no test image is behind it
        )
    ]
    claim, gain = FEATURES_GIVE_MORE_THAN_STATISTICS, _part(final, "gain")
    if gain > 0:
        note = f"The gain is {gain:.3f}."
        found.append(judge(claim, final, _features_over_statistics, num_images=n, note=note))
    else:
        found.append(not_measured(claim, "P-T is no better than RI-T here: there is no gain to split."))
    return [*found, _surviving(final, n)]


def _surviving(final: pl.DataFrame, n: int) -> Finding:
    """Whether features give more than statistics on the same shuffled images."""
    import polars as pl

    claim, part = FEATURES_SURVIVE_SHUFFLING, "features on shuffled blocks"
    rows = final.filter(pl.col("part") == part)
    if rows.is_empty():
        return not_measured(claim, "No control was trained on shuffled blocks; see shuffled_controls.")
    sizes = ", ".join(f"{size} px" for size in sorted(set(rows["block_size_px"].to_list())))
    on = ", ".join(rows["target"].unique(maintain_order=True))
    return judge(claim, rows, lambda own: _part(own, part), num_images=n, note=f"Blocks of {sizes}, on {on}.")


def _features_over_statistics(rows: pl.DataFrame) -> float:
    return _part(rows, "beyond weight statistics") - _part(rows, "weight statistics")


def _part(rows: pl.DataFrame, name: str) -> float:
    import polars as pl

    assert name in PARTS
    return mean_over_targets(rows.filter(pl.col("part") == name), "value")
