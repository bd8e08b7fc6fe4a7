"""The answer in a few plain sentences: what any reader should take away, without the numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping

import polars as pl

from transferscope.claims import SMALL_METRIC
from transferscope.report.phrases import listed, mean_estimate, rows_of, side, targets_of

Tables = Mapping[str, Mapping[str, pl.DataFrame]]


def plain_summary(tables: Tables) -> list[str]:
    """One sentence or two each: what transfer gave, what it rests on, where it sits, one basin or not.

    Args:
        tables: analysis -> table name -> rows; what wasn't measured is left out.
    """
    return [text for text in (_gave(tables), _rests_on(tables), _sits(tables), _basin(tables)) if text]


def _gave(tables: Tables) -> str:
    whole = rows_of(tables, "feature_reuse", pl.col("view") == "unshuffled")
    if whole is None:
        return ""
    said: dict[int, list[str]] = {1: [], -1: [], 0: []}
    for target in targets_of(whole):
        said[side(mean_estimate(whole.filter(pl.col("target") == target), "gain"))].append(target)
    parts = []
    if said[1]:
        parts.append(f"helped on {listed(said[1])}")
    if said[-1]:
        parts.append(f"hurt on {listed(said[-1])}")
    if said[0]:
        parts.append(f"made no difference that these seeds can tell on {listed(said[0])}")
    faster = {1: "The networks learned faster with it.", -1: "They learned more slowly with it.", 0: ""}
    return f"Pre-training {'; it '.join(parts)}. {faster[side(mean_estimate(whole, 'speed_gain'))]}".strip()


def _rests_on(tables: Tables) -> str:
    blocks = rows_of(tables, "feature_reuse", pl.col("view") == "blocks")
    whole = rows_of(tables, "feature_reuse", pl.col("view") == "unshuffled")
    if blocks is None or whole is None:
        return ""
    smallest = blocks["block_size_px"].min()
    shuffled = blocks.filter(pl.col("block_size_px") == smallest)
    whole = whole.filter(pl.col("target").is_in(targets_of(shuffled)))
    if side(mean_estimate(whole, "gain")) <= 0 and side(mean_estimate(whole, "speed_gain")) <= 0:
        return ""
    final, speed = (side(mean_estimate(shuffled, name)) for name in ("gain", "speed_gain"))
    where = f"With the images cut into shuffled blocks of {smallest} px"
    # what these seeds can't tell from nothing may still be there: it is not said to need intact images
    carried = "low-level statistics carry" if smallest == 1 else f"nothing larger than {smallest} px carries"
    left = {
        (1, 1): f"part of the gain is left, in the final metric and in speed: {carried} it.",
        (1, 0): f"part of the gain in the final metric is left: {carried} it.",
        (1, -1): "part of the gain in the final metric is left, and the speed is worse than from scratch.",
        (
            0,
            1,
        ): f"a gain is left in speed: {carried} it. Whether one is left in the final metric can't be told "
        "from these seeds.",
        (0, 0): "no gain is left that these seeds can tell.",
        (
            0,
            -1,
        ): "the pre-trained weights slow the training down, and no gain in the final metric is left that these "
        "seeds can tell.",
        (-1, 1): "a gain is left in speed, while the final metric is worse than from scratch.",
        (-1, 0): "the final metric is worse than from scratch: its gain needs intact images.",
        (-1, -1): "the pre-trained weights are worse than random ones: the gain needs intact images.",
    }
    return f"{where}, {left[final, speed]}"


def _sits(tables: Tables) -> str:
    table = rows_of(tables, "criticality", ~pl.col("is_head") & (pl.col("kind") == "P-T"))
    if table is None:
        return ""
    modules = table.sort("depth")["module"].unique(maintain_order=True).to_list()
    drop = {
        name: mean_estimate(table.filter(pl.col("module") == name), "test_drop").effect for name in modules
    }
    needed = [name for name in modules if not drop[name] < SMALL_METRIC]
    cost = f"{100 * SMALL_METRIC:g} points of the test metric"
    mean = f"(mean over seeds, on {listed(targets_of(table))})"
    if not needed:
        return (
            "Any single module of a fine-tuned network can go back to its pre-trained values for less than "
            f"{cost} {mean}."
        )
    if len(needed) == len(modules):
        return (
            "No module of a fine-tuned network can go back to its pre-trained values for less than "
            f"{cost} {mean}."
        )
    return (
        f"What fine-tuning had to change sits in {listed(needed)}; any other module alone can go back to its "
        f"pre-trained values for less than {cost} {mean}."
    )


def _basin(tables: Tables) -> str:
    is_line = (pl.col("definition") == "line") & (pl.col("checkpoint") == "final")
    own = (pl.col("target") == pl.col("target_b")) & (pl.col("pair") == "P-T & P-T")
    table = rows_of(tables, "barriers", own & is_line)
    if table is None:
        return ""
    height = mean_estimate(table, "barrier_metric")
    if not math.isfinite(height.effect):
        return ""
    return {
        -1: "Two fine-tuned networks lie in one basin: no barrier is between them.",
        1: "Two fine-tuned networks lie in separate basins: there is a barrier between them.",
        0: "Whether two fine-tuned networks share a basin can't be told from these seeds.",
    }[side(height, SMALL_METRIC)]
