"""What barriers says on the first page: whether a barrier lies between instances, and whether to average them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from transferscope.analyses.barriers.claims import P_T_SHARE_A_BASIN
from transferscope.analyses.barriers.tables import AVERAGED
from transferscope.analyses.claims import SMALL_METRIC, Evidence, Finding, Verdict
from transferscope.analyses.contract import Advice, FirstPage, Headline
from transferscope.analyses.findings import Estimate, estimate, mean_over_targets
from transferscope.analyses.shared.phrases import (
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


HOW_TO_AVERAGE = "The command transferscope average writes the average as a file."


def headline(
    tables: Mapping[str, pl.DataFrame], findings: Sequence[Finding], beside: Mapping[str, str]
) -> FirstPage:
    """Whether a barrier lies between two fine-tuned networks, also of different targets."""
    text, height = _barrier(tables, findings)
    return FirstPage(
        paragraphs=[text, _across_targets(tables)],
        headlines=[] if height is None else [height],
        summary=[_in_short(tables, findings)],
    )


def _barrier(tables: Mapping[str, pl.DataFrame], findings: Sequence[Finding]) -> tuple[str, Headline | None]:
    """Whether a barrier lies between two fine-tuned networks, and what averaging them gives."""
    import polars as pl

    table = _on_the_line(tables, pl.col("target") == pl.col("target_b"))
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
    p_t = table.filter(pl.col("pair") == "P-T & P-T")
    decided = _decided(p_t)
    short = {-1: "no barrier", 1: "a barrier", 0: "seeds can't decide"}[decided]
    if height.seeds is None:
        short = "too few seeds to decide"
    others = [
        f"{points(found.effect, signed=False)} {interval(found)} for {kind}"
        for kind, found in by_kind.items()
    ]
    beside = f" ({'; '.join(others)})" if others else ""
    text = (
        "Whether a barrier lies between the instances: on the straight line between two fine-tuned networks the test "
        f"metric drops by at most {points(height.effect, signed=False)} {interval(height)} below the line between "
        f"them{beside}. "
    )
    text += {
        -1: "No barrier was found there.",
        1: "That is a barrier.",
        0: "These seeds do not decide whether that is a barrier.",
    }[decided]
    text += {
        "holds": " They lie in one basin of the loss: flat on the line, with walls around it.",
        "does not hold": " That they lie in one basin of the loss, flat on the line and with walls around it, does not "
        "hold.",
        "undecided": " Whether they lie in one basin of the loss, flat on the line and with walls around it, is "
        "undecided.",
        "not measured": "",
    }[_basin_verdict(findings)]
    middle = _averaged(p_t)
    return text + middle, Headline(
        value=points(height.effect, signed=False),
        label="barrier between two fine-tuned networks",
        detail=short if math.isnan(height.low) else f"{short} {interval(height)}",
    )


def _on_the_line(tables: Mapping[str, pl.DataFrame], where: pl.Expr) -> pl.DataFrame | None:
    """Barriers between final networks above the line between them."""
    import polars as pl

    is_line = (pl.col("definition") == "line") & (pl.col("checkpoint") == "final")
    return rows_of(tables, "barriers", where & is_line)


def _decided(pairs: pl.DataFrame) -> int:
    """1 where there is a barrier, -1 where there is none, 0 where seeds can't tell: by the number of the claims."""
    return side(mean_estimate(pairs, "interior_drop_metric"), SMALL_METRIC)


def _across_targets(tables: Mapping[str, pl.DataFrame]) -> str:
    """Whether a barrier lies between networks that were fine-tuned on different targets; empty if not measured."""
    import polars as pl

    table = _on_the_line(tables, pl.col("target") != pl.col("target_b"))
    if table is None:
        return ""
    sentences = []
    for (target, other), part in table.group_by("target", "target_b", maintain_order=True):
        height = mean_estimate(part, "barrier_metric")
        verdict = {
            -1: "No barrier was found there.",
            1: "That is a barrier.",
            0: "These seeds do not decide whether that is a barrier.",
        }[_decided(part)]
        sentences.append(
            f"On the test images of {target}, between a network fine-tuned on {target} and one fine-tuned on {other}, "
            f"the metric drops by at most {_cost(height)} below the line between the two. {verdict}"
        )
    return f"Whether a barrier lies between networks of different targets: {' '.join(sentences)}"


