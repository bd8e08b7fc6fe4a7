"""The claims about module criticality, and what its tables say of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from transferscope.analyses.findings import (
    SMALL_METRIC,
    Claim,
    Finding,
    judge,
    largest,
    mean_order_p,
    mean_over_targets,
    mean_rank_correlation,
    not_measured,
)
from transferscope.core.config import Study

if TYPE_CHECKING:
    import polars as pl


WINDOW = 0.1
"""Longest part of the training in which a rise is sudden."""

P_T_LOW_MODULES_NOT_CRITICAL = Claim(
    id="p_t_low_modules_not_critical",
    analysis="criticality",
    statement="The lower modules of P-T can be put back to their pre-trained values at little loss.",
    statistic="drop of the test metric when one module of the lower half is put back, mean over these and targets",
    threshold=SMALL_METRIC,
    side="below",
    reason="two points, the same as for barriers",
)
P_T_CRITICALITY_GROWS_TOWARD_HEAD = Claim(
    id="p_t_criticality_grows_toward_head",
    analysis="criticality",
    statement="The criticality of P-T's modules grows toward the head.",
    statistic="rank correlation of a module's place and the rise of the training loss when it is put back, "
    "without the head, mean over seeds and targets",
)
RI_T_LOW_MODULES_CRITICAL = Claim(
    id="ri_t_low_modules_critical",
    analysis="criticality",
    statement="RI-T is critical in its lower modules too.",
    statistic="drop of the test metric when one module of the lower half is put back, mean over these and targets",
    threshold=SMALL_METRIC,
    reason="two points, the same as for barriers",
)
RI_T_BECOMES_CRITICAL_SUDDENLY = Claim(
    id="ri_t_becomes_critical_suddenly",
    analysis="criticality",
    statement="RI-T becomes critical suddenly in the course of training.",
    statistic="largest share of the rise of its modules' mean rewinding drop, without the head, that falls in at "
    "most a tenth of the training, mean over targets",
    threshold=0.5,
    reason="half of the rise in a tenth of the time",
)
CLAIMS = (
    P_T_LOW_MODULES_NOT_CRITICAL,
    P_T_CRITICALITY_GROWS_TOWARD_HEAD,
    RI_T_LOW_MODULES_CRITICAL,
    RI_T_BECOMES_CRITICAL_SUDDENLY,
)


def findings(tables: Mapping[str, pl.DataFrame], study: Study) -> Sequence[Finding]:
    """The four claims about criticality."""
    import polars as pl

    body = tables["criticality"].filter(~pl.col("is_head"))
    low = body.filter(pl.col("depth") < (pl.col("depth").max() + 1) / 2)
    p_t, ri_t = pl.col("kind") == "P-T", pl.col("kind") == "RI-T"
    n = largest(body, "n_test")
    low_names = ", ".join(low["module"].unique(maintain_order=True))
    found = [
        judge(
            claim,
            low.filter(kind),
            lambda rows: mean_over_targets(rows, "test_drop"),
            num_images=n,
            note=f"Lower half: {low_names}.",
        )
        for claim, kind in ((P_T_LOW_MODULES_NOT_CRITICAL, p_t), (RI_T_LOW_MODULES_CRITICAL, ri_t))
    ]
    growth = P_T_CRITICALITY_GROWS_TOWARD_HEAD
    # by the training loss: no test image is behind it
    found.append(judge(growth, body.filter(p_t), _growth, order_p=_growth_p))
    found.append(_sudden(tables["criticality_training"].filter(ri_t & ~pl.col("is_head"))))
    return found


def _growth(rows: pl.DataFrame) -> float:
    return mean_rank_correlation(rows, "depth", "train_rise_loss", by=("seed",))


def _growth_p(rows: pl.DataFrame) -> float:
    return mean_order_p(rows, "depth", "train_rise_loss", by=("seed",))


def _sudden(course: pl.DataFrame) -> Finding:
    """Whether the modules become critical suddenly; undecided where the kept epochs can't tell."""
    claim = RI_T_BECOMES_CRITICAL_SUDDENLY
    epochs = sorted({0, *course["epoch"].to_list()})
    if not _steps(epochs)[0]:
        why = "The recipe keeps no two epochs within a tenth of the training; see training.keep_epochs."
        return not_measured(claim, why)
    n = largest(course, "n_test")
    found = judge(claim, course, lambda rows: _suddenness(rows), num_images=n)
    if math.isnan(found.effect):
        why = f"The mean drop rises by less than {100 * SMALL_METRIC:g} points: there is no rise to place."
        return replace(found, note=f"{why} {found.note}".strip())
    at_most = judge(claim, course, lambda rows: _suddenness(rows, at_most=True), num_images=n)
    is_hidden = at_most.effect > found.effect and at_most.verdict != "does not hold"
    if found.verdict == "holds" or not is_hidden:
        return found
    why = (
        f"Up to {at_most.effect:.2f} of the rise lies between two kept epochs more than a tenth of the "
        "training apart, which may hide a sudden one; see training.keep_epochs."
    )
    p_value = math.nan if found.verdict == "does not hold" else found.p_value
    return replace(found, verdict="undecided", p_value=p_value, note=f"{why} {found.note}".strip())


def _steps(epochs: Sequence[int]) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Pairs of epochs at most a tenth of the training apart; neighbours further apart."""
    longest = max(epochs, default=0) * WINDOW
    near = [(a, b) for a in epochs for b in epochs if a < b and b - a <= longest]
    gaps = [(a, b) for a, b in pairwise(epochs) if b - a > longest]
    return near, gaps


def _suddenness(rows: pl.DataFrame, *, at_most: bool = False) -> float:
    """Largest share of the whole rise of the mean drop that falls in a tenth of the training, 0 to 1.

    The rise is that of the largest drop so far, so that ups and downs of the noise don't count twice.

    Args:
        rows: drops by target, seed, module and epoch.
        at_most: count neighbouring epochs as near, however far apart: what the share can be at most.

    Returns:
        NaN where the whole rise of a target is smaller than what is called small.
    """
    import polars as pl

    means = rows.group_by("target", "epoch", maintain_order=True).agg(pl.col("test_drop").mean())
    values = []
    for (target,), part in means.sort("epoch").group_by(["target"], maintain_order=True):
        so_far = {0: 0.0}
        for epoch, drop in part.select("epoch", "test_drop").iter_rows():
            # a drop that is NaN stays NaN from there on
            before = so_far[max(so_far)]
            so_far[epoch] = drop if math.isnan(drop) or drop > before else before
        near, gaps = _steps(list(so_far))
        whole = so_far[max(so_far)]
        steepest = max((so_far[b] - so_far[a] for a, b in (*near, *(gaps if at_most else ()))), default=0.0)
        values.append({"target": target, "value": steepest / whole if whole >= SMALL_METRIC else math.nan})
    return mean_over_targets(pl.DataFrame(values, schema={"target": pl.String, "value": pl.Float64}), "value")
