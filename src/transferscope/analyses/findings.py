"""How a claim is tested on the tables of a study: one model of variance for all claims and all advice.

A claim's statistic is computed on each target alone. Its variance there has two parts: that between seeds, from leaving
out one seed at a time, and that of the test images, from leaving out one group of them at a time, where the analysis
kept what that takes. Seeds differ between targets and test images do too, so the variance of a mean over targets is the
sum of theirs. Degrees of freedom are Satterthwaite's. docs/findings.md has what simulations say of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from transferscope.analyses.claims import SOME, Claim, Finding, Result, not_measured, size_of
from transferscope.analyses.contract import IMAGES

if TYPE_CHECKING:
    import polars as pl

    from transferscope.metrics.statistics.variance import Variance

MIN_SEEDS = 3
"""Fewest seeds that can decide a claim: with two, an interval over pairs has nothing left to compare."""
LEVEL = 0.95
"""Level of all intervals."""
MOST_SEEDS = 60
"""Seeds beyond which a study is not worth its time: then the truth lies at the threshold for all that matters."""
POWER = 0.8
"""Share of studies that `needs_seeds` would have decide."""
SCALE = 1.0
"""Size of what statistics are made of: metrics, shares, logs of ratios, losses. A standard error below
`metrics.statistics.intervals.ROUNDING` times this is that of rounding, and counts as none."""

Statistic = Callable[["pl.DataFrame"], float]
Rows = Callable[["pl.DataFrame"], "pl.DataFrame"]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number with what is known of its variance."""

    effect: float
    seeds: Variance | None
    """Between seeds; None with fewer than `MIN_SEEDS`."""
    images: Variance | None
    """Of the test images; None where the table has nothing to tell it from."""
    num_seeds: int

    @property
    def variance(self) -> Variance:
        """Of the number: the sum of what is known."""
        from transferscope.metrics.statistics.intervals import ROUNDING
        from transferscope.metrics.statistics.variance import Variance, total_variance

        parts = [part for part in (self.seeds, self.images) if part is not None]
        if not parts:
            return Variance(value=math.nan, df=0)
        total = total_variance(parts)
        is_rounding = math.sqrt(total.value) <= ROUNDING * SCALE if math.isfinite(total.value) else False
        return replace(total, value=0.0) if is_rounding else total

    @property
    def over(self) -> str:
        """What the interval is over."""
        names = [("seeds", self.seeds), ("test images", self.images)]
        return " and ".join(name for name, part in names if part is not None)

    @property
    def standard_error(self) -> float:
        """0 where no seed and no image makes a difference; NaN where nothing is known."""
        return math.sqrt(self.variance.value)

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval; NaN where there is none."""
        return self.interval()[0]

    @property
    def high(self) -> float:
        """Upper end."""
        return self.interval()[1]

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """Student's t interval; NaN where there is no spread."""
        from transferscope.metrics.statistics.variance import interval_ends

        return interval_ends(self.effect, self.variance, level)

    def tail(self, null: float) -> float:
        """One-sided p against `null`; NaN without enough seeds."""
        from transferscope.metrics.statistics.variance import tail

        return math.nan if self.seeds is None else tail(self.effect, self.variance, null)

    def result(self, null: float = 0.0) -> Result:
        """Tested two-sided, for advice, as the claim that the number lies above `null`."""
        return _result(_ABOVE, self, null)


def estimate(
    table: pl.DataFrame,
    statistic: Statistic,
    *,
    images: pl.DataFrame | None = None,
) -> Estimate:
    """A statistic of each target, and its mean over targets, with the variance of both.

    Args:
        table: rows with a column `target`, where there are several, and one or more columns whose name starts with
            "seed"; a row is used while all its seeds are (null means that no seed is involved).
        statistic: from the rows of one target to the number; NaN where the rows don't suffice.
        images: the same rows, computed without one group of test images after the other; `without_group` says which.
    """
    parts = _by_target(table, statistic, images).values()
    if not parts:
        return Estimate(effect=math.nan, seeds=None, images=None, num_seeds=0)
    return combined([(1 / len(parts), part) for part in parts])


def combined(parts: Sequence[tuple[float, Estimate]]) -> Estimate:
    """The weighted sum of independent estimates; each source of variance is known only where all parts have it."""
    from transferscope.metrics.statistics.variance import total_variance

    def total(of: Callable[[Estimate], Variance | None]) -> Variance | None:
        own = [(weight, of(part)) for weight, part in parts]
        known = [one.scaled(weight) for weight, one in own if one is not None]
        return total_variance(known) if known and len(known) == len(own) else None

    return Estimate(
        effect=sum(weight * part.effect for weight, part in parts),
        seeds=total(lambda part: part.seeds),
        images=total(lambda part: part.images),
        num_seeds=min((part.num_seeds for _, part in parts), default=0),
    )


