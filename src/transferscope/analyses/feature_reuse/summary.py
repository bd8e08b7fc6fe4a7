"""Feature reuse over seeds: means with intervals, and the share of the gain that survives shuffling."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from transferscope.analyses.contract import Row
from transferscope.analyses.feature_reuse.tables import QUANTITIES, SPEEDS
from transferscope.analyses.shared.over_seeds import over_seeds, share_over_seeds
from transferscope.core.runs import KIND_NAMES, KINDS

if TYPE_CHECKING:
    import polars as pl

VIEW = ("target", "likeness_rank", "view", "block_size_px")
SHARES = {"surviving_gain": "gain", "surviving_speed_gain": "speed_gain"}
"""Shares of the unshuffled gain, and the gain that each is a share of."""


def summary_rows(tables: Mapping[str, pl.DataFrame]) -> Iterator[Row]:
    """Rows of feature_reuse_over_seeds: one a target, view and number."""
    import polars as pl

    table, levels = tables["feature_reuse"], tables["feature_reuse_levels"]
    whole = table.filter(pl.col("view") == "unshuffled")
    for values, part in table.group_by(list(VIEW), maintain_order=True):
        keys = dict(zip(VIEW, values, strict=True))
        for name in QUANTITIES:
            ends = (part[f"{name}_low"].to_list(), part[f"{name}_high"].to_list())
            yield {**keys, "quantity": name, "level": None, **over_seeds(part[name].to_list(), *ends)}
        for name in SPEEDS:
            yield {**keys, "quantity": name, "level": None, **over_seeds(part[name].to_list())}
        if keys["view"] != "unshuffled":
            both = part.join(whole, on=["target", "seed"], suffix="_whole")
            for name, gain in SHARES.items():
                share = share_over_seeds(both[gain].to_list(), both[f"{gain}_whole"].to_list())
                yield {**keys, "quantity": name, "level": None, **share}
        here = pl.all_horizontal(pl.col(name).eq_missing(value) for name, value in keys.items())
        for kind in KINDS:
            own = levels.filter(here & (pl.col("kind") == KIND_NAMES[kind]))
            for (level,), reached in own.group_by(["level"], maintain_order=True):
                counted = over_seeds(reached["epochs"].to_list())
                yield {**keys, "quantity": f"{kind}_epochs", "level": level, **counted}
