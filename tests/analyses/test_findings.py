"""Claims on tables: intervals by leaving out seeds, verdicts, and how often they are wrong."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import fmean, stdev

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transferscope.analyses.claims import Claim, Finding, not_measured
from transferscope.analyses.findings import (
    SIGN_TEST,
    TEST,
    adjusted,
    estimate,
    judge,
    largest,
    mean_over_targets,
    rank_correlation,
    verdict,
)
from transferscope.analyses.parameter_distance import analysis as parameter_distance
from transferscope.metrics.statistics.intervals import t_interval

T_975 = {2: 4.302653, 3: 3.182446, 4: 2.776445}
"""97.5 % quantiles of Student's t by degrees of freedom, from a printed table."""


def claim(threshold: float = 0.0, *, below: bool = False) -> Claim:
    return Claim(
        id="c",
        analysis="a",
        statement="It is so.",
        statistic="a number",
        threshold=threshold,
        side="below" if below else "above",
        reason="none",
    )


def instances(values: Sequence[float]) -> pl.DataFrame:
    return pl.DataFrame({"target": "t", "seed": range(len(values)), "value": values})


def pairs(values: dict[tuple[int, int], float]) -> pl.DataFrame:
    rows = [{"target": "t", "seed_a": a, "seed_b": b, "value": value} for (a, b), value in values.items()]
    return pl.DataFrame(rows)


def mean(rows: pl.DataFrame) -> float:
    return mean_over_targets(rows, "value")


