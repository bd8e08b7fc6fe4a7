"""Every claim on made-up studies of two targets, computed anew in plain Python with SciPy from the rows of its table.

Written from the words of `statistic` and docs/findings.md, sharing no code with the analyses: effect, interval, p and
verdict must be the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest
from planted_studies import Draw, Rows, Scenario, all_planted
from scipy import stats

from transferscope.analyses.contract import all_claims, analysis_module

SEEDS = range(4)
NO_STUDY: Any = None
PLANTED = all_planted()


def without(rows: Rows, seed: int) -> Rows:
    return [
        row
        for row in rows
        if not any(name.startswith("seed") and value == seed for name, value in row.items())
    ]


def recomputed(rows: Rows, statistic: Callable[[Rows], float], null: float) -> tuple[float, ...]:
    """Effect, ends of the interval and p, by pseudo-values."""
    whole, n = statistic(rows), len(SEEDS)
    pseudo_values = [n * whole - (n - 1) * statistic(without(rows, seed)) for seed in SEEDS]
    error = stats.sem(pseudo_values)
    if error < 1e-12:
        return whole, math.nan, math.nan, math.nan
    low, high = stats.t.interval(0.95, n - 1, loc=whole, scale=error)
    return whole, low, high, float(2 * stats.t.sf(abs(whole - null) / error, n - 1))


def two_targets(scenario: Scenario) -> dict[str, pl.DataFrame]:
    """Two draws of the study, their targets side by side, with noise on every number so that each row counts."""
    rng = np.random.default_rng(3)
    once, again = (scenario.simulate(Draw(rng, SEEDS)) for _ in range(2))
    tables = {}
    for name, table in once.items():
        other = again[name]
        if "target" in table.columns:
            other = other.with_columns(pl.col("target") + " of the second draw")
        both = pl.concat([table, other])
        tables[name] = both.with_columns(
            pl.col(column) + pl.Series(rng.normal(0, 0.002, both.height))
            for column, dtype in both.schema.items()
            if dtype == pl.Float64
        )
    return tables


def test_no_claim_is_left_out() -> None:
    assert {claim for module in PLANTED.values() for claim in module.STATISTICS} == {
        claim.id for claim in all_claims()
    }


@pytest.mark.parametrize("name", ["holds", "does not hold"])
@pytest.mark.parametrize("analysis", PLANTED)
def test_claims_are_what_their_words_say(analysis: str, name: str) -> None:
    (scenario,) = (own for own in PLANTED[analysis].SCENARIOS if own.name == name)
    tables = two_targets(scenario)
    found = list(analysis_module(analysis).findings(tables, NO_STUDY))
    assert {finding.claim.id for finding in found} == set(scenario.truths)
    for finding in found:
        claim = finding.claim
        table, statistic = PLANTED[analysis].STATISTICS[claim.id]
        effect, low, high, p_value = recomputed(tables[table].to_dicts(), statistic, claim.threshold)
        assert finding.effect == pytest.approx(effect, abs=1e-12), claim.id
        if math.isnan(low):  # no seed makes a difference: see test_order.py and test_findings.py
            assert math.isnan(finding.low), claim.id
            continue
        numbers = (finding.low, finding.high, finding.p_value)
        verdicts = {"above": ("does not hold", "holds"), "below": ("holds", "does not hold")}[claim.side]
        expected = verdicts[effect > claim.threshold] if p_value < 0.05 else "undecided"
        assert finding.verdict == expected, claim.id
        assert numbers == pytest.approx((low, high, p_value), rel=1e-9, abs=1e-12), claim.id
