"""The claims, and how a claim is tested on the tables of a study.

A claim's statistic is a number computed from one table restricted to some seeds. Its interval and its p-value
come from leaving out one seed at a time (`metrics.jackknife`): that is right for means over instances, and on the
safe side for means over pairs of instances, which share seeds and are not independent. With fewer than three
seeds nothing can be said, and the verdict is "undecided". docs/findings.md has what simulations say of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import polars as pl

Verdict = Literal["holds", "does not hold", "undecided"]
Standing = Literal["holds", "does not hold", "undecided", "not measured"]
"""A verdict as it is shown: that of a claim that was not measured says nothing, not even that seeds are too few."""

SCALE = 1.0
"""Size of what statistics are made of: metrics, shares, correlations, losses in nats, ratios of distances. Where
seeds differ by less than `metrics.intervals.ROUNDING` times this, they give the same number up to rounding."""
SMALL_METRIC = 0.02
"""Two points of accuracy or AUC: below it, a difference is called small. Frankle et al. (2020) call a path
stable whose error rises by less."""
MIN_SEEDS = 3
"""Fewest seeds that can decide a claim: with two, an interval over pairs has nothing left to compare."""
LEVEL = 0.95
"""Level of all intervals over seeds: a true claim at its threshold is called wrong, and a wrong one there called
true, in at most half of the rest, 2.5 % of studies."""
TEST = "jackknife over seeds, Student's t, two-sided"
"""How a claim is tested."""
ORDER_TEST = "permutation of the modules' places, two-sided"
"""How a claim about an order is tested where no seed makes a difference: see `metrics.order`."""
SIGN_TEST = "sign test over seeds, two-sided"
"""How it is tested where all of many seeds give the same number: they have no spread for a t interval."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim, and the number that decides it."""

    id: str
    analysis: str
    """The analysis whose section it rests on."""
    statement: str
    """The claim in the paper's terms."""
    origin: Literal["paper", "transferscope"] = "paper"
    """Who claims it: the paper, or this tool beyond it."""
    statistic: str
    """The number, in words."""
    threshold: float = 0.0
    """The claim holds if the interval lies on the right side of this."""
    side: Literal["above", "below"] = "above"
    """Which side is the right one."""
    reason: str = "zero: any difference in the claimed direction, with its interval"
    """Why this threshold."""
    unit: str = ""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What this study says about one claim."""

    claim: Claim
    verdict: Verdict
    effect: float
    """The statistic over all seeds; NaN where it could not be computed."""
    low: float
    """Lower end of the 95 % interval over seeds; NaN where there is none."""
    high: float
    num_seeds: int
    num_images: int
    """Test images behind each instance's number."""
    p_value: float = math.nan
    """Of the test against the threshold; NaN where there is none. The verdict rests on it alone."""
    p_adjusted: float = math.nan
    """The same, adjusted for all claims of the study that were tested (Holm); stands beside the verdict."""
    note: str = ""
    """What a reader must know: why undecided, what was compared."""
    test: str = TEST
    """How it was tested."""

    @property
    def is_measured(self) -> bool:
        """Whether any seed has what the claim is about."""
        return self.num_seeds > 0

    @property
    def standing(self) -> Standing:
        """The verdict, for people; of a claim that was not measured that it was not."""
        return self.verdict if self.is_measured else "not measured"

    @property
    def holds_among_all(self) -> bool:
        """Whether it holds even when the chance of one wrong verdict among all claims is to stay below 5 %."""
        return self.verdict == "holds" and self.p_adjusted < 1 - LEVEL


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number over seeds with its interval."""

    effect: float
    """The number over all seeds."""
    low: float
    """Lower end of the 95 % interval over seeds; NaN with fewer than three."""
    high: float
    num_seeds: int
    standard_error: float = math.nan
    """0 where no seed makes a difference."""
    p_value: float = math.nan
    """Two-sided, of the test against `null`."""
    test: str = TEST


def estimate(
    table: pl.DataFrame, statistic: Callable[[pl.DataFrame], float], *, null: float = 0.0
) -> Estimate:
    """A statistic of a table with its interval over seeds, from leaving out one at a time.

    Where no seed makes a difference there is no t interval. Then the numbers of each seed alone, where there are,
    are tested by their signs, with the interval [smallest, largest] of their median, which all n numbers being
    equal makes a point; from six seeds on its level, 1 - 2^(1 - n), is at least 95 %.

    Args:
        table: rows with one or more columns whose name starts with "seed"; a row is kept while all its
            seeds are (null means that no seed is involved).
        statistic: from such rows to the number; NaN where the rows don't suffice.
        null: what it is tested against.
    """
    from transferscope.metrics.statistics.jackknife import jackknife_test

    seed_columns = [name for name in table.columns if name.startswith("seed")]
    seeds = sorted({seed for name in seed_columns for seed in table[name].drop_nulls().to_list()})
    effect = statistic(table)
    if len(seeds) < MIN_SEEDS:
        return Estimate(effect=effect, low=math.nan, high=math.nan, num_seeds=len(seeds))
    left_out = [statistic(_without_seed(table, seed_columns, seed)) for seed in seeds]
    test = jackknife_test(effect, left_out, null=null, level=LEVEL, scale=SCALE)
    if test.standard_error == 0:
        alone = [statistic(_of_seed(table, seed_columns, seed)) for seed in seeds]
        return _without_spread(effect, alone, null)
    return Estimate(
        effect=effect,
        low=test.interval.low,
        high=test.interval.high,
        num_seeds=len(seeds),
        standard_error=test.standard_error,
        p_value=test.p_value,
    )


def judge(
    claim: Claim,
    table: pl.DataFrame,
    statistic: Callable[[pl.DataFrame], float],
    *,
    num_images: int = 0,
    note: str = "",
    order_p: Callable[[pl.DataFrame], float] | None = None,
) -> Finding:
    """The verdict on one claim.

    Args:
        claim: what is claimed.
        table, statistic: as of `estimate`.
        num_images: test images behind each row.
        note: shown beside the verdict.
        order_p: of a claim about an order with threshold 0, `mean_order_p`: decides where no seed makes a difference.
    """
    found = estimate(table, statistic, null=claim.threshold)
    if found.num_seeds < MIN_SEEDS:
        note = f"{note} {found.num_seeds} seeds; at least {MIN_SEEDS} are needed to decide.".strip()
    elif found.standard_error == 0:
        note = f"{note} {_no_spread(found, is_order=order_p is not None)}".strip()
    elif not math.isfinite(found.low):
        note = f"{note} The statistic could not be computed on every subset of the seeds.".strip()
    if found.standard_error == 0 and not math.isfinite(found.low) and order_p is not None:
        found = replace(found, p_value=order_p(table), test=ORDER_TEST)
    return Finding(
        claim=claim,
        verdict=_verdict(claim, found),
        effect=found.effect,
        low=found.low,
        high=found.high,
        num_seeds=found.num_seeds,
        num_images=num_images,
        p_value=found.p_value,
        note=note,
        test=found.test,
    )


def verdict(claim: Claim, low: float, high: float) -> Verdict:
    """Holds or not where the whole interval lies on one side of the threshold, else undecided."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return "undecided"
    above, below = low > claim.threshold, high < claim.threshold
    if not (above or below):
        return "undecided"
    return "holds" if above == (claim.side == "above") else "does not hold"


