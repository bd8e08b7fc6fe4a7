"""The answer about the weights: where in the network transfer sits, and whether a barrier lies between instances."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from transferscope.analyses.findings import (
    SMALL_METRIC,
    Estimate,
    Finding,
    Standing,
    estimate,
    mean_over_targets,
)
from transferscope.report.page.content import Headline
from transferscope.report.page.phrases import (
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
BASIN_CLAIM = "p_t_share_a_basin"
"""The claim that alone lets the first page speak of a basin: no barrier on a line is less than that."""


@dataclass(frozen=True, kw_only=True)
class PutBack:
    """What putting each module of P-T back to its pre-trained values costs, one at a time."""

    drops: Mapping[str, Estimate]
    """Test metric lost, in [-1, 1], by module from the bottom up."""

    @classmethod
    def of(cls, p_t: pl.DataFrame) -> PutBack:
        """From the rows of P-T without heads."""
        modules = p_t.sort("depth")["module"].unique(maintain_order=True).to_list()
        return cls(
            drops={name: mean_estimate(p_t.filter(pl.col("module") == name), "test_drop") for name in modules}
        )

    def where(self, sign: int) -> list[str]:
        """Modules whose whole interval lies below two points (-1) or above (1), or can't be told (0)."""
        return [name for name, drop in self.drops.items() if side(drop, SMALL_METRIC) == sign]


def place(tables: Tables) -> Part:
    """Which modules can go back to their pre-trained values, alone and together."""
    table = rows_of(tables, "criticality", ~pl.col("is_head"))
    if table is None or table.filter(pl.col("kind") == "P-T").is_empty():
        return "", None
    p_t, ri_t = (table.filter(pl.col("kind") == kind) for kind in ("P-T", "RI-T"))
    single = PutBack.of(p_t)
    drop, modules = single.drops, list(single.drops)
    cheap, open_ = single.where(-1), single.where(0)
    costly = max(modules, key=lambda name: drop[name].effect)
    limit = points(SMALL_METRIC, signed=False).replace(".0", "")
    back = "putting one module of a fine-tuned network back to its pre-trained values costs less than"
    if len(open_) == len(modules):
        text = f"Where it sits: whether {back} {limit} of the test metric can't be told of any of {len(modules)}; "
    else:
        untold = listed([f"{name} at {_cost(drop[name])}" for name in open_])
        text = f"Where it sits: {back} {limit} of the test metric for {listed(cheap) if cheap else 'no module'}; "
        text += f"of {untold} that can't be told; " if open_ else ""
    text += f"the most costly is {costly}, {_cost(drop[costly])}. "
    text += _together(p_t, modules, limit)
    if not ri_t.is_empty():
        scratch = mean_estimate(ri_t, "test_drop")
        text += (
            "In a network trained from scratch, putting one module back to its random values costs "
            f"{points(scratch.effect, signed=False)} {interval(scratch)} on average."
        )
    seeds = counted(p_t["seed"].n_unique(), "seed")
    return text.strip(), Headline(
        value=f"{len(cheap)}{f' to {len(cheap) + len(open_)}' if open_ else ''} of {len(modules)}",
        label="modules can go back to their pre-trained values",
        detail=f"one at a time, at less than {limit}; {seeds}"
        + (f"; {len(open_)} can't be told" if open_ else ""),
    )


def _together(p_t: pl.DataFrame, modules: Sequence[str], limit: str) -> str:
    """Up to where the modules from the bottom on can be put back together."""
    last, cost, tail = "", "", ""
    for name in modules:
        found = mean_estimate(p_t.filter(pl.col("module") == name), "test_drop_cumulative")
        told = side(found, SMALL_METRIC)
        if told >= 0:
            tail = f"; with {name} that can't be told, {_cost(found)}" if told == 0 else ""
            break
        last, cost = name, _cost(found)
    if last and (tail or last != modules[0]):
        return f"Everything up to {last} can be put back together at {cost}{tail}. "
    if last:
        return f"From the bottom up only {last} can be put back at less than {limit}. "
    if tail:
        return f"Whether modules from the bottom up can be put back at less than {limit} can't be told. "
    return f"From the bottom up not even {modules[0]} can be put back at less than {limit}. "


def _cost(found: Estimate) -> str:
    return f"{points(found.effect, signed=False)} {interval(found)}"


def basin_standing(findings: Sequence[Finding]) -> Standing:
    """What was found of the claim that two P-T lie in one (epsilon, delta)-basin."""
    for found in findings:
        if found.claim.id == BASIN_CLAIM:
            return found.standing
    return "not measured"


def barrier(tables: Tables, findings: Sequence[Finding]) -> Part:
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
        "Whether a barrier lies between the instances: on the straight line between two fine-tuned networks the test "
        f"metric drops by at most {points(height.effect, signed=False)} {interval(height)} below the line between "
        f"them{beside}. "
    )
    text += {
        -1: "No barrier was found there.",
        1: "That is a barrier.",
        0: "Whether that is a barrier can't be told from these seeds.",
    }[side(height, SMALL_METRIC)]
    text += {
        "holds": " They lie in one basin of the loss: flat on the line, with walls around it.",
        "does not hold": " That they lie in one basin of the loss, flat on the line and with walls around it, does not "
        "hold.",
        "undecided": " Whether they lie in one basin of the loss, flat on the line and with walls around it, is "
        "undecided.",
        "not measured": "",
    }[basin_standing(findings)]
    middle = _averaged(table.filter(pl.col("pair") == "P-T & P-T"))
    return text + middle, Headline(
        value=points(height.effect, signed=False),
        label="barrier between two fine-tuned networks",
        detail=short if math.isnan(height.low) else f"{short} {interval(height)}",
    )


def barrier_across_targets(tables: Tables) -> str:
    """Whether a barrier lies between networks that were fine-tuned on different targets; empty if not measured."""
    is_line = (pl.col("definition") == "line") & (pl.col("checkpoint") == "final")
    table = rows_of(tables, "barriers", (pl.col("target") != pl.col("target_b")) & is_line)
    if table is None:
        return ""
    sentences = []
    for (target, other), part in table.group_by("target", "target_b", maintain_order=True):
        height = mean_estimate(part, "barrier_metric")
        verdict = {
            -1: "No barrier was found there.",
            1: "That is a barrier.",
            0: "Whether that is a barrier can't be told from these seeds.",
        }[side(height, SMALL_METRIC)]
        sentences.append(
            f"On the test images of {target}, between a network fine-tuned on {target} and one fine-tuned on {other}, "
            f"the metric drops by at most {_cost(height)} below the line between the two. {verdict}"
        )
    return f"Whether a barrier lies between networks of different targets: {' '.join(sentences)}"


def _averaged(p_t: pl.DataFrame) -> str:
    """What the midpoint of two gives, where it was measured."""
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