def judge(
    claim: Claim,
    tables: Mapping[str, pl.DataFrame],
    statistic: Statistic,
    *,
    rows: Rows = lambda table: table,
    weights: Mapping[str, float] | None = None,
    num_images: int = 0,
    note: str = "",
    missing: str = "",
) -> Finding:
    """What a study says about one claim.

    Args:
        claim: what is claimed.
        tables: of the analysis; `claim.table` is one of them.
        statistic: from the rows of one target to its number: for a ratio its log; NaN where they don't suffice.
        rows: which rows of the table count.
        weights: of the targets, for a contrast between them.
        num_images: test images behind each row; with 0, the claim has no variance over test images.
        note: shown beside the verdict.
        missing: the note where no row counts: which setting would measure the claim.
    """
    table = rows(tables[claim.table])
    if table.is_empty():
        return not_measured(claim, missing or note or "The study has no data for it.")
    images = tables.get(claim.table + IMAGES) if num_images else None
    by_target = _by_target(table, statistic, None if images is None else rows(images))
    null = math.log(claim.threshold) if claim.unit == "x" else claim.threshold
    targets = {name: replace(_result(claim, part, null), target=name) for name, part in by_target.items()}
    chosen = weights or {name: 1 / len(by_target) for name in by_target}
    overall = combined([(weight, by_target[name]) for name, weight in chosen.items()])
    result, rests_on = _result(claim, overall, null), [overall]
    if claim.across == "each" and len(targets) > 1:
        result = _of_each(result, list(targets.values()))
        rests_on = [by_target[name] for name, one in targets.items() if one.verdict == "undecided"]
    values = {**vars(result), "target": ""}
    return Finding(
        **values,
        claim=claim,
        targets=() if claim.across == "contrast" else tuple(targets.values()),
        num_images=num_images,
        note=f"{note} {why_open(result, rests_on or [overall], null, num_images)}".strip(),
    )


def adjusted(findings: Sequence[Finding]) -> list[Finding]:
    """The findings with their p-values adjusted for each other (Holm 1979)."""
    from transferscope.metrics.statistics.variance import holm

    p_values = holm([finding.p_value for finding in findings])
    return [replace(finding, p_adjusted=p) for finding, p in zip(findings, p_values, strict=True)]


_ABOVE = Claim(id="", analysis="", statement="", table="", statistic="")


def _by_target(table: pl.DataFrame, statistic: Statistic, images: pl.DataFrame | None) -> dict[str, Estimate]:
    """The estimate on each target, in the table's order."""
    import polars as pl

    if "target" not in table.columns:
        return {"": _on_one_target(table, statistic, images)} if table.height else {}
    found = {}
    for (target,), part in table.group_by(["target"], maintain_order=True):
        own = None if images is None else images.filter(pl.col("target") == target)
        found[str(target)] = _on_one_target(part, statistic, own)
    return found


def _on_one_target(table: pl.DataFrame, statistic: Statistic, images: pl.DataFrame | None) -> Estimate:
    from transferscope.metrics.statistics.variance import jackknife_variance

    seed_columns = [name for name in table.columns if name.startswith("seed")]
    seeds = sorted({seed for name in seed_columns for seed in table[name].drop_nulls().to_list()})
    over_seeds = over_images = None
    if len(seeds) >= MIN_SEEDS:
        over_seeds = jackknife_variance(
            [statistic(_without_seed(table, seed_columns, seed)) for seed in seeds]
        )
    if images is not None and images["without_group"].n_unique() > 1:
        groups = images.group_by(["without_group"], maintain_order=True)
        over_images = jackknife_variance([statistic(part) for _, part in groups])
    return Estimate(effect=statistic(table), seeds=over_seeds, images=over_images, num_seeds=len(seeds))


def _without_seed(table: pl.DataFrame, seed_columns: Sequence[str], seed: int) -> pl.DataFrame:
    import polars as pl

    return table.filter(pl.all_horizontal([pl.col(name).ne_missing(seed) for name in seed_columns]))


def _result(claim: Claim, found: Estimate, null: float) -> Result:
    """The test of an estimate against the claim's threshold, both as they are tested: the log of a ratio."""
    is_on_claimed_side = (found.effect > null) == (claim.side == "above") and found.effect != null
    p_value = 2 * found.tail(null)
    low, high = found.interval(0.9)
    is_negligible = found.seeds is not None and -claim.margin < low and high < claim.margin
    shown = [found.effect, *found.interval()]
    if claim.unit == "x":
        shown = [math.exp(value) for value in shown]
    return Result(
        effect=shown[0],
        low=shown[1],
        high=shown[2],
        over=found.over,
        num_seeds=found.num_seeds,
        p_value=p_value,
        is_on_claimed_side=is_on_claimed_side,
        is_negligible=is_negligible,
        needs_seeds=None if p_value < SOME else needs_seeds(found, null),
        size=size_of(shown[0], claim.unit),
    )


