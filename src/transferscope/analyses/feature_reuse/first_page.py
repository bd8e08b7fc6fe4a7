"""What feature_reuse says on the first page: what transfer gave, and what survives shuffling."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from transferscope.analyses.claims import Evidence, Finding
from transferscope.analyses.contract import Advice, FirstPage, Headline
from transferscope.analyses.findings import MIN_SEEDS, mean_over_targets
from transferscope.analyses.shared.gain_split import (
    INTACT,
    MAX_TARGETS,
    QUANTITIES,
    SURVIVES,
    split_panels,
    steps,
)
from transferscope.analyses.shared.phrases import (
    counted,
    estimated,
    evidence_of,
    interval,
    listed,
    mean_estimate,
    points,
    rows_of,
    side,
    targets_of,
)

if TYPE_CHECKING:
    import polars as pl

WIDEST_SHARE = 0.5
"""Widest interval, as a share of the gain, with which a share is a headline."""
SPLIT = {
    SURVIVES: ("", "the gain at the smallest blocks"),
    INTACT: ("", "the rest, which needs intact images"),
}
"""The bars of the split gain; low_level_statistics, if it ran, splits it further."""


def headline(
    tables: Mapping[str, pl.DataFrame], findings: Sequence[Finding], beside: Mapping[str, str]
) -> FirstPage:
    """What transfer gave, what of it survives shuffling, and the gain split by what it rests on."""
    text, gain = _gain(tables, beside)
    survival, share = _survival(tables)
    return FirstPage(
        paragraphs=[text, survival],
        headlines=[one for one in (gain, *_speed(tables), share) if one is not None],
        summary=[_gave(tables), _rests_on(tables)],
        panels=split_panels(_split_rows(tables), SPLIT),
    )


def _gain(tables: Mapping[str, pl.DataFrame], beside: Mapping[str, str]) -> tuple[str, Headline | None]:
    import polars as pl

    table = rows_of(tables, "feature_reuse", pl.col("view") == "unshuffled")
    if table is None:
        return "", None
    listed_gains, said = [], {1: [], 0: [], -1: []}
    for target in targets_of(table):
        own = table.filter(pl.col("target") == target)
        gain = mean_estimate(own, "gain")
        ends = [mean_over_targets(own, name) for name in ("ri_t", "p_t")]
        images = f" ({beside[target]})" if beside.get(target) else ""
        listed_gains.append(f"{target} {estimated(gain)}, from {ends[0]:.2f} to {ends[1]:.2f}{images}")
        said[side(gain)].append(target)
    verdicts = [
        f"{words} {listed(said[sign])}"
        for sign, words in (
            (1, "it helped on"),
            (-1, "it hurt on"),
            (0, "these seeds can't tell it from no difference on"),
        )
        if said[sign]
    ]
    metrics = listed(
        [
            str(name).replace("_", " ").replace("auc", "AUC")
            for name in table["metric"].unique(maintain_order=True)
        ]
    )
    speed = mean_estimate(table, "speed_gain")
    faster = {
        1: "It trained faster",
        -1: "It trained more slowly",
        0: "It is undecided whether it trained faster",
    }
    text = (
        f"What transfer gave: against training from scratch, starting from the pre-trained weights changed the test "
        f"{metrics} by {'; '.join(listed_gains)} (95 % intervals over seeds in brackets). So {'; '.join(verdicts)}. "
        f"{faster[side(speed)]}: averaged over the epochs, the training metric was "
        f"{mean_over_targets(table, 'p_t_speed'):.2f} with pre-trained weights and "
        f"{mean_over_targets(table, 'ri_t_speed'):.2f} without, a difference of {estimated(speed)}."
    )
    mean = mean_estimate(table, "gain")
    num_targets = len(targets_of(table))
    detail = f"{'mean over ' if num_targets > 1 else ''}{counted(num_targets, 'target')} {interval(mean)}"
    return text, Headline(value=points(mean.effect), label="gain of P-T over RI-T", detail=detail)


def _speed(tables: Mapping[str, pl.DataFrame]) -> list[Headline]:
    import polars as pl

    table = rows_of(tables, "feature_reuse", pl.col("view") == "unshuffled")
    if table is None:
        return []
    found = mean_estimate(table, "speed_gain")
    over = f"of the training metric, mean over epochs {interval(found)}"
    return [Headline(value=points(found.effect), label="gain in optimization speed", detail=over)]


def _survival(tables: Mapping[str, pl.DataFrame]) -> tuple[str, Headline | None]:
    import polars as pl

    blocks = rows_of(tables, "feature_reuse", pl.col("view") == "blocks")
    if blocks is None:
        return "", None
    smallest = blocks["block_size_px"].min()
    shuffled = blocks.filter(pl.col("block_size_px") == smallest)
    table = tables["feature_reuse"]
    whole = table.filter((pl.col("view") == "unshuffled") & pl.col("target").is_in(targets_of(shuffled)))
    if whole.is_empty():
        return "", None
    gain, small_gain = mean_estimate(whole, "gain"), mean_estimate(shuffled, "gain")
    speed, small_speed = mean_estimate(whole, "speed_gain"), mean_estimate(shuffled, "speed_gain")
    left = [what for what, found in (("final metric", small_gain), ("speed", small_speed)) if side(found) > 0]
    hurt = [what for what, found in (("final metric", small_gain), ("speed", small_speed)) if side(found) < 0]
    no_shape = (
        "so that no shape is left" if smallest == 1 else f"so that no shape above {smallest} px is left"
    )
    text = (
        f"How much of it survives shuffling: with blocks of {smallest} px shuffled, {no_shape} to reuse a feature on, "
        f"the gain is {estimated(small_gain)} instead of {estimated(gain)}, and the gain in optimization speed "
        f"{estimated(small_speed)} instead of {estimated(speed)} (mean over "
        f"{counted(len(targets_of(shuffled)), 'target')}). "
    )
    if left:
        origin = "low-level statistics and not from features of shapes"
        if smallest != 1:
            origin = f"low-level statistics or from features of at most {smallest} px"
        text += f"What remains, in {listed(left)}, comes from {origin}. "
    if hurt:
        text += f"On these images the pre-trained weights are worse than random ones in {listed(hurt)}. "
    if not left and not hurt:
        text += "These seeds can't tell what remains from nothing. "
    return text.strip(), _share_headline(_surviving_share(whole, shuffled), f"at {smallest} px blocks")


def _share_headline(share: tuple[float, float, float], where: str) -> Headline | None:
    """The share of the gain that survives shuffling, where it is known well enough to be a headline."""
    where = f"in the final metric, {where}"
    if not share[2] - share[1] < WIDEST_SHARE:
        return None
    ends = f" [{100 * share[1]:.0f}, {100 * share[2]:.0f}]"
    return Headline(
        value=f"{100 * share[0]:.0f} %".replace("-", "−"),
        label="of the gain survives shuffling",
        detail=where + ends.replace("-", "−"),
    )


def _surviving_share(whole: pl.DataFrame, shuffled: pl.DataFrame) -> tuple[float, float, float]:
    """Gain on shuffled blocks over gain unshuffled, means over targets, with Fieller's interval over seeds."""
    import polars as pl

    from transferscope.metrics.statistics.ratio import fieller_interval

    seeds = [seed for seed in whole["seed"].unique(maintain_order=True) if seed in shuffled["seed"]]
    parts, wholes = (
        [mean_over_targets(table.filter(pl.col("seed") == seed), "gain") for seed in seeds]
        for table in (shuffled, whole)
    )
    share = fieller_interval(parts, wholes)
    if sum(wholes) <= 0:
        return math.nan, math.nan, math.nan
    return share.estimate, share.low, share.high