def _basin_verdict(findings: Sequence[Finding]) -> Verdict | Literal["not measured"]:
    """What was found of the claim that two P-T lie in one (epsilon, delta)-basin."""
    for found in findings:
        if found.claim.id == P_T_SHARE_A_BASIN.id:
            return found.verdict if found.is_measured else "not measured"
    return "not measured"


def _averaged(p_t: pl.DataFrame) -> str:
    """What the midpoint of two gives, where it was measured."""
    import polars as pl

    ends = (pl.col("metric_a") + pl.col("metric_b")) / 2
    middle = mean_over_targets(p_t, "metric_midpoint")
    if not math.isfinite(middle):
        return ""
    gain = estimate(p_t, lambda rows: mean_over_targets(rows, pl.col("metric_midpoint") - ends))
    # the advice on averaging compares with the networks as they were trained
    alike = "" if (p_t["batch_norm"] == "none").all() else ", with BatchNorm treated alike in all three,"
    return (
        f" Averaging the weights of two gives {middle:.3f} where the two themselves{alike} have "
        f"{mean_over_targets(p_t, ends):.3f} on average, {estimated(gain)}."
    )


def _cost(found: Estimate) -> str:
    return f"{points(found.effect, signed=False)} {interval(found)}"


def _in_short(tables: Mapping[str, pl.DataFrame], findings: Sequence[Finding]) -> str:
    import polars as pl

    is_p_t = (pl.col("target") == pl.col("target_b")) & (pl.col("pair") == "P-T & P-T")
    table = _on_the_line(tables, is_p_t)
    if table is None:
        return ""
    decided: dict[int, list[str]] = {-1: [], 1: [], 0: []}
    for target in targets_of(table):
        own = table.filter(pl.col("target") == target)
        height = mean_estimate(own, "barrier_metric")
        decided[_decided(own)].append(f"{target} ({points(height.effect, signed=False)})")
    line = "On the straight line between two fine-tuned networks,"
    parts = [
        f"{words} {listed(decided[sign])}"
        for sign, words in (
            (-1, "no barrier was found on"),
            (1, "there is a barrier on"),
            (0, "these seeds do not decide it on"),
        )
        if decided[sign]
    ]
    text = f"{line} {'; '.join(parts)}."
    # no barrier on a line is not yet a basin, which has walls around it
    return f"{text} They lie in one basin of the loss." if _basin_verdict(findings) == "holds" else text


def advice(tables: Mapping[str, pl.DataFrame]) -> Iterator[Advice]:
    """Whether the mean of two networks' weights is as good as the networks, on each target."""
    import polars as pl

    pairs = rows_of(
        tables,
        "barriers_averaging",
        (pl.col("what") == AVERAGED)
        & pl.col("seed_a").is_not_null()
        & (pl.col("target") == pl.col("target_b")),
    )
    if pairs is None:
        return
    safe = {
        1: "On {}, the weights of two fine-tuned networks can be averaged.",
        -1: "On {}, don't average the weights of two fine-tuned networks.",
        0: "On {}, these seeds do not decide whether the weights of two fine-tuned networks can be averaged.",
    }
    found: dict[tuple[int, Evidence, str], list[tuple[str, str]]] = {}
    for target in targets_of(pairs):
        own = pairs.filter(pl.col("target") == target)
        p_t, ri_t = (own.filter(pl.col("pair").is_in((kind, f"{kind} & {kind}"))) for kind in ("P-T", "RI-T"))
        if p_t.is_empty():
            continue
        gain = mean_estimate(p_t, "metric_gain")
        line = f"{estimated(gain)} against the two on average, as they were trained"
        if not ri_t.is_empty():
            line += f"; two trained from scratch: {estimated(mean_estimate(ri_t, 'metric_gain'))}"
        evidence, why = evidence_of(gain, -SMALL_METRIC)
        found.setdefault((side(gain, -SMALL_METRIC), evidence, why), []).append(
            (target, f"{target}: {line}.")
        )
    for (decided, evidence, why), same in found.items():
        yield Advice(
            text=safe[decided].format(listed([target for target, _ in same])),
            numbers=" ".join([line for _, line in same] + [HOW_TO_AVERAGE] * (decided > 0)),
            evidence=evidence,
            why=why,
            analysis="barriers",
        )
