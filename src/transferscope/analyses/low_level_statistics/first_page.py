"""What low_level_statistics says on the first page: what the statistics of the weights give alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from transferscope.analyses.claims import Finding
from transferscope.analyses.contract import FirstPage, Panel
from transferscope.analyses.low_level_statistics.tables import PERMUTED
from transferscope.analyses.shared.gain_split import (
    INTACT,
    MAX_TARGETS,
    QUANTITIES,
    STATISTICS,
    SURVIVES,
    Way,
    split_panels,
    steps,
)
from transferscope.analyses.shared.phrases import (
    estimated,
    listed,
    mean_estimate,
    rows_of,
    side,
    targets_of,
)

if TYPE_CHECKING:
    import polars as pl

_DRAWN = "networks gain that start from weights drawn with the mean and variance of each pre-trained tensor"
CONTROLLED = {
    STATISTICS: ("weight statistics", f"what {_DRAWN}"),
    SURVIVES: ("features on shuffled blocks", "what P-T has above those where both see shuffled blocks"),
    INTACT: ("features lost by shuffling", "what it has above them on intact images beyond that"),
}
SHUFFLED = {
    STATISTICS: ("weight statistics", f"what {_DRAWN}"),
    SURVIVES: ("survives shuffling", "what P-T gains on shuffled blocks beyond that"),
    INTACT: ("intact features", "the rest, which needs intact images"),
}
UNSHUFFLED = {
    STATISTICS: ("weight statistics", f"what {_DRAWN}"),
    INTACT: ("beyond weight statistics", "the rest; no images were shuffled"),
}
"""Bar -> part of the gain, and what it means: the most telling way first."""


def headline(
    tables: Mapping[str, pl.DataFrame], findings: Sequence[Finding], beside: Mapping[str, str]
) -> FirstPage:
    """What the controls say, and the gain split by what it rests on."""
    return FirstPage(paragraphs=[_statistics(tables)], panels=_split(tables))


def _statistics(tables: Mapping[str, pl.DataFrame]) -> str:
    """What the controls say, where they ran."""
    import polars as pl

    rows = rows_of(tables, "low_level_statistics")
    if rows is None:
        return ""

    def of(quantity: str, part: str) -> pl.DataFrame:
        return rows.filter((pl.col("quantity") == quantity) & (pl.col("part") == part))

    final, speed = (
        mean_estimate(of(quantity, "weight statistics"), "value")
        for quantity in ("final metric", "optimization speed")
    )
    permuted = of("final metric", PERMUTED)
    beside = (
        ""
        if permuted.is_empty()
        else f" (with the entries permuted {estimated(mean_estimate(permuted, 'value'))})"
    )
    on = listed(targets_of(rows))
    sense = {
        1: "The statistics of the weights alone help the final metric",
        -1: "The statistics of the weights alone harm the final metric",
        0: "It is undecided whether the statistics of the weights alone change the final metric",
    }
    return (
        "How much the statistics of the pre-trained weights give, without their features: networks that start from "
        f"weights drawn with the mean and variance of each pre-trained tensor differ from scratch on {on} by "
        f"{estimated(final)} in the final metric{beside} and by "
        f"{estimated(speed)} in optimization speed. {sense[side(final)]}."
    )


def _split(tables: Mapping[str, pl.DataFrame]) -> list[Panel]:
    """The gain split by the most telling way that all targets have."""
    shares = rows_of(tables, "low_level_statistics_shares")
    if shares is None:
        return []
    # one way for all targets: the same bar must mean the same in each of them
    present = set.intersection(
        *(set(part["part"]) for _, part in shares.group_by("target", maintain_order=True))
    )
    way = next(
        way for way in (CONTROLLED, SHUFFLED, UNSHUFFLED) if {part for part, _ in way.values()} <= present
    )
    return split_panels(_split_rows(shares, way), way)


def _split_rows(shares: pl.DataFrame, way: Way) -> list[dict[str, Any]]:
    import polars as pl

    rows = []
    for target in targets_of(shares)[:MAX_TARGETS]:
        for quantity in QUANTITIES:
            here = shares.filter((pl.col("target") == target) & (pl.col("quantity") == quantity))
            parts = {
                row["part"]: (row["mean"], row["low"], row["high"]) for row in here.iter_rows(named=True)
            }
            known = {name: parts[part] for name, (part, _) in way.items() if part in parts}
            if "gain" in parts and len(known) == len(way):
                rows += steps(target, quantity, known, parts["gain"])
    return rows