def _verdict(claim: Claim, found: Estimate) -> Verdict:
    if found.test != ORDER_TEST:
        return verdict(claim, found.low, found.high)
    # p alone decides, and the side of the effect: there is no interval
    end = found.effect if found.p_value < 1 - LEVEL else math.nan
    return verdict(claim, end, end)


def not_measured(claim: Claim, why: str) -> Finding:
    """The finding on a claim that this study can't speak of."""
    return Finding(
        claim=claim,
        verdict="undecided",
        effect=math.nan,
        low=math.nan,
        high=math.nan,
        num_seeds=0,
        num_images=0,
        note=why,
    )


def adjusted(findings: Sequence[Finding]) -> list[Finding]:
    """The findings with their p-values adjusted for each other (Holm 1979)."""
    from transferscope.metrics.statistics.jackknife import holm

    p_values = holm([finding.p_value for finding in findings])
    return [replace(finding, p_adjusted=p) for finding, p in zip(findings, p_values, strict=True)]


def _without_seed(table: pl.DataFrame, seed_columns: Sequence[str], seed: int) -> pl.DataFrame:
    import polars as pl

    keep = pl.all_horizontal([pl.col(name).ne_missing(seed) for name in seed_columns])
    return table.filter(keep)


def _of_seed(table: pl.DataFrame, seed_columns: Sequence[str], seed: int) -> pl.DataFrame:
    """Rows of this seed and no other."""
    import polars as pl

    return table.filter(pl.all_horizontal(pl.col(name) == seed for name in seed_columns))


