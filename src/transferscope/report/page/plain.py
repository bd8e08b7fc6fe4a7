"""The answer in a few plain sentences: what any reader should take away, with few numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import polars as pl

from transferscope.analyses.findings import MIN_SEEDS, SMALL_METRIC, Finding
from transferscope.report.page.phrases import (
    counted,
    interval,
    listed,
    mean_estimate,
    points,
    rows_of,
    side,
    targets_of,
)
from transferscope.report.page.place import PutBack, basin_standing

Tables = Mapping[str, Mapping[str, pl.DataFrame]]


def plain_summary(tables: Tables, findings: Sequence[Finding] = ()) -> list[str]:
    """One sentence or two each: what transfer gave, what it rests on, where it sits, a barrier or not.

    Args:
        tables: analysis -> table name -> rows; what wasn't measured is left out.
        findings: the verdicts on the claims.
    """
    parts = (_gave(tables), _rests_on(tables), _sits(tables), _barrier(tables, findings))
    return [text for text in parts if text]


def _gave(tables: Tables) -> str:
    whole = rows_of(tables, "feature_reuse", pl.col("view") == "unshuffled")
    if whole is None:
        return ""
    said: dict[int | None, list[str]] = {1: [], -1: [], 0: [], None: []}
    for target in targets_of(whole):
        gain = mean_estimate(whole.filter(pl.col("target") == target), "gain")
        said[side(gain) if math.isfinite(gain.low) else None].append(target)
    parts = []
    if said[1]:
        parts.append(f"helped on {listed(said[1])}")
    if said[-1]:
        parts.append(f"hurt on {listed(said[-1])}")
    if said[0]:
        parts.append(f"made no difference that these seeds can tell on {listed(said[0])}")
    sentences = [f"Pre-training {'; it '.join(parts)}."] if parts else []
    if said[None]:
        what, count = "it" if parts else "pre-training", whole["seed"].n_unique()
        why = f"an interval needs {MIN_SEEDS}" if count < MIN_SEEDS else "there is no interval over them"
        sentences.append(
            f"Whether {what} made a difference on {listed(said[None])} can't be told from "
            f"{counted(count, 'seed')}: {why}."
        )
    faster = {1: "The networks learned faster with it.", -1: "They learned more slowly with it.", 0: ""}
    return " ".join([*sentences, faster[side(mean_estimate(whole, "speed_gain"))]]).strip()


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
    single = PutBack.of(table)
    cheap, needed, open_ = (single.where(sign) for sign in (-1, 1, 0))
    cost = f"{100 * SMALL_METRIC:g} points of the test metric"
    mean = f"(mean over seeds, on {listed(targets_of(table))})"
    back = f"go back to its pre-trained values for less than {cost} {mean}"
    if len(cheap) == len(single.drops):
        return f"Any single module of a fine-tuned network can {back}."
    if len(needed) == len(single.drops):
        return f"No module of a fine-tuned network can {back}."
    if len(open_) == len(single.drops):
        return f"Whether any single module of a fine-tuned network can {back} can't be told from these seeds."
    each = "each of them" if len(needed) > 1 else "it"
    changed = f"Fine-tuning had to change {listed(needed)}: reset alone, {each} costs more."
    if not open_:
        return f"Any module but {listed(needed)} can alone {back}. {changed}"
    how_many = f"{listed(open_)} ({len(open_)} of {len(single.drops)} modules)"
    if not cheap:
        rest = f"These seeds do not decide whether {how_many} can {back}."
        return f"{rest} {changed}" if needed else rest
    who = f"Each of the modules {listed(cheap)}" if len(cheap) > 1 else f"Module {listed(cheap)}"
    rest = f"These seeds do not decide whether {how_many} can."
    return " ".join([f"{who} can alone {back}.", *([changed] if needed else []), rest])


def _barrier(tables: Tables, findings: Sequence[Finding]) -> str:
    is_line = (pl.col("definition") == "line") & (pl.col("checkpoint") == "final")
    own = (pl.col("target") == pl.col("target_b")) & (pl.col("pair") == "P-T & P-T")
    table = rows_of(tables, "barriers", own & is_line)
    if table is None:
        return ""
    height = mean_estimate(table, "barrier_metric")
    if not math.isfinite(height.effect):
        return ""
    line = "on the straight line between two fine-tuned networks"
    drop = f"{points(height.effect, signed=False)} {interval(height)}"
    text = {
        -1: f"No barrier was found {line}",
        1: f"There is a barrier {line}",
        0: f"Whether there is a barrier {line} can't be told from these seeds",
    }[side(height, SMALL_METRIC)]
    text += f": at its lowest point the test metric is {drop} below theirs."
    # no barrier on a line is not yet a basin, which has walls around it
    return f"{text} They lie in one basin of the loss." if basin_standing(findings) == "holds" else text
