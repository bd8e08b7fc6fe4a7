"""Every claim on made-up studies, computed anew in plain Python with SciPy from the rows of its table.

Written from the words of `statistic` and docs/findings.md, sharing no code with the analyses: effect, interval, p and
verdict must be the same, on all targets and on each.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from planted_studies import TARGETS, Rows, all_planted, of, study
from scipy import stats

from transferscope.analyses.claims import Claim
from transferscope.analyses.contract import all_claims, analysis_module

NO_STUDY: Any = None
NUM_SEEDS = 4
PLANTED = all_planted()
WITH_IMAGES = tuple(replace(target, images=1.0) for target in TARGETS)


def seeds_of(row: dict[str, Any]) -> set[int]:
    return {value for name, value in row.items() if name.startswith("seed") and value is not None}


def jackknife(values: list[float]) -> float:
    n = len(values)
    return (n - 1) / n * sum((value - sum(values) / n) ** 2 for value in values)


def on_one_target(
    statistic: Callable[[Rows], float], rows: Rows, image_rows: Rows
) -> tuple[float, list[tuple[float, int]]]:
    """The statistic, and each part of its variance with its degrees of freedom."""
    seeds = sorted({seed for row in rows for seed in seeds_of(row)})
    without = [statistic([row for row in rows if seed not in seeds_of(row)]) for seed in seeds]
    parts = [(jackknife(without), len(seeds) - 1)]
    if image_rows:
        groups = [statistic(of(image_rows, without_group=group)) for group in range(20)]
        parts.append((jackknife(groups), 19))
    return statistic(rows), parts


def compared(claim: Claim, effect: float, parts: list[tuple[float, int]]) -> tuple[list[float], bool]:
    """Effect, ends of the interval and p by Student's t with Satterthwaite's degrees of freedom; the side."""
    variance = sum(value for value, _ in parts)
    df = variance**2 / sum(value**2 / one for value, one in parts)
    null = math.log(claim.threshold) if claim.unit == "x" else claim.threshold
    numbers = [effect, *stats.t.interval(0.95, df, loc=effect, scale=variance**0.5)]
    is_claimed = (effect > null) == (claim.side == "above")
    p_value = float(2 * stats.t.sf(abs(effect - null) / variance**0.5, df))
    return [*(map(math.exp, numbers) if claim.unit == "x" else numbers), p_value], is_claimed


def test_no_claim_is_left_out() -> None:
    assert {claim for module in PLANTED.values() for claim in module.STATISTICS} == {
        claim.id for claim in all_claims()
    }


@pytest.mark.parametrize("targets", [TARGETS, WITH_IMAGES], ids=["seeds", "seeds and images"])
@pytest.mark.parametrize("name", ["holds", "does not hold"])
@pytest.mark.parametrize("analysis", PLANTED)
def test_claims_are_what_their_words_say(analysis: str, name: str, targets: Any) -> None:
    (scenario,) = (own for own in PLANTED[analysis].SCENARIOS if own.name == name)
    tables = study(scenario, np.random.default_rng(3), NUM_SEEDS, targets)
    findings = list(analysis_module(analysis).findings(tables, NO_STUDY))
    assert {finding.claim.id for finding in findings} == set(scenario.truths)
    for found in findings:
        claim = found.claim
        table, statistic = PLANTED[analysis].STATISTICS[claim.id]
        rows = tables[table].to_dicts()
        images = (
            tables[f"{table}_images"].to_dicts() if found.num_images and f"{table}_images" in tables else []
        )
        names = [target.name for target in targets]
        each = [on_one_target(statistic, of(rows, target=own), of(images, target=own)) for own in names]
        weights = [1 / len(names)] * len(names)
        if claim.across == "contrast":
            weights = [1.0, *([0.0] * (len(names) - 2)), -1.0]
        effect = sum(weight * own for weight, (own, _) in zip(weights, each, strict=True))
        parts = [
            (weight**2 * value, df)
            for weight, (_, own) in zip(weights, each, strict=True)
            for value, df in own
            if weight
        ]
        numbers, is_claimed = compared(claim, effect, parts)
        own = {target: compared(claim, *one) for target, one in zip(names, each, strict=True)}
        if claim.across == "each":
            against = [p for (*_, p), is_for in own.values() if not is_for]
            numbers[3] = len(own) * min(against) if against else max(p for (*_, p), _ in own.values())
            is_claimed = not against
        ours = [found.effect, found.low, found.high, found.p_value]
        assert ours == pytest.approx(numbers, rel=1e-6, abs=1e-9), claim.id
        verdict = "undecided" if numbers[3] >= 0.025 else "holds" if is_claimed else "does not hold"
        assert found.verdict == verdict, claim.id
        assert [one.target for one in found.targets] == ([] if claim.across == "contrast" else names)
        for one in found.targets:
            ours = [one.effect, one.low, one.high, one.p_value]
            assert ours == pytest.approx(own[one.target][0], rel=1e-6, abs=1e-9), (claim.id, one.target)
