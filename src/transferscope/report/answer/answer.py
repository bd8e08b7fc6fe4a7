"""The first page in plain words: what transfer gave, what survives shuffling, where it sits, a barrier or not."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import polars as pl

from transferscope.analyses.findings import Finding, mean_over_targets
from transferscope.core.config import Study
from transferscope.core.runs import KIND_NAMES
from transferscope.metrics.statistics.ratio import fieller_interval
from transferscope.report.answer.advice import advice
from transferscope.report.page.content import Answer, DrawnPanel, Headline
from transferscope.report.page.phrases import (
    counted,
    estimated,
    interval,
    listed,
    mean_estimate,
    points,
    rows_of,
    side,
    targets_of,
)
from transferscope.report.page.place import barrier, barrier_across_targets, place
from transferscope.report.page.plain import plain_summary

Tables = Mapping[str, Mapping[str, pl.DataFrame]]
Part = tuple[str, Headline | None]


def answer(
    study: Study,
    tables: Tables,
    findings: Sequence[Finding],
    figures: Sequence[DrawnPanel] = (),
    beside: Mapping[str, str] = MappingProxyType({}),
) -> Answer:
    """The answer of a study, from its tables; what wasn't measured is left out.

    Args:
        study: the study.
        tables: analysis -> table name -> rows.
        findings: the verdicts on the claims.
        figures: the split of the gain, drawn.
        beside: target -> what stands beside its accuracies, such as the number of test images and what is reached
            without looking at them.
    """
    parts = [
        _gain(tables, beside),
        _survival(tables),
        _statistics(tables),
        place(tables),
        barrier(tables, findings),
        (barrier_across_targets(tables), None),
    ]
    paragraphs = [text for text, _ in parts if text] or ["Nothing was measured that says what transfer gave."]
    headlines = [headline for _, headline in parts if headline is not None]
    headlines[1:1] = _speed(tables)
    return Answer(
        paragraphs=[*paragraphs, _tally(study, findings)],
        headlines=headlines,
        advice=advice(tables),
        summary=plain_summary(tables, findings),
        figures=figures,
    )


def _tally(study: Study, findings: Sequence[Finding]) -> str:
    """How many claims hold: the paper's, then this tool's own."""
    texts = []
    for origin, whose in (("paper", "the paper's"), ("transferscope", "this tool's own")):
        own = [finding for finding in findings if finding.claim.origin == origin]
        tested = [finding.verdict for finding in own if finding.is_measured]
        if own:
            holds, fails, open_ = (
                tested.count(verdict) for verdict in ("holds", "does not hold", "undecided")
            )
            counts = [
                f"{holds} {'holds' if holds == 1 else 'hold'}",
                f"{fails} {'does' if fails == 1 else 'do'} not hold",
                f"{open_} {'is' if open_ == 1 else 'are'} undecided",
            ]
            missing = len(own) - len(tested)
            counts += [f"{missing} {'was' if missing == 1 else 'were'} not measured"] if missing else []
            texts.append(f"of {whose} {counted(len(own), 'claim')}, {listed(counts)}")
    text = "; ".join(texts)
    seeds = f"from {_instances(study)}"
    return f"{text[:1].upper()}{text[1:]}, {seeds}." if text else f"No claim was tested, {seeds}."


def _instances(study: Study) -> str:
    """How many networks there are of each kind."""
    if study.instances is None:
        return f"{counted(len(study.seeds), 'seed')} a kind"
    counts = Counter(KIND_NAMES[given.kind] for given in study.instances.values())
    return listed([f"{count} {kind}" for kind, count in counts.items()])


def _gain(tables: Tables, beside: Mapping[str, str]) -> Part:
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
        0: "Whether it trained faster can't be told",
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


def _speed(tables: Tables) -> list[Headline]:
    table = rows_of(tables, "feature_reuse", pl.col("view") == "unshuffled")
    if table is None:
        return []
    found = mean_estimate(table, "speed_gain")
    over = f"of the training metric, mean over epochs {interval(found)}"
    return [Headline(value=points(found.effect), label="gain in optimization speed", detail=over)]


def _survival(tables: Tables) -> Part:
    blocks = rows_of(tables, "feature_reuse", pl.col("view") == "blocks")
    if blocks is None:
        return "", None
    smallest = blocks["block_size_px"].min()
    shuffled = blocks.filter(pl.col("block_size_px") == smallest)
    table = tables["feature_reuse"]["feature_reuse"]
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


def _share_headline(share: tuple[float, float, float], where: str) -> Headline:
    """The share of the gain that survives shuffling; unknown without a gain to have a share of."""
    where = f"in the final metric, {where}"
    if math.isnan(share[0]):
        return Headline(
            value="unknown",
            label="share of the gain that survives shuffling",
            detail=f"{where}: the gain itself can't be told from 0, or is below it",
        )
    ends = " (no interval)" if math.isnan(share[1]) else f" [{100 * share[1]:.0f}, {100 * share[2]:.0f}]"
    return Headline(
        value=f"{100 * share[0]:.0f} %".replace("-", "−"),
        label="of the gain survives shuffling",
        detail=where + ends.replace("-", "−"),
    )


def _surviving_share(whole: pl.DataFrame, shuffled: pl.DataFrame) -> tuple[float, float, float]:
    """Gain on shuffled blocks over gain unshuffled, means over targets, with Fieller's interval over seeds."""
    seeds = [seed for seed in whole["seed"].unique(maintain_order=True) if seed in shuffled["seed"]]
    parts, wholes = (
        [mean_over_targets(table.filter(pl.col("seed") == seed), "gain") for seed in seeds]
        for table in (shuffled, whole)
    )
    share = fieller_interval(parts, wholes)
    if sum(wholes) <= 0:
        return math.nan, math.nan, math.nan
    return share.estimate, share.low, share.high


def _statistics(tables: Tables) -> Part:
    """What the controls say, where they ran."""
    rows = rows_of(tables, "low_level_statistics", pl.lit(True))
    if rows is None:
        return "", None

    def of(quantity: str, part: str) -> pl.DataFrame:
        return rows.filter((pl.col("quantity") == quantity) & (pl.col("part") == part))

    final, speed = (
        mean_estimate(of(quantity, "weight statistics"), "value")
        for quantity in ("final metric", "optimization speed")
    )
    permuted = mean_estimate(of("final metric", "weight statistics, permuted"), "value")
    on = listed(targets_of(rows))
    sense = {
        1: "The statistics of the weights alone help the final metric",
        -1: "The statistics of the weights alone harm the final metric",
        0: "That the statistics of the weights alone change the final metric can't be told",
    }
    return (
        "How much the statistics of the pre-trained weights give, without their features: networks that start from "
        f"weights drawn with the mean and variance of each pre-trained tensor differ from scratch on {on} by "
        f"{estimated(final)} in the final metric (with the entries permuted {estimated(permuted)}) and by "
        f"{estimated(speed)} in optimization speed. {sense[side(final)]}.",
        None,
    )
