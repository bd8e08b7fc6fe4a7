"""How claims are tested on tables: intervals over seeds and test images, targets, verdicts, and what would decide."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from statistics import fmean, stdev
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from transferscope.analyses.claims import Claim, Finding, Result, not_measured, size_of
from transferscope.analyses.findings import (
    Estimate,
    adjusted,
    estimate,
    judge,
    largest,
    log_ratio,
    mean_of,
    mean_over_targets,
    mean_slope,
    needs_seeds,
)
from transferscope.metrics.statistics.variance import Variance

MEAN = mean_of("value")


def claim(threshold: float = 0.0, **changes: Any) -> Claim:
    return Claim(
        id="c",
        analysis="a",
        statement="It is so.",
        table="numbers",
        statistic="a number",
        threshold=threshold,
        reason="none",
        **changes,
    )


def instances(values: Sequence[float], target: str = "t") -> pl.DataFrame:
    return pl.DataFrame({"target": target, "seed": range(len(values)), "value": values})


def pairs(values: dict[tuple[int, int], float]) -> pl.DataFrame:
    rows = [{"target": "t", "seed_a": a, "seed_b": b, "value": value} for (a, b), value in values.items()]
    return pl.DataFrame(rows)


def judged(
    asked: Claim, *targets: pl.DataFrame, images: pl.DataFrame | None = None, **options: Any
) -> Finding:
    tables = {"numbers": pl.concat(targets), **({} if images is None else {"numbers_images": images})}
    return judge(asked, tables, options.pop("statistic", MEAN), **options)


def literal_jackknife(
    pair_values: dict[tuple[int, int], float], statistic: Callable[[list[float]], float]
) -> tuple[float, float, float]:
    """Effect and interval of a statistic of pairs by pseudo-values, as the definition says."""
    seeds = sorted({seed for pair in pair_values for seed in pair})
    n = len(seeds)
    whole = statistic(list(pair_values.values()))
    pseudo = []
    for left_out in seeds:
        rest = [value for pair, value in pair_values.items() if left_out not in pair]
        pseudo.append(n * whole - (n - 1) * statistic(rest))
    half = float(stats.t.ppf(0.975, n - 1)) * stdev(pseudo) / math.sqrt(n)
    return whole, whole - half, whole + half


# One target


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_the_interval_over_pairs_is_the_jackknife_over_seeds(data: st.DataObject) -> None:
    n = data.draw(st.integers(3, 5))
    numbers = st.floats(0.125, 8, allow_subnormal=False)
    values = {pair: data.draw(numbers) for pair in itertools.combinations(range(n), 2)}
    for literal, ours in ((fmean, MEAN), (lambda numbers: fmean(numbers) ** 2, lambda rows: MEAN(rows) ** 2)):
        effect, low, high = literal_jackknife(values, literal)
        found = judged(claim(), pairs(values), statistic=ours)
        assert found.effect == pytest.approx(effect)
        assert found.num_seeds == n
        if math.isnan(found.low):
            assert high - low <= 1e-9 * effect
            continue
        assert (found.low, found.high) == pytest.approx((low, high), rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("values", [[0.1, 0.4, 0.3], [0.9, 0.5, 0.7, 0.2, -0.4]])
def test_for_a_mean_over_instances_it_is_students_t_test(values: list[float]) -> None:
    found = judged(claim(0.2), instances(values))
    expected = stats.ttest_1samp(values, 0.2)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval()))


def test_a_row_without_a_second_seed_goes_with_its_only_one() -> None:
    table = pl.DataFrame({"target": "t", "seed_a": [0, 1, 2], "seed_b": [None] * 3, "value": [1.0, 2.0, 4.0]})
    found = judged(claim(), table)
    assert (found.low, found.high) == pytest.approx(
        tuple(stats.ttest_1samp([1, 2, 4], 0).confidence_interval())
    )
    assert found.num_seeds == 3


def test_a_ratio_is_tested_by_its_log() -> None:
    logs = [0.2, 0.5, 0.3, 0.4]
    found = judged(claim(1.0, unit="x"), instances(logs))
    expected = stats.ttest_1samp(logs, 0)
    assert found.p_value == pytest.approx(expected.pvalue)
    ends = expected.confidence_interval()
    assert (found.effect, found.low, found.high) == pytest.approx(
        (math.exp(0.35), math.exp(ends.low), math.exp(ends.high))
    )
    assert found.size == "small"


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_than_three_seeds_decide_nothing(count: int) -> None:
    found = judged(claim(), instances([5.0] * count), note="A note.")
    assert (found.evidence, found.verdict, found.effect) == ("open", "undecided", 5.0)
    assert all(math.isnan(number) for number in (found.low, found.high, found.p_value))
    assert found.note == f"A note. {count} seeds; at least 3 are needed to decide."


def test_two_seeds_have_an_interval_over_test_images_and_decide_nothing() -> None:
    groups = pl.concat(
        [instances([5.0 + 0.01 * group] * 2).with_columns(without_group=group) for group in range(20)]
    )
    found = judged(claim(), instances([5.0, 5.1]), images=groups, num_images=100)
    assert found.low > 0
    assert found.over == "test images"
    assert (found.evidence, found.verdict) == ("open", "undecided")
    assert math.isnan(found.p_value)


@pytest.mark.parametrize("value", [0.5, 0.1, 0.0, -3.7])
def test_seeds_that_agree_decide_nothing(value: float) -> None:
    """Three equal numbers, at the threshold or away from it, don't say how much a fourth would vary."""
    found = judged(claim(), instances([value] * 3))
    assert (found.verdict, found.effect) == ("undecided", pytest.approx(value))
    assert all(math.isnan(x) for x in (found.low, found.high, found.p_value))
    assert found.note.startswith("All 3 seeds give the same number")


