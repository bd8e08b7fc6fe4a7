"""The claims about module criticality, and what its tables say of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from transferscope.analyses.claims import SMALL_METRIC, Claim, Finding, not_measured
from transferscope.analyses.findings import Rows, judge, largest, mean_of, mean_slope
from transferscope.core.config import Study

if TYPE_CHECKING:
    import polars as pl


WINDOW = 0.1
"""Longest part of the training in which a rise is sudden."""
NO_RISE = 1e-3
"""Nats: a smaller rise of the training loss counts as this one, so that it has a logarithm."""
_TWO_POINTS = "two points, the same as for barriers"
_NO_COURSE = "The study has no RI-T over the epochs of its training; training.keep_epochs: all keeps them."

P_T_LOW_MODULES_NOT_CRITICAL = Claim(
    id="p_t_low_modules_not_critical",
    analysis="criticality",
    statement="The lower modules of P-T can be put back to their pre-trained values at little loss.",
    table="criticality",
    statistic="drop of the test metric when one module of the lower half is put back, mean over these",
    across="each",
    threshold=SMALL_METRIC,
    side="below",
    reason=_TWO_POINTS,
)
P_T_CRITICALITY_GROWS_TOWARD_HEAD = Claim(
    id="p_t_criticality_grows_toward_head",
    analysis="criticality",
    statement="The criticality of P-T's modules grows toward the head.",
    table="criticality",
    statistic="slope of the logarithm of the rise of the training loss when a module is put back on the module's "
    "place, without the head, as the factor from the first module to the last, mean over seeds",
    threshold=1.0,
    reason="one: any growth; the factor itself says how much",
    unit="x",
)
RI_T_LOW_MODULES_CRITICAL = Claim(
    id="ri_t_low_modules_critical",
    analysis="criticality",
    statement="RI-T is critical in its lower modules too.",
    table="criticality",
    statistic="drop of the test metric when one module of the lower half is put back, mean over these",
    threshold=SMALL_METRIC,
    reason=_TWO_POINTS,
)
RI_T_BECOMES_CRITICAL_SUDDENLY = Claim(
    id="ri_t_becomes_critical_suddenly",
    analysis="criticality",
    statement="RI-T becomes critical suddenly in the course of training.",
    table="criticality_training",
    statistic="largest share of the rise of its modules' mean rewinding drop, without the head, that falls in at "
    "most a tenth of the training",
    threshold=0.5,
    reason="half of the rise in a tenth of the time",
)
RI_T_BECOMES_CRITICAL_IN_TRAINING = Claim(
    id="ri_t_becomes_critical_in_training",
    analysis="criticality",
    statement="There is a point in training at which RI-T becomes critical.",
    table="criticality_training",
    statistic="smaller of two numbers: two points minus the modules' mean rewinding drop after the first epoch, and "
    "that drop at the end minus two points, without the head",
    reason="zero: not critical after the first epoch, critical at the end; two points as for barriers",
)
CLAIMS = (
    P_T_LOW_MODULES_NOT_CRITICAL,
    P_T_CRITICALITY_GROWS_TOWARD_HEAD,
    RI_T_LOW_MODULES_CRITICAL,
    RI_T_BECOMES_CRITICAL_IN_TRAINING,
    RI_T_BECOMES_CRITICAL_SUDDENLY,
)


def findings(tables: Mapping[str, pl.DataFrame], study: Study) -> Sequence[Finding]:
    """The claims about criticality."""
    import polars as pl

    modules = tables["criticality"]
    is_body = ~pl.col("is_head")
    num_modules = largest(modules.filter(is_body), "depth") + 1
    is_low = is_body & (pl.col("depth") < num_modules / 2)
    low_names = ", ".join(modules.filter(is_low)["module"].unique(maintain_order=True))

    def of(kind: str, where: pl.Expr) -> Rows:
        return lambda table: table.filter((pl.col("kind") == kind) & where)

    lower = {
        "num_images": largest(modules, "n_test"),
        "note": f"Lower half: {low_names}.",
    }
    rise = pl.max_horizontal("train_rise_loss", pl.lit(NO_RISE)).log()
    return [
        judge(P_T_LOW_MODULES_NOT_CRITICAL, tables, mean_of("test_drop"), rows=of("P-T", is_low), **lower),
        judge(
            P_T_CRITICALITY_GROWS_TOWARD_HEAD,
            tables,
            lambda rows: mean_slope(rows, "depth", rise, by=("seed",)),
            rows=of("P-T", is_body),  # by the training loss: no test image is behind it
        ),
        judge(RI_T_LOW_MODULES_CRITICAL, tables, mean_of("test_drop"), rows=of("RI-T", is_low), **lower),
        _in_training(tables, of("RI-T", is_body)),
        _sudden(tables, of("RI-T", is_body)),
    ]


def _in_training(tables: Mapping[str, pl.DataFrame], rows: Rows) -> Finding:
    """Whether the modules become critical between the first epoch and the last, and when."""
    claim = RI_T_BECOMES_CRITICAL_IN_TRAINING
    course = rows(tables[claim.table])
    if course.is_empty():
        return not_measured(claim, _NO_COURSE)
    epochs = sorted(set(course["epoch"].to_list()))
    if epochs != list(range(1, epochs[-1] + 1)):
        return not_measured(claim, "Some epochs were not kept; training.keep_epochs: all measures it.")
    points = [_point(part) for _, part in course.group_by(["target"], maintain_order=True)]
    named = sorted({point for point in points if point is not None})
    note = f"Epoch from which on the mean drop stays above two points, of {epochs[-1]}: "
    note += "none" if not named else f"{named[0]}" if len(named) == 1 else f"{named[0]} to {named[-1]}"
    return judge(
        claim, tables, _passes_two_points, rows=rows, num_images=largest(course, "n_test"), note=f"{note}."
    )


def _mean_drops(rows: pl.DataFrame) -> dict[int, float]:
    """Epoch -> mean drop of all modules and seeds of one target, in order."""
    import polars as pl

    means = rows.group_by("epoch").agg(pl.col("test_drop").mean()).sort("epoch")
    return dict(means.iter_rows())


def _passes_two_points(rows: pl.DataFrame) -> float:
    drops = _mean_drops(rows)
    if not drops or any(map(math.isnan, drops.values())):
        return math.nan
    return min(SMALL_METRIC - drops[min(drops)], drops[max(drops)] - SMALL_METRIC)


def _point(rows: pl.DataFrame) -> int | None:
    """The first epoch from which on the mean drop of a target stays above two points."""
    drops = _mean_drops(rows)
    below = [epoch for epoch, drop in drops.items() if not drop > SMALL_METRIC]
    above = [epoch for epoch in drops if epoch > max(below, default=0)]
    return min(above, default=None)


def _sudden(tables: Mapping[str, pl.DataFrame], rows: Rows) -> Finding:
    """Whether the modules become critical suddenly; not measurable where the kept epochs can't tell."""
    claim = RI_T_BECOMES_CRITICAL_SUDDENLY
    course = rows(tables[claim.table])
    if course.is_empty():
        return not_measured(claim, _NO_COURSE)
    epochs = sorted({0, *course["epoch"].to_list()})
    widest = max((after - before for before, after in pairwise(epochs)), default=0)
    if widest > max(epochs) * WINDOW:
        why = (
            f"Between two kept epochs lie up to {widest} of {max(epochs)} epochs, more than a tenth of the training; "
            "training.keep_epochs: all measures it."
        )
        return not_measured(claim, why)
    found = judge(claim, tables, _suddenness, rows=rows, num_images=largest(course, "n_test"))
    if math.isnan(found.effect):
        why = f"The mean drop rises by less than {100 * SMALL_METRIC:g} points: there is no rise to place."
        return not_measured(claim, why)
    return found


def _suddenness(rows: pl.DataFrame) -> float:
    """Largest share of the whole rise of the mean drop that falls in a tenth of the training, 0 to 1.

    The rise is that of the largest drop so far, so that ups and downs of the noise don't count twice.

    Args:
        rows: drops of one target by seed, module and epoch.

    Returns:
        NaN where the whole rise is smaller than what is called small.
    """
    so_far = {0: 0.0}
    for epoch, drop in _mean_drops(rows).items():
        # a drop that is NaN stays NaN from there on
        before = so_far[max(so_far)]
        so_far[epoch] = drop if math.isnan(drop) or drop > before else before
    longest = max(so_far) * WINDOW
    steepest = max(
        (so_far[b] - so_far[a] for a in so_far for b in so_far if a < b and b - a <= longest), default=0.0
    )
    whole = so_far[max(so_far)]
    return steepest / whole if whole >= SMALL_METRIC else math.nan