def _gave(tables: Mapping[str, pl.DataFrame]) -> str:
    import polars as pl

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
        parts.append(f"made no clear difference on {listed(said[0])}")
    sentences = [f"Pre-training {'; it '.join(parts)}."] if parts else []
    if said[None]:
        what, count = "it" if parts else "pre-training", whole["seed"].n_unique()
        why = f"an interval needs {MIN_SEEDS}" if count < MIN_SEEDS else "there is no interval over them"
        sentences.append(
            f"Whether {what} made a difference on {listed(said[None])} "
            f"is undecided with {counted(count, 'seed')}: {why}."
        )
    faster = {1: "The networks learned faster with it.", -1: "They learned more slowly with it.", 0: ""}
    return " ".join([*sentences, faster[side(mean_estimate(whole, "speed_gain"))]]).strip()


def _rests_on(tables: Mapping[str, pl.DataFrame]) -> str:
    import polars as pl

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
        ): f"a gain is left in speed: {carried} it. These seeds do not decide whether one is "
        "left in the final metric.",
        (0, 0): "no clear gain is left.",
        (
            0,
            -1,
        ): "the pre-trained weights slow the training down, and no clear gain in the final metric is left.",
        (-1, 1): "a gain is left in speed, while the final metric is worse than from scratch.",
        (-1, 0): "the final metric is worse than from scratch: its gain needs intact images.",
        (-1, -1): "the pre-trained weights are worse than random ones: the gain needs intact images.",
    }
    return f"{where}, {left[final, speed]}"