def needs_seeds(found: Estimate, null: float) -> int | None:
    """The fewest seeds with which `POWER` of studies would decide (p < .025), were effect and variance as here.

    The variance between seeds falls as one over their number; that of the test images stays.

    Args:
        found: what a study found.
        null: what it is tested against.

    Returns:
        None if the variance between seeds is unknown or 0, or if more than `MOST_SEEDS` seeds would be needed.
    """
    import numpy as np
    from scipy import special

    if found.seeds is None or not (found.seeds.value > 0 and math.isfinite(found.effect)):
        return None
    seeds = np.arange(found.num_seeds + 1, MOST_SEEDS + 1)
    between = found.seeds.value * found.num_seeds / seeds
    df = found.seeds.df * (seeds - 1) / (found.num_seeds - 1)
    value, squares = between, between**2 / df
    if found.images is not None:
        value = value + found.images.value
        squares = squares + found.images.value**2 / found.images.df
    df = value**2 / squares  # Satterthwaite
    needed = special.stdtrit(df, 1 - SOME / 2) + special.stdtrit(df, POWER)
    enough = seeds[abs(found.effect - null) >= needed * np.sqrt(value)]
    return int(enough[0]) if len(enough) else None


def _of_each(mean: Result, targets: Sequence[Result]) -> Result:
    """Of a claim about each target: it holds where it does on all of them (Berger's intersection-union test, 1982),
    and does not hold where it doesn't on one, with p adjusted for their number (Bonferroni)."""
    claimed = [one.p_value for one in targets if one.is_on_claimed_side]
    against = [one.p_value for one in targets if not one.is_on_claimed_side]
    tested = [p for p in against if not math.isnan(p)]
    if tested:
        p_value = min(1.0, len(targets) * min(tested))
    else:
        p_value = math.nan if against or any(map(math.isnan, claimed)) else max(claimed)
    needs = [one.needs_seeds for one in targets if one.verdict == "undecided"]
    known = [seeds for seeds in needs if seeds is not None]
    is_open = not p_value < SOME
    return replace(
        mean,
        p_value=p_value,
        is_on_claimed_side=not against,
        is_negligible=all(one.is_negligible for one in targets),
        needs_seeds=max(known) if is_open and known and len(known) == len(needs) else None,
    )


def why_open(result: Result, parts: Sequence[Estimate], null: float, num_images: int = 0) -> str:
    """Why a claim is open, and what would decide it; empty where it is decided.

    Args:
        result: of the claim.
        parts: the estimate that it rests on, or those of the targets that are open.
        null: what they are tested against.
        num_images: test images behind each network's number; 0 if that isn't to be said.
    """
    if result.evidence in ("strong", "some", "shown to be negligible"):
        return ""
    if result.num_seeds < MIN_SEEDS:
        return f"{result.num_seeds} seeds; at least {MIN_SEEDS} are needed to decide."
    if any(not math.isfinite(part.effect) for part in parts):
        return "The number could not be computed on every target."
    if any(part.standard_error == 0 for part in parts):
        return (
            f"All {result.num_seeds} seeds give the same number, and from no spread no interval can be had."
        )
    if any(not math.isfinite(part.low) for part in parts):
        return "The number could not be computed with every seed left out."
    if result.needs_seeds is not None:
        return f"About {result.needs_seeds} seeds would decide it."
    if all(needs_seeds(replace(part, images=None), null) is not None for part in parts):
        images = f"{num_images} test images" if num_images else "test images"
        return f"The {images} are too few: more of them would decide it, more seeds alone would not."
    return "It lies at the threshold: more seeds would hardly decide it."


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


def mean_of(value: pl.Expr | str) -> Statistic:
    """The statistic that is the mean of a column or expression."""
    return lambda rows: mean_over_targets(rows, value)


def mean_slope(rows: pl.DataFrame, x: str, y: pl.Expr | str, by: Sequence[str]) -> float:
    """Change of y over the whole range of x, by least squares within each network or pair; mean over these.

    Args:
        rows: of one target.
        x: scaled so that its smallest value is 0 and its largest 1: the slope is the change from one end to the other.
        y: a column or expression.
        by: columns that name a network or a pair.

    Returns:
        In the unit of y; NaN where y is NaN or no network has two values of x. Those with a single one are left out.
    """
    import polars as pl

    y = pl.col(y) if isinstance(y, str) else y
    x_range = pl.col(x).max() - pl.col(x).min()
    slope = pl.cov(pl.col(x), y) / pl.col(x).var() * x_range
    rows = rows.filter(pl.col(x).n_unique().over(list(by)) > 1)
    slopes = rows.group_by(list(by), maintain_order=True).agg(slope.alias("slope"))["slope"].to_list()
    if not slopes or any(slope is None for slope in slopes):
        return math.nan
    return sum(slopes) / len(slopes)


def log_ratio(part: float, whole: float) -> float:
    """The log of a ratio of positive numbers; NaN where one is not."""
    return math.log(part / whole) if part > 0 and whole > 0 else math.nan


def largest(rows: pl.DataFrame, column: str) -> int:
    """Largest whole number of a column; 0 without rows."""
    return max(rows[column].drop_nulls().to_list(), default=0)
