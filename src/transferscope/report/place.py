"""The answer about the weights: where in the network transfer sits, and whether the instances share a basin."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import polars as pl

from transferscope.claims import SMALL_METRIC
from transferscope.findings import estimate, mean_over_targets
from transferscope.report.content import Headline
from transferscope.report.phrases import (
    counted,
    estimated,
    interval,
    listed,
    mean_estimate,
    points,
    rows_of,
    side,
)

Tables = Mapping[str, Mapping[str, pl.DataFrame]]
Part = tuple[str, Headline | None]


def place(tables: Tables) -> Part:
    """Which modules can go back to their pre-trained values, alone and together."""
    table = rows_of(tables, "criticality", ~pl.col("is_head"))
    if table is None or table.filter(pl.col("kind") == "P-T").is_empty():
        return "", None
    p_t, ri_t = (table.filter(pl.col("kind") == kind) for kind in ("P-T", "RI-T"))
    modules = p_t.sort("depth")["module"].unique(maintain_order=True).to_list()
    drop = {name: mean_estimate(p_t.filter(pl.col("module") == name), "test_drop") for name in modules}
    cheap = [name for name in modules if drop[name].effect < SMALL_METRIC]
    costly = max(modules, key=lambda name: drop[name].effect)
    limit = points(SMALL_METRIC, signed=False).replace(".0", "")
    text = (
        "Where it sits: putting one module of a fine-tuned network back to its pre-trained values costs less than "
        f"{limit} of the test metric for {listed(cheap) if cheap else 'no module'}; the most costly is {costly}, "
        f"{points(drop[costly].effect, signed=False)} {interval(drop[costly])}. "
    )
    text += _together(p_t, modules, limit)
    if not ri_t.is_empty():
        scratch = mean_estimate(ri_t, "test_drop")
        text += (
            "In a network trained from scratch, putting one module back to its random values costs "
            f"{points(scratch.effect, signed=False)} {interval(scratch)} on average."
        )
    seeds = counted(p_t["seed"].n_unique(), "seed")
    return text.strip(), Headline(
        value=f"{len(cheap)} of {len(modules)}",
        label="modules can go back to their pre-trained values",
        detail=f"one at a time, at less than {limit}; {seeds}",
    )


def _together(p_t: pl.DataFrame, modules: Sequence[str], limit: str) -> str:
    """Up to where the modules from the bottom on can be put back together."""
    last: tuple[str, str] | None = None
    for name in modules:
        found = mean_estimate(p_t.filter(pl.col("module") == name), "test_drop_cumulative")
        if not found.effect < SMALL_METRIC:
            break
        last = name, f"{points(found.effect, signed=False)} {interval(found)}"
    if last is None:
        return f"From the bottom up not even {modules[0]} can be put back at less than {limit}. "
    if last[0] == modules[0]:
        return f"From the bottom up only {modules[0]} can be put back at less than {limit}. "
    return f"Everything up to {last[0]} can be put back together at {last[1]}. "


def basin(tables: Tables) -> Part:
    """Whether a barrier lies between two fine-tuned networks, and what averaging them gives."""
    is_line = (pl.col("definition") == "line") & (pl.col("checkpoint") == "final")
    table = rows_of(tables, "barriers", (pl.col("target") == pl.col("target_b")) & is_line)
    if table is None:
        return "", None
    by_kind = {
        kind: mean_estimate(part, "barrier_metric")
        for kind in ("P-T & P-T", "RI-T & RI-T", "P-T & RI-T")
        if not (part := table.filter(pl.col("pair") == kind)).is_empty()
    }
    if "P-T & P-T" not in by_kind:
        return "", None
    height = by_kind.pop("P-T & P-T")
    short = {
        -1: "no barrier",
        1: "a barrier",
        0: "seeds can't decide",
    }[side(height, SMALL_METRIC)]
    if math.isnan(height.low):
        short = (
            "the same in all seeds: no interval" if height.standard_error == 0 else "too few seeds to decide"
        )
    others = [
        f"{points(found.effect, signed=False)} {interval(found)} for {kind}"
        for kind, found in by_kind.items()
    ]
    beside = f" ({'; '.join(others)})" if others else ""
    text = (
        "Whether the instances share a basin: on the straight path between two fine-tuned networks the test metric "
        f"drops by at most {points(height.effect, signed=False)} {interval(height)} below the line between "
        f"them{beside}. "
    )
    text += {
        -1: "There is no barrier between them, as in one basin.",
        1: "There is a barrier between them: they lie in separate basins.",
        0: "Whether that is a barrier can't be told from these seeds.",
    }[side(height, SMALL_METRIC)]
    middle = _averaged(table.filter(pl.col("pair") == "P-T & P-T"))
    return text + middle, Headline(
        value=points(height.effect, signed=False),
        label="barrier between two fine-tuned networks",
        detail=short if math.isnan(height.low) else f"{short} {interval(height)}",
    )


def _averaged(p_t: pl.DataFrame) -> str:
    """What the midpoint of two gives, where it was measured."""
    ends = (pl.col("metric_a") + pl.col("metric_b")) / 2
    middle = mean_over_targets(p_t, "metric_midpoint")
    if not math.isfinite(middle):
        return ""
    gain = estimate(p_t, lambda rows: mean_over_targets(rows, pl.col("metric_midpoint") - ends))
    return (
        f" Averaging the weights of two gives {middle:.3f} where the two themselves have "
        f"{mean_over_targets(p_t, ends):.3f} on average, {estimated(gain)}."
    )