def literal_jackknife(
    pair_values: dict[tuple[int, int], float], statistic: Callable[[list[float]], float]
) -> tuple[float, float, float]:
    """Effect and interval of a statistic of pairs, as the definition says."""
    seeds = sorted({seed for pair in pair_values for seed in pair})
    n = len(seeds)
    whole = statistic(list(pair_values.values()))
    pseudo = []
    for left_out in seeds:
        rest = [value for pair, value in pair_values.items() if left_out not in pair]
        pseudo.append(n * whole - (n - 1) * statistic(rest))
    half = T_975[n - 1] * stdev(pseudo) / math.sqrt(n)
    return whole, whole - half, whole + half


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_the_interval_over_pairs_is_the_jackknife_over_seeds(data: st.DataObject) -> None:
    n = data.draw(st.integers(3, 5))
    numbers = st.floats(0.125, 8, allow_subnormal=False)
    values = {pair: data.draw(numbers) for pair in itertools.combinations(range(n), 2)}
    for literal, ours in (
        (fmean, mean),
        (lambda numbers: fmean(numbers) ** 2, lambda rows: mean(rows) ** 2),
    ):
        effect, low, high = literal_jackknife(values, literal)
        found = judge(claim(), pairs(values), ours)
        assert found.effect == pytest.approx(effect)
        assert found.num_seeds == n
        if math.isnan(found.low):
            assert high - low <= 1e-9 * effect
            continue
        assert found.low == pytest.approx(low, rel=1e-5, abs=1e-5)
        assert found.high == pytest.approx(high, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("values", [[0.1, 0.4, 0.3], [0.9, 0.5, 0.7, 0.2, -0.4]])
def test_for_a_mean_over_instances_it_is_the_interval_of_the_values(values: list[float]) -> None:
    found = judge(claim(), instances(values), mean)
    expected = t_interval(values)
    assert (found.effect, found.low, found.high) == pytest.approx(
        (expected.estimate, expected.low, expected.high)
    )


def test_a_row_without_a_second_seed_goes_with_its_only_one() -> None:
    table = pl.DataFrame({"target": "t", "seed_a": [0, 1, 2], "seed_b": [None] * 3, "value": [1.0, 2.0, 4.0]})
    found = judge(claim(), table, mean)
    assert (found.low, found.high) == pytest.approx(
        (t_interval([1.0, 2, 4]).low, t_interval([1.0, 2, 4]).high)
    )
    assert found.num_seeds == 3


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_than_three_seeds_decide_nothing(count: int) -> None:
    found = judge(claim(), instances([5.0] * count), mean, note="A note.")
    assert found.verdict == "undecided"
    assert found.effect == 5.0
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert found.note == f"A note. {count} seeds; at least 3 are needed to decide."


@pytest.mark.parametrize(
    ("low", "high", "if_above", "if_below"),
    [
        (0.6, 0.9, "holds", "does not hold"),
        (0.1, 0.4, "does not hold", "holds"),
        (0.4, 0.6, "undecided", "undecided"),
        (0.5, 0.6, "undecided", "undecided"),
        (0.4, 0.5, "undecided", "undecided"),
        (math.nan, math.nan, "undecided", "undecided"),
        (-math.inf, math.inf, "undecided", "undecided"),
    ],
)
def test_a_verdict_needs_the_whole_interval_on_one_side(
    low: float, high: float, if_above: str, if_below: str
) -> None:
    assert verdict(claim(0.5), low, high) == if_above
    assert verdict(claim(0.5, below=True), low, high) == if_below


@pytest.mark.parametrize("value", [0.5, 0.1, 0.0, -3.7])
def test_seeds_that_agree_decide_nothing(value: float) -> None:
    """Three equal numbers, at the threshold or away from it, don't say how much a fourth would vary."""
    found = judge(claim(), instances([value] * 3), mean)
    assert (found.verdict, found.effect) == ("undecided", pytest.approx(value))
    assert all(math.isnan(x) for x in (found.low, found.high, found.p_value))
    assert found.note.startswith(
        "All 3 seeds give the same number, up to rounding, and from no spread no interval"
    )
    assert found.test == TEST


def test_equal_up_to_rounding_is_equal() -> None:
    """Differences of equal accuracies are some 1e-17, each another one: that is no spread, and no effect."""
    accuracies = [0.1 + 0.2, 0.3, 0.1 + 0.1 + 0.1]
    differences = [accuracy - 0.3 for accuracy in accuracies]
    assert len(set(differences)) > 1
    found = judge(claim(), instances(differences), mean)
    assert (found.verdict, found.effect) == ("undecided", 0.0)
    assert math.isnan(found.low)
    assert math.isnan(found.p_value)
    assert "up to rounding" in found.note
    assert (
        estimate(instances([0.0, 1e-10, 3e-10]), mean).low
        < 0
        < estimate(instances([1e-9, 2e-9]), mean).effect
    )


@pytest.mark.parametrize(
    ("count", "value", "verdict", "p_value"),
    [
        (5, 0.1, "undecided", math.nan),
        (6, 0.1, "holds", 2 / 64),
        (7, -0.1, "does not hold", 2 / 128),
        (6, 0.0, "undecided", 1.0),
    ],
)
def test_from_six_seeds_on_their_signs_decide(count: int, value: float, verdict: str, p_value: float) -> None:
    found = judge(claim(), instances([value] * count), mean)
    assert (found.verdict, found.p_value) == (verdict, pytest.approx(p_value, nan_ok=True))
    if count >= 6:
        assert found.test == SIGN_TEST
        assert (found.low, found.high) == (pytest.approx(value), pytest.approx(value))
        assert "median" in found.note


def test_equal_pairs_of_many_seeds_are_not_independent_signs() -> None:
    table = pairs(dict.fromkeys(itertools.combinations(range(8), 2), 0.3))
    found = judge(claim(), table, mean)
    assert found.verdict == "undecided"
    assert math.isnan(found.p_value)
    assert "not independent" in found.note


def test_a_claim_without_p_counts_for_nothing_among_many() -> None:
    tested = judge(claim(), instances([1.0, 1.1, 1.2]), mean)
    untested = judge(claim(), instances([1.0, 1.0, 1.0]), mean)
    first, second = adjusted([tested, untested])
    assert first.p_adjusted == tested.p_value
    assert math.isnan(second.p_adjusted)
    assert not second.holds_among_all


def test_a_statistic_that_fails_on_a_subset_is_said() -> None:
    found = judge(
        claim(), instances([1.0, 2.0, 3.0]), lambda rows: mean(rows) if rows.height == 3 else math.nan
    )
    assert found.verdict == "undecided"
    assert found.effect == 2.0
    assert math.isnan(found.low)
    assert "could not be computed on every subset" in found.note


def test_a_value_that_is_not_a_number_is_not_left_out() -> None:
    found = judge(claim(), instances([1.0, math.nan, 1.0, 1.0]), mean)
    assert math.isnan(found.effect)
    assert found.verdict == "undecided"


def test_what_was_not_measured_is_undecided_and_says_why() -> None:
    found = not_measured(claim(), "Nobody asked.")
    assert (found.verdict, found.note, found.num_seeds) == ("undecided", "Nobody asked.", 0)
    assert (found.is_measured, found.standing) == (False, "not measured")
    assert (replace(found, num_seeds=2).is_measured, replace(found, num_seeds=2).standing) == (
        True,
        "undecided",
    )
    assert all(math.isnan(value) for value in (found.effect, found.low, found.high))


def test_every_target_weighs_the_same() -> None:
    table = pl.DataFrame({"target": ["a", "a", "a", "b"], "value": [1.0, 1.0, 1.0, 3.0]})
    assert mean(table) == 2.0
    assert mean_over_targets(table, pl.col("value") * 10) == 20.0
    assert math.isnan(mean(table.clear()))
    assert math.isnan(mean(table.with_columns(value=pl.lit(None, pl.Float64))))


def test_rank_correlation_is_spearmans() -> None:
    table = pl.DataFrame({"x": [0, 1, 2, 3], "y": [1.0, 5.0, 2.0, 90.0]})
    assert rank_correlation(table, "x", "y") == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert rank_correlation(table.head(3), "y", "y") == pytest.approx(1)
    for rows in (
        table.head(2),
        table.with_columns(y=1.0),
        table.with_columns(y=pl.Series([1.0, 2.0, math.nan, 3.0])),
    ):
        assert math.isnan(rank_correlation(rows, "x", "y"))


def test_the_largest_number_of_no_rows_is_zero() -> None:
    table = pl.DataFrame({"n": [3, None, 7]})
    assert largest(table, "n") == 7
    assert largest(table.clear(), "n") == 0


# Planted truth. Values of pairs share what is particular to their seeds, as networks do.

STUDIES = 400


def rate_of_holding(simulate: Callable[[np.random.Generator], Finding]) -> float:
    rng = np.random.default_rng(7)
    return fmean(simulate(rng).verdict == "holds" for _ in range(STUDIES))


def pair_values(rng: np.random.Generator, n: int, center: float) -> dict[tuple[int, int], float]:
    of_seed = rng.normal(size=n)
    return {
        (a, b): center + of_seed[a] + of_seed[b] + rng.normal(scale=0.5)
        for a, b in itertools.combinations(range(n), 2)
    }


@pytest.mark.parametrize("n", [3, 5])
@pytest.mark.parametrize("below", [False, True])
def test_without_an_effect_a_claim_rarely_holds(n: int, below: bool) -> None:
    def over_instances(rng: np.random.Generator) -> Finding:
        return judge(claim(1.0, below=below), instances(rng.normal(1.0, size=n).tolist()), mean)

    def over_pairs(rng: np.random.Generator) -> Finding:
        return judge(claim(1.0, below=below), pairs(pair_values(rng, n, 1.0)), mean)

    assert rate_of_holding(over_instances) <= 0.05
    assert rate_of_holding(over_pairs) <= 0.05


@pytest.mark.parametrize("n", [3, 5])
def test_a_large_effect_is_found(n: int) -> None:
    def over_pairs(rng: np.random.Generator) -> Finding:
        return judge(claim(1.0), pairs(pair_values(rng, n, 1.0 + 20.0)), mean)

    assert rate_of_holding(over_pairs) >= 0.9


def distances(rng: np.random.Generator, n: int, ratio: float) -> dict[str, pl.DataFrame]:
    """Rows of parameter_distance where P-T lie `ratio` times as far from each other as RI-T."""
    rows = []
    for kind, center in (("P-T", 10.0 * ratio), ("RI-T", 10.0)):
        of_seed = rng.normal(scale=0.05, size=n)
        for a, b in itertools.combinations(range(n), 2):
            distance = center * math.exp(of_seed[a] + of_seed[b] + rng.normal(scale=0.05))
            pair = {"target": "t", "pair": f"{kind} & {kind}", "seed_a": a, "seed_b": b}
            rows.append({**pair, "module": "all", "depth": None, "distance": distance})
            rows += [{**pair, "module": f"m{i}", "depth": i, "distance": distance} for i in range(4)]
    return {"parameter_distance": pl.DataFrame(rows, infer_schema_length=None)}


@pytest.mark.parametrize(("n", "ratio"), [(3, 1.0), (5, 1.0), (3, 0.25)])
def test_a_planted_ratio_of_distances(n: int, ratio: float) -> None:
    def closeness(rng: np.random.Generator) -> Finding:
        found = parameter_distance.findings(distances(rng, n, ratio), None)  # pyright: ignore[reportArgumentType]
        return next(finding for finding in found if finding.claim.id == "p_t_are_close")

    rate = rate_of_holding(closeness)
    assert rate <= 0.05 if ratio == 1 else rate >= 0.9