def advice(tables: Mapping[str, pl.DataFrame]) -> Iterator[Advice]:
    """Whether to start from the pre-trained weights."""
    import polars as pl

    table = rows_of(tables, "feature_reuse")
    if table is None:
        return
    whole = table.filter(pl.col("view") == "unshuffled")
    advised = {
        1: "Start from the pre-trained weights on {}.",
        -1: "Train from scratch on {}.",
        0: "Start from the pre-trained weights where time counts, on {}: they train faster. The effect on the "
        "final metric is inconclusive.",
    }
    found: dict[tuple[str, Evidence, str], list[tuple[str, str]]] = {}
    images = rows_of(tables, "feature_reuse_images", pl.col("view") == "unshuffled")
    for target in targets_of(whole):
        own = whole.filter(pl.col("target") == target)
        own_images = None if images is None else images.filter(pl.col("target") == target)
        gain, speed = mean_estimate(own, "gain", own_images), mean_estimate(own, "speed_gain")
        text, decides = advised[side(gain)], gain
        if side(gain) == 0 and side(speed) > 0:
            decides = speed
        elif side(gain) == 0:
            text = "Whether to start from the pre-trained weights on {} is undecided."
        if gain.result().evidence == "shown to be negligible" and side(speed) <= 0:
            text, decides = (
                "On {}, the pre-trained weights change the final metric by less than 2 points.",
                gain,
            )
        numbers = f"ain {estimated(gain)}, in optimization speed {estimated(speed)}."
        evidence, why = evidence_of(decides)
        if decides is speed:
            why = f"{why}; this is about the speed on training images, and leaves out the time of the pre-training"
        found.setdefault((text, evidence, why), []).append((target, numbers))
    # targets of the same advice have one line
    for (text, evidence, why), same in found.items():
        lines = [f"On {target}, g{numbers}" for target, numbers in same]
        yield Advice(
            text=text.format(listed([target for target, _ in same])),
            numbers=" ".join(lines) if len(same) > 1 else f"G{same[0][1]}",
            evidence=evidence,
            why=why,
            analysis="feature_reuse",
        )


def _split_rows(tables: Mapping[str, pl.DataFrame]) -> list[dict[str, Any]]:
    """The gain at the smallest blocks, and the rest; empty if no blocks were shuffled."""
    import polars as pl

    table = tables["feature_reuse"]
    if "blocks" not in table["view"]:
        return []
    blocks = table.filter(pl.col("view") == "blocks")
    smallest = blocks.filter(pl.col("block_size_px") == blocks["block_size_px"].min())
    rows = []
    for target in targets_of(smallest)[:MAX_TARGETS]:
        whole = table.filter((pl.col("view") == "unshuffled") & (pl.col("target") == target))
        both = whole.join(smallest, on=["target", "seed"], suffix="_shuffled")
        for quantity, column in QUANTITIES.items():
            left, rest, gain = (
                (found.effect, found.low, found.high)
                for value in (f"{column}_shuffled", pl.col(column) - pl.col(f"{column}_shuffled"), column)
                for found in [mean_estimate(both, value)]
            )
            rows += steps(target, quantity, {SURVIVES: left, INTACT: rest}, gain)
    return rows