def test_equal_up_to_rounding_is_equal() -> None:
    """Differences of equal accuracies are some 1e-17, each another one: that is no spread, and no effect."""
    accuracies = [0.1 + 0.2, 0.3, 0.1 + 0.1 + 0.1]
    differences = [accuracy - 0.3 for accuracy in accuracies]
    assert len(set(differences)) > 1
    found = judged(claim(), instances(differences))
    assert (found.verdict, found.effect) == ("undecided", pytest.approx(0.0, abs=1e-15))
    assert math.isnan(found.low)
    assert math.isnan(found.p_value)
    assert estimate(instances([0.0, 1e-10, 3e-10]), MEAN).low < 0


def test_a_statistic_that_fails_on_a_subset_is_said() -> None:
    found = judged(
        claim(),
        instances([1.0, 2.0, 3.0]),
        statistic=lambda rows: MEAN(rows) if rows.height == 3 else math.nan,
    )
    assert (found.verdict, found.effect) == ("undecided", 2.0)
    assert math.isnan(found.low)
    assert "could not be computed with every seed left out" in found.note


def test_a_value_that_is_not_a_number_is_not_left_out() -> None:
    found = judged(claim(), instances([1.0, math.nan, 1.0, 1.0]))
    assert math.isnan(found.effect)
    assert found.verdict == "undecided"
    assert "could not be computed on every target" in found.note


def test_what_was_not_measured_says_why() -> None:
    found = not_measured(claim(), "Set x.")
    assert (found.evidence, found.verdict, found.note) == ("not measurable here", "undecided", "Set x.")
    assert (found.is_measured, found.standing) == (False, "not measurable here")
    assert all(math.isnan(value) for value in (found.effect, found.low, found.high))
    assert judge(claim(), {"numbers": instances([])}, MEAN, missing="Set y.").note == "Set y."


# Test images


def test_the_variance_of_test_images_is_added() -> None:
    rng = np.random.default_rng(0)
    values, groups = [0.2, 0.35, 0.3, 0.25], rng.normal(0, 0.01, 20)
    images = pl.concat(
        [
            instances((np.array(values) + move).tolist()).with_columns(without_group=g)
            for g, move in enumerate(groups)
        ]
    )
    found = judged(claim(0.1), instances(values), images=images, num_images=100)
    over_seeds, over_images = np.var(values, ddof=1) / 4, 19 * groups.var()
    df = (over_seeds + over_images) ** 2 / (over_seeds**2 / 3 + over_images**2 / 19)
    error = math.sqrt(over_seeds + over_images)
    half = stats.t.ppf(0.975, df) * error
    assert (found.low, found.high) == pytest.approx((0.275 - half, 0.275 + half))
    assert found.p_value == pytest.approx(2 * stats.t.sf(0.175 / error, df))
    assert found.over == "seeds and test images"


# Several targets


FIRST, SECOND = [0.05, 0.06, 0.10], [0.20, 0.26, 0.32, 0.23]


def test_the_variance_of_a_mean_over_targets_is_the_sum_of_theirs() -> None:
    found = judged(claim(), instances(FIRST, "a"), instances(SECOND, "b"))
    error = (stats.sem(FIRST) ** 2 + stats.sem(SECOND) ** 2) ** 0.5 / 2
    assert found.effect == pytest.approx((fmean(FIRST) + fmean(SECOND)) / 2)
    # two targets with a variance each: Welch's degrees of freedom
    welch = stats.ttest_ind(FIRST, [-value for value in SECOND], equal_var=False)
    assert found.p_value == pytest.approx(welch.pvalue)
    assert found.high - found.effect == pytest.approx(stats.t.ppf(0.975, welch.df) * error)
    assert [one.target for one in found.targets] == ["a", "b"]
    assert [one.effect for one in found.targets] == pytest.approx([fmean(FIRST), fmean(SECOND)])
    assert found.num_seeds == 3


