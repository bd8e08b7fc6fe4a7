"""The claims about mistakes, and what its tables say of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from transferscope.analyses.claims import Claim, Finding
from transferscope.analyses.findings import judge, largest, log_ratio, mean_over_targets
from transferscope.core.config import Study

if TYPE_CHECKING:
    import polars as pl

CLAIMED = "P-T & P-T"
"""The kind of pair that is claimed to share its mistakes, and the kinds that it is compared with."""
COMPARED = ("P-T & RI-T", "RI-T & RI-T")

P_T_SHARE_MISTAKES = Claim(
    id="p_t_share_mistakes",
    analysis="mistakes",
    statement="Two P-T have far fewer uncommon mistakes than two RI-T or a P-T and an RI-T.",
    table="mistakes",
    statistic="share of uncommon mistakes of P-T & P-T over the smaller of those of RI-T & RI-T and P-T & RI-T",
    threshold=1.0,
    side="below",
    reason="one: fewer at all; the ratio itself says how far",
    unit="x",
)
P_T_MISTAKES_ARE_AMBIGUOUS = Claim(
    id="p_t_mistakes_are_ambiguous",
    analysis="mistakes",
    statement="Examples that only P-T gets wrong are ambiguous; those that only RI-T gets wrong include "
    "clear ones.",
    table="mistakes_difficulty",
    statistic="share of other networks that are wrong on what only P-T gets wrong, minus that on what only "
    "RI-T gets wrong (P-T and RI-T judges weigh the same)",
    reason="zero; that others err stands in for the paper's judgement by eye",
)
CLAIMS = (P_T_SHARE_MISTAKES, P_T_MISTAKES_ARE_AMBIGUOUS)


def findings(tables: Mapping[str, pl.DataFrame], study: Study) -> Sequence[Finding]:
    """The two claims about mistakes."""
    import polars as pl

    n = largest(tables["mistakes_tests"], "n")  # images; those of the first table are decisions
    return [
        judge(
            P_T_SHARE_MISTAKES,
            tables,
            _log_uncommon_ratio,
            rows=lambda table: table.filter(pl.col("scope") == "all"),
            num_images=n,
        ),
        judge(
            P_T_MISTAKES_ARE_AMBIGUOUS,
            tables,
            lambda rows: _difficulty_of(rows, "only a") - _difficulty_of(rows, "only b"),
            rows=lambda table: table.filter(pl.col("pair") == "P-T & RI-T"),
            num_images=n,
            note="Judged by the other networks' errors, not by eye.",
            missing="The study has no pair P-T & RI-T.",
        ),
    ]


def _log_uncommon_ratio(rows: pl.DataFrame) -> float:
    import polars as pl

    claimed, *others = (
        mean_over_targets(rows.filter(pl.col("pair") == kind), "uncommon_share")
        for kind in (CLAIMED, *COMPARED)
    )
    return math.nan if any(map(math.isnan, others)) else log_ratio(claimed, min(others))


def _difficulty_of(rows: pl.DataFrame, who: str) -> float:
    """Share that judges get wrong: mean over the judges of a kind, over both kinds, over pairs.

    A judge's seed is in `seed_judge`: where a seed is left out, what it judged is left out as well.
    """
    import polars as pl

    where = (pl.col("wrong") == who) & (pl.col("n") > 0)
    by_kind = rows.filter(where).group_by(["target", "a", "b", "judge_kind"], maintain_order=True)
    by_pair = by_kind.agg(pl.col("judged_wrong").mean()).group_by(["target", "a", "b"], maintain_order=True)
    return mean_over_targets(by_pair.agg(pl.col("judged_wrong").mean()), "judged_wrong")