def _without_spread(effect: float, alone: Sequence[float], null: float) -> Estimate:
    """The estimate where no seed makes a difference; with an interval only if a sign test can reach the level.

    Args:
        effect: the statistic over all seeds.
        alone: that of each seed alone; NaN where it takes several, such as of pairs.
        null: what it is tested against.
    """
    from transferscope.metrics.statistics.intervals import ROUNDING
    from transferscope.metrics.statistics.jackknife import sign_test

    def same(a: float, b: float) -> bool:
        return math.isclose(a, b, rel_tol=ROUNDING, abs_tol=ROUNDING)

    effect = 0.0 if same(effect, 0.0) else effect  # not -1e-17, which looks like something
    found = Estimate(effect=effect, low=math.nan, high=math.nan, num_seeds=len(alone), standard_error=0.0)
    if 2.0 ** (1 - len(alone)) >= 1 - LEVEL or not all(same(own, effect) for own in alone):
        return found
    p_value = sign_test([null if same(effect, null) else effect] * len(alone), null)
    return replace(found, low=effect, high=effect, p_value=p_value, test=SIGN_TEST)


def _no_spread(found: Estimate, *, is_order: bool) -> str:
    same = f"All {found.num_seeds} seeds give the same number, up to rounding"
    if found.test == SIGN_TEST:
        return f"{same}: tested by the signs of the seeds alone, the interval is that of their median."
    if is_order:
        why = "tested by permuting the modules' places, which speaks of these networks."
    else:
        why = "they are too few, or not independent, for a sign test."
    return f"{same}, and from no spread no interval can be had: {why}"


def mean_over_targets(rows: pl.DataFrame, value: pl.Expr | str) -> float:
    """Mean of a column (or expression) within each target, then over the targets; NaN without rows.

    Each target weighs the same, however many rows it has. A NaN among the values gives NaN.
    """
    import polars as pl

    expression = pl.col(value) if isinstance(value, str) else value
    means = (
        rows.group_by("target", maintain_order=True).agg(expression.mean().alias("mean"))["mean"].to_list()
    )
    if not means or any(mean is None for mean in means):
        return math.nan
    return sum(means) / len(means)


def mean_rank_correlation(rows: pl.DataFrame, x: str, y: str, by: Sequence[str]) -> float:
    """Spearman's rank correlation of two columns within each instance or pair, mean over these and targets.

    Not that of the means: ranks of a mean profile jump from one order to another, and leaving out seeds then
    says too little of how much they vary.

    Args:
        rows: with a column `target`.
        x, y: the columns correlated.
        by: columns that name an instance or a pair within a target.

    Returns:
        In [-1, 1]; NaN without rows, or where one of the correlations is.
    """
    import polars as pl

    found = [
        {"target": target, "value": rank_correlation(part, x, y)}
        for (target, *_), part in rows.group_by(["target", *by], maintain_order=True)
    ]
    schema = {"target": pl.String, "value": pl.Float64}
    return mean_over_targets(pl.DataFrame(found, schema=schema), "value")


def mean_order_p(rows: pl.DataFrame, x: str, y: str, by: Sequence[str]) -> float:
    """Two-sided p of `mean_rank_correlation` by permuting the places; see `metrics.order.order_test`.

    NaN where there is no correlation, or instances have other places than each other.
    """
    from transferscope.metrics.statistics.permutation import order_test

    profiles, places, targets = [], set(), []
    for (target, *_), part in rows.sort(x).group_by(["target", *by], maintain_order=True):
        profiles.append(part[y].to_list())
        places.add(tuple(part[x].to_list()))
        targets.append(target)
    if len(places) != 1:
        return math.nan
    weights = [1 / targets.count(target) / len(set(targets)) for target in targets]
    return order_test(profiles, weights)


def largest(rows: pl.DataFrame, column: str) -> int:
    """Largest whole number of a column; 0 without rows."""
    return max(rows[column].drop_nulls().to_list(), default=0)


def rank_correlation(rows: pl.DataFrame, x: str, y: str) -> float:
    """Spearman's rank correlation of two columns; NaN where one of them is constant or fewer than 3 rows."""
    from scipy.stats import rankdata

    if rows.height < 3 or rows[x].n_unique() < 2 or rows[y].n_unique() < 2 or rows[y].is_nan().any():
        return math.nan
    import numpy as np

    ranks = [rankdata(rows[name].to_numpy()) for name in (x, y)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])