def test_a_contrast_of_two_targets_is_welchs_test() -> None:
    found = judged(
        claim(across="contrast"), instances(FIRST, "a"), instances(SECOND, "b"), weights={"a": -1.0, "b": 1.0}
    )
    expected = stats.ttest_ind(SECOND, FIRST, equal_var=False)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.targets == ()


@pytest.mark.parametrize(
    ("second", "verdict"),
    [
        ([0.05, 0.06, 0.07], "holds"),
        ([-0.05, 0.06, 0.02], "undecided"),
        ([-0.3, -0.31, -0.32], "does not hold"),
    ],
)
def test_a_claim_about_each_target_holds_where_it_holds_on_all(second: list[float], verdict: str) -> None:
    first = [0.5, 0.51, 0.52]
    found = judged(claim(across="each"), instances(first, "a"), instances(second, "b"))
    p_values = [float(stats.ttest_1samp(values, 0).pvalue) for values in (first, second)]
    assert found.verdict == verdict
    assert found.p_value == pytest.approx(2 * p_values[1] if verdict == "does not hold" else max(p_values))
    assert found.targets_that_hold == f"holds on {2 if verdict == 'holds' else 1} of 2 targets"


def test_one_target_that_fails_is_enough_against_each() -> None:
    """Also beside a target whose seeds all agree."""
    found = judged(claim(across="each"), instances([0.5] * 3, "a"), instances([-0.3, -0.31, -0.32], "b"))
    assert found.verdict == "does not hold"
    assert (
        judged(claim(across="each"), instances([0.5] * 3, "a"), instances([0.3, 0.31, 0.32], "b")).verdict
        == "undecided"
    )


def test_every_target_weighs_the_same() -> None:
    table = pl.DataFrame({"target": ["a", "a", "a", "b"], "value": [1.0, 1.0, 1.0, 3.0]})
    assert MEAN(table) == 2.0
    assert mean_over_targets(table, pl.col("value") * 10) == 20.0
    assert math.isnan(MEAN(table.clear()))
    assert math.isnan(MEAN(table.with_columns(value=pl.lit(None, pl.Float64))))


# Evidence and size


def result(p_value: float, *, adjusted: float = math.nan, **changes: Any) -> Result:
    own = {"effect": 0.3, "num_seeds": 4, "is_on_claimed_side": True, **changes}
    return Result(p_value=p_value, p_adjusted=adjusted, **own)


@pytest.mark.parametrize(
    ("p_value", "evidence", "verdict"),
    [
        (0.0049, "strong", "holds"),
        (0.005, "some", "holds"),
        (0.0249, "some", "holds"),
        (0.025, "hint", "undecided"),
        (0.0499, "hint", "undecided"),
        (0.05, "open", "undecided"),
        (math.nan, "open", "undecided"),
    ],
)
def test_evidence_goes_by_p(p_value: float, evidence: str, verdict: str) -> None:
    assert (result(p_value).evidence, result(p_value).verdict) == (evidence, verdict)
    other_side = result(p_value, is_on_claimed_side=False)
    assert other_side.verdict == ("does not hold" if verdict == "holds" else "undecided")


def test_p_adjusted_for_all_claims_makes_strong_what_is_decided_and_nothing_else() -> None:
    """Where few claims are tested, p adjusted is little more than p, and .04 comes out again every second time."""
    assert result(0.02, adjusted=0.03).evidence == "strong"
    assert result(0.02, adjusted=0.06).evidence == "some"
    assert result(0.04, adjusted=0.04).evidence == "hint"


def test_what_lies_within_the_margin_is_shown_to_be_negligible() -> None:
    assert judged(claim(), instances([0.001, -0.002, 0.002])).evidence == "shown to be negligible"
    assert judged(claim(), instances([0.011, -0.03, 0.02])).evidence == "open"
    assert (
        judged(claim(), instances([0.010, 0.011, 0.012])).evidence == "strong"
    )  # and its size is negligible
    assert judged(claim(1.0, unit="x"), instances([0.01, -0.02, 0.02])).evidence == "shown to be negligible"
    assert judged(claim(unit="nats"), instances([0.02, -0.01, 0.01])).evidence == "shown to be negligible"


