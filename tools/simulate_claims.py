"""How often a claim is decided although the truth lies exactly at its threshold, by simulated studies.

.venv/bin/python tools/simulate_claims.py [--studies 1000] [--seeds 3] [--page docs/findings.md] [--analysis NAME ...]

The studies are those of tests/analyses/*/planted.py with the four targets of tests/support/planted_studies.py, of
which one varies three times as much as the others and is skewed. They go through the code that judges real studies.
With --page the table of claims on the page is written anew; without it the shares are printed.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from transferscope.analyses.claims import Claim, Result
from transferscope.analyses.contract import all_claims, analysis_module

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))
import planted_studies as planted  # noqa: E402

BEGIN, END = "<!-- written by tools/simulate_claims.py -->", "<!-- end -->"
VERDICTS = ("holds", "does not hold")
WHOSE = {"paper": "paper", "transferscope": "ours"}


def simulated(analysis: str, studies: int, num_seeds: int) -> tuple[Counter[str], Counter[str], set[str]]:
    """Verdicts on all targets and on the most skewed target, by claim and verdict; the claims at their thresholds."""
    module = planted.planted(analysis)
    (scenario,) = (one for one in module.SCENARIOS if one.name == planted.NULL)
    rng = np.random.default_rng(17)
    overall: Counter[str] = Counter()
    single: Counter[str] = Counter()
    for _ in range(studies):
        tables = planted.study(scenario, rng, num_seeds)
        for found in analysis_module(analysis).findings(tables, None):  # type: ignore[arg-type]
            overall[_key(found.claim, found)] += 1
            single[_key(found.claim, found.targets[-1] if found.targets else found)] += 1
    return overall, single, set(scenario.truths)


def _key(claim: Claim, result: Result) -> str:
    return f"{claim.id} {result.verdict}"


def shares(counts: Counter[str], claim: Claim, studies: int) -> str:
    """Such as 1.2 % / 0.9 %: held, and did not hold."""
    return " / ".join(f"{100 * counts[f'{claim.id} {verdict}'] / studies:.1f} %" for verdict in VERDICTS)


def table(results: dict[str, tuple[str, str]]) -> Iterator[str]:
    """The lines of the table of claims."""
    yield "| claim | whose | holds if | of | wrong: several targets | wrong: one skewed target |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for claim in all_claims():
        sign = ">" if claim.side == "above" else "<"
        wrong = " | ".join(results.get(claim.id, ("", "")))
        across = {"mean": "the mean of targets", "each": "each target", "contrast": "two targets"}[
            claim.across
        ]
        yield (
            f"| `{claim.id}` | {WHOSE[claim.origin]} | {claim.statistic} {sign} {claim.threshold:g} | {across} "
            f"| {wrong} |"
        )


def main(arguments: list[str] | None = None) -> None:
    """Simulate, then print or write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--analysis", nargs="*")
    options = parser.parse_args(arguments)
    results: dict[str, tuple[str, str]] = defaultdict(lambda: ("", ""))
    for analysis in options.analysis or dict.fromkeys(claim.analysis for claim in all_claims()):
        overall, single, ids = simulated(analysis, options.studies, options.seeds)
        for claim in all_claims():
            if claim.id in ids:
                one = "" if claim.across == "contrast" else shares(single, claim, options.studies)
                results[claim.id] = (shares(overall, claim, options.studies), one)
                print(claim.id, *results[claim.id], sep=" | ", flush=True)
    if options.page:
        before, _, rest = options.page.read_text().partition(BEGIN)
        _, _, after = rest.partition(END)
        lines = "\n".join(table(results))
        options.page.write_text(f"{before}{BEGIN}\n\n{lines}\n\n{END}{after}")


if __name__ == "__main__":
    main()
