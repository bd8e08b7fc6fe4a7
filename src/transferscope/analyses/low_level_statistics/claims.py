"""The claims about weight statistics, and what its tables say of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from transferscope.analyses.claims import Claim, Finding, not_measured
from transferscope.analyses.findings import Rows, judge, largest, mean_of, mean_over_targets
from transferscope.analyses.low_level_statistics.tables import FINAL, PARTS, SPEED
from transferscope.core.config import Study

if TYPE_CHECKING:
    import polars as pl

WEIGHT_STATISTICS_SPEED_UP = Claim(
    id="weight_statistics_speed_up",
    analysis="low_level_statistics",
    origin="transferscope",
    statement="The statistics of the pre-trained weights speed up the training without any feature.",
    table="low_level_statistics",
    statistic="optimization speed from weights drawn with mean and variance of each pre-trained tensor minus that "
    "of RI-T",
)
FEATURES_GIVE_MORE_THAN_STATISTICS = Claim(
    id="features_give_more_than_statistics",
    analysis="low_level_statistics",
    origin="transferscope",
    statement="More of the gain in the final metric comes from the pre-trained features than from the statistics "
    "of their weights.",
    table="low_level_statistics",
    statistic="final metric of P-T minus that from weights drawn with P's statistics, minus what the latter are "
    "above RI-T",
    reason="zero: more than half of the gain; asked only where there is a gain",
)
FEATURES_SURVIVE_SHUFFLING = Claim(
    id="features_survive_shuffling",
    analysis="low_level_statistics",
    origin="transferscope",
    statement="On shuffled blocks the pre-trained features give more than the statistics of their weights.",
    table="low_level_statistics",
    statistic="final metric of P-T minus that from weights drawn with P's statistics, both trained on shuffled "
    "blocks",
)
CLAIMS = (WEIGHT_STATISTICS_SPEED_UP, FEATURES_GIVE_MORE_THAN_STATISTICS, FEATURES_SURVIVE_SHUFFLING)


def findings(tables: Mapping[str, pl.DataFrame], study: Study) -> Sequence[Finding]:
    """The three claims about weight statistics; ours, not the paper's."""
    n = largest(tables["low_level_statistics_networks"], "n_test")
    # the speed is that on training images: no test image is behind it
    found = [
        judge(WEIGHT_STATISTICS_SPEED_UP, tables, mean_of("value"), rows=_part(SPEED, "weight statistics"))
    ]
    claim = FEATURES_GIVE_MORE_THAN_STATISTICS
    gain = mean_over_targets(_part(FINAL, "gain")(tables[claim.table]), "value")
    if gain > 0:
        parts = ("weight statistics", "beyond weight statistics")
        note = f"The gain is {gain:.3f}."
        found.append(
            judge(
                claim, tables, _features_over_statistics, rows=_part(FINAL, *parts), num_images=n, note=note
            )
        )
    else:
        found.append(not_measured(claim, "P-T is no better than RI-T here: there is no gain to split."))
    return [*found, _surviving(tables, n)]


def _surviving(tables: Mapping[str, pl.DataFrame], n: int) -> Finding:
    """Whether features give more than statistics on the same shuffled images."""
    claim = FEATURES_SURVIVE_SHUFFLING
    shuffled = _part(FINAL, "features on shuffled blocks")
    rows = shuffled(tables[claim.table])
    sizes = ", ".join(f"{size} px" for size in sorted(set(rows["block_size_px"].to_list())))
    on = ", ".join(rows["target"].unique(maintain_order=True))
    return judge(
        claim,
        tables,
        mean_of("value"),
        rows=shuffled,
        num_images=n,
        note=f"Blocks of {sizes}, on {on}.",
        missing="No control was trained on shuffled blocks; see analyses.low_level_statistics.shuffled_controls.",
    )


def _features_over_statistics(rows: pl.DataFrame) -> float:
    import polars as pl

    beyond, statistics = (
        mean_over_targets(rows.filter(pl.col("part") == name), "value")
        for name in ("beyond weight statistics", "weight statistics")
    )
    return beyond - statistics


def _part(quantity: str, *names: str) -> Rows:
    """The rows of some parts of the gain in a quantity."""
    import polars as pl

    assert set(names) <= set(PARTS)
    return lambda table: table.filter((pl.col("quantity") == quantity) & pl.col("part").is_in(names))