@pytest.mark.parametrize(
    ("effect", "unit", "size"),
    [
        (0.019, "", "negligible"),
        (-0.02, "", "small"),
        (0.05, "", "medium"),
        (-0.15, "", "large"),
        (1.05, "x", "negligible"),
        (1 / 1.2, "x", "small"),
        (2.0, "x", "medium"),
        (0.1, "x", "large"),
        (0.0, "x", "unknown"),
        (math.nan, "", "unknown"),
    ],
)
def test_size_goes_by_the_effect(effect: float, unit: str, size: str) -> None:
    assert size_of(effect, unit) == size


def test_a_claim_without_p_counts_for_nothing_among_many() -> None:
    tested = judged(claim(), instances([1.0, 1.1, 1.2]))
    untested = judged(claim(), instances([1.0, 1.0, 1.0]))
    first, second = adjusted([tested, untested])
    assert first.p_adjusted == tested.p_value
    assert math.isnan(second.p_adjusted)


# What would decide


def test_seeds_that_would_decide_do_so_in_four_studies_of_five() -> None:
    found = Estimate(effect=0.8, seeds=Variance(value=1 / 4, df=3), images=None, num_seeds=4)
    n = needs_seeds(found, 0.0)
    assert n is not None
    rng = np.random.default_rng(0)
    p_values = stats.ttest_1samp(rng.normal(0.8, 1, (4000, n)), 0, axis=1).pvalue
    assert 0.75 < np.mean(p_values < 0.025) < 0.87


def test_an_open_claim_says_what_would_decide_it() -> None:
    clear = judged(claim(), instances([0.10, 0.02, 0.17, 0.04]))
    assert clear.evidence == "open"
    assert clear.needs_seeds is not None
    assert clear.note == f"About {clear.needs_seeds} seeds would decide it."
    level = judged(claim(), instances([0.10, -0.10, 0.05, -0.04]))
    assert level.needs_seeds is None
    assert level.note == "It lies at the threshold: more seeds would hardly decide it."


def test_too_few_test_images_are_told_from_a_number_at_the_threshold() -> None:
    values = [0.10, 0.12, 0.11, 0.13]
    images = pl.concat(
        [instances([value + move for value in values]).with_columns(without_group=group)
         for group, move in enumerate(np.linspace(-0.05, 0.05, 20).tolist())]
    )  # fmt: skip
    found = judged(claim(), instances(values), images=images, num_images=40)
    assert (found.evidence, found.needs_seeds) == ("open", None)
    assert found.note == (
        "The 40 test images are too few: more of them would decide it, more seeds alone would not."
    )


def test_of_each_target_the_open_ones_say_what_would_decide() -> None:
    found = judged(
        claim(across="each"), instances([0.5, 0.51, 0.52, 0.5], "a"), instances([0.10, 0.02, 0.17, 0.04], "b")
    )
    assert found.needs_seeds == found.targets[1].needs_seeds
    assert found.note == f"About {found.needs_seeds} seeds would decide it."


# Statistics


def test_a_mean_slope_is_that_of_least_squares_within_each_network() -> None:
    rng = np.random.default_rng(0)
    x, y = [3.0, 5.0, 6.0, 11.0], rng.normal(size=(2, 4))
    table = pl.DataFrame({"seed": [0] * 4 + [1] * 4, "x": x * 2, "y": y.ravel()})
    expected = fmean(float(stats.linregress(x, one).slope) * 8 for one in y)
    assert mean_slope(table, "x", "y", by=("seed",)) == pytest.approx(expected)
    assert mean_slope(table, "x", pl.col("y") * 2, by=("seed",)) == pytest.approx(2 * expected)
    alone = mean_slope(table.head(4), "x", "y", by=("seed",))
    assert mean_slope(table.head(5), "x", "y", by=("seed",)) == pytest.approx(alone), "one place has no slope"
    for rows in (
        table.with_columns(x=1.0),
        table.with_columns(y=pl.lit(math.nan)),
        table.clear(),
        table.head(1),
    ):
        assert math.isnan(mean_slope(rows, "x", "y", by=("seed",)))


def test_the_log_of_a_ratio_needs_positive_numbers() -> None:
    assert log_ratio(2.0, 1.0) == pytest.approx(math.log(2))
    for part, whole in ((0.0, 1.0), (1.0, 0.0), (-1.0, 1.0), (math.nan, 1.0)):
        assert math.isnan(log_ratio(part, whole))


def test_the_largest_number_of_no_rows_is_zero() -> None:
    table = pl.DataFrame({"n": [3, None, 7]})
    assert largest(table, "n") == 7
    assert largest(table.clear(), "n") == 0
