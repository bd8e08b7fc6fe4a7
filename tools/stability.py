"""Run the embedded study again and again, and say which verdicts come out again.

.venv/bin/python tools/stability.py [--runs 10] [--out runs/stability] [--workers 2] [--page FILE] [--quick]

Runs 0 and 1 are the study as it is, with the widest instructions of this processor and with the next narrower ones. The
others have other seeds and another pre-training each. What is finished in the folder is not run again.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transferscope.analyses.claims import Finding
    from transferscope.api.results import Results

ROOT = Path(__file__).resolve().parent.parent
INSTRUCTIONS = {
    "AVX-512": ("AVX512_CORE", "avx512", "AVX512"),
    "AVX2": ("AVX2", "avx2", "AVX2"),
    "AVX": ("AVX", "default", "AVX"),
}
"""From the widest to the narrowest: the values of VARIABLES."""
VARIABLES = ("ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY", "MKL_ENABLE_INSTRUCTIONS")
DECIDED = ("holds", "does not hold")
EVIDENCE = ("strong", "some", "hint")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one run says of one claim."""

    verdict: str
    evidence: str
    effect: float
    seeds_low: float
    """Ends of the interval over seeds alone: the test images are the same in all runs."""
    seeds_high: float
    p_value: float
    is_on_claimed_side: bool


Run = Mapping[str, Outcome]


@dataclass(frozen=True, kw_only=True)
class Basins:
    """How many pairs of networks of one kind are called a basin."""

    apart: int
    """Pairs with a barrier of more than ten points."""
    apart_called: int
    joined: int
    """Pairs with a barrier of less than two points."""
    joined_called: int


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=10, help="re-runs with other seeds")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "stability")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "stability.md")
    parser.add_argument("--widest-only", action="store_true", help="leave run 1 out")
    parser.add_argument("--quick", action="store_true", help="the quick variant, to try this program")
    options = parser.parse_args(arguments)
    from transferscope.study.file import load_study
    from transferscope.study.templates import embedded_study

    variant = "quick" if options.quick else None
    num_seeds = len(load_study(embedded_study(), variant=variant).seeds)
    runs, folders = [], []
    # run 1, with narrower instructions, is the slowest
    for number in [0, *range(2, options.runs + 2), *([] if options.widest_only else [1])]:
        folder = options.out / f"run-{number}"
        if not execute(folder, number, num_seeds, options):
            return 1
        runs.append(outcomes(folder))
        folders.append(folder)
    narrower = None if options.widest_only else runs.pop()
    options.page.write_text(page(runs, narrower, basins(folders)), encoding="utf-8")
    print(f"written: {options.page}")
    return 0


def execute(folder: Path, number: int, num_seeds: int, options: argparse.Namespace) -> bool:
    """Run one study, or what is missing of it; whether it succeeded."""
    from transferscope.study.templates import embedded_study

    command = [sys.executable, "-m", "transferscope", "run", str(embedded_study()), "--out", str(folder)]
    command += ["--workers", str(options.workers), *(["--variant", "quick"] if options.quick else [])]
    if number > 1:
        seeds = list(range(100 * number, 100 * number + num_seeds))
        command += ["--set", f"seeds={seeds}", "--set", f"source.pretraining.seed={number}"]
    chosen = dict(zip(VARIABLES, INSTRUCTIONS[instructions(number)], strict=True))
    print(f"run {number}, {instructions(number)}", flush=True)
    with open(options.out.parent / f"{options.out.name}-{number}.log", "w", encoding="utf-8") as log:
        done = subprocess.run(command, env=os.environ | chosen, stdout=log, stderr=subprocess.STDOUT)
    if done.returncode:
        print(f"run {number} ended with {done.returncode}; its log is {log.name}", file=sys.stderr)
    return done.returncode == 0


def instructions(number: int) -> str:
    """The instructions that a run may use: the widest that this processor has, or the next narrower ones in run 1."""
    from transferscope.core.machine import cpu_capability

    widest = 0 if cpu_capability() == "AVX512" else 1
    return list(INSTRUCTIONS)[widest + (number == 1)]


def outcomes(folder: Path) -> dict[str, Outcome]:
    """What a finished run says of each claim."""
    import transferscope as ts

    results = ts.open_run(folder)
    over_seeds = findings_over_seeds(results)
    return {
        finding.claim.id: Outcome(
            verdict=finding.verdict,
            evidence=finding.evidence,
            effect=finding.effect,
            seeds_low=over_seeds[finding.claim.id].low,
            seeds_high=over_seeds[finding.claim.id].high,
            p_value=finding.p_value,
            is_on_claimed_side=finding.is_on_claimed_side,
        )
        for finding in results.findings
        if finding.is_measured and finding.claim.id in over_seeds
    }


def findings_over_seeds(results: Results) -> dict[str, Finding]:
    """The findings once more, without the variance of the test images."""
    from transferscope.analyses.contract import analysis_module

    found = {}
    for name in results.study.analyses:
        tables = {key: table for key, table in results.tables.items() if not key.endswith("_images")}
        module = analysis_module(name)
        if hasattr(module, "findings"):
            found |= {one.claim.id: one for one in module.findings(tables, results.study)}
    return found


def basins(folders: Sequence[Path]) -> dict[str, Basins]:
    """Of the pairs of each kind, which the test of a basin takes for one, beside the barrier on the line."""
    import polars as pl

    found = {}
    for pair in ("P-T & P-T", "RI-T & RI-T"):
        both = pl.concat(
            [
                pl.read_parquet(folder / "tables" / "barriers_basin.parquet").join(
                    pl.read_parquet(folder / "tables" / "barriers.parquet").filter(
                        definition="line", checkpoint="final", pair=pair
                    ),
                    on=["target", "a", "b"],
                )
                for folder in folders
            ]
        )
        drop, is_basin = pl.col("interior_drop_metric"), pl.col("margin") >= 0
        apart, joined = both.filter(drop > 0.1), both.filter(drop < 0.02)
        found[pair] = Basins(
            apart=len(apart),
            apart_called=len(apart.filter(is_basin)),
            joined=len(joined),
            joined_called=len(joined.filter(is_basin)),
        )
    return found


def page(runs: Sequence[Run], narrower: Run | None, pairs_called: Mapping[str, Basins]) -> str:
    """docs/stability.md.

    Args:
        runs: the study as it is, then those with other seeds.
        narrower: the study as it is, with narrower instructions; None if it was left out.
        pairs_called: see `basins`.
    """
    others = runs[1:]
    every = [*runs, *([] if narrower is None else [narrower])]
    claims = [claim for claim in runs[0] if all(claim in run for run in every)]
    pairs = list(combinations(others, 2))
    disagreements = [sum(a[claim].verdict != b[claim].verdict for claim in claims) for a, b in pairs]
    opposite = [claim for claim in claims if {run[claim].verdict for run in others} >= set(DECIDED)]
    covered = [value for claim in claims for value in coverage([run[claim] for run in others])]
    rates = repeat_rates(claims, others)
    lines = [
        "# Does a verdict come out again?",
        "",
        f"The embedded study was run {len(every)} times by `make stability`: as it is, with the instructions of "
        f"{instructions(0)}"
        + ("" if narrower is None else f" and once more with those of {instructions(1)}")
        + f", and {len(others)} times with other seeds and another pre-training. The images are the same in all. "
        f"Written by `tools/stability.py` on {datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, "
        f"{os.cpu_count()} cores.",
        "",
        "| measured on the runs with other seeds | |",
        "| --- | --- |",
        f"| claims measured in every run | {len(claims)} |",
        f"| verdicts that differ between two runs, mean | {number(disagreements)} |",
        f"| claims that hold in one run and do not hold in another | {len(opposite)}{named(opposite)} |",
        f"| 95 % intervals over seeds that cover the mean of the other runs | {share(covered)} of {len(covered)} |",
        *(
            f"| {name} evidence: the same verdict in another run | {share(values)} of {len(values)} |"
            for name, values in rates.items()
        ),
        *([] if narrower is None else rows_of_instructions(claims, runs[0], narrower)),
        *(
            f"| {pair} with a barrier of {what} that are called a basin | {called} of {count} |"
            for pair, one in pairs_called.items()
            for what, count, called in (
                ("more than 10 points", one.apart, one.apart_called),
                ("less than 2 points", one.joined, one.joined_called),
            )
        ),
        "",
        "A verdict is decided where the evidence is strong or some. For a hint, which decides nothing, the table "
        "counts how often another run has a hint, or a decided verdict, on the same side.",
        "",
        "Each run has a P of its own. The intervals are over the seeds of the fine-tunings and don't hold how much P "
        "varies, so they cover the mean of the other runs less often than 95 %.",
        "",
        "## Each claim",
        "",
        "| claim | holds | does not hold | undecided | runs that agree, two by two | effects | covered |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *(claim_row(claim, [run[claim] for run in others]) for claim in claims),
        "",
    ]
    return "\n".join(lines)


def rows_of_instructions(claims: Sequence[str], widest: Run, narrower: Run) -> list[str]:
    """What differs between two runs of the same seeds with different instructions."""
    changed = [claim for claim in claims if widest[claim].verdict != narrower[claim].verdict]
    weighty = [claim for claim in changed if "strong" in (widest[claim].evidence, narrower[claim].evidence)]
    both = f"{instructions(0)} and {instructions(1)}"
    return [
        f"| verdicts that differ between {both}, same seeds | {len(changed)}{named(changed)} |",
        f"| of these with strong evidence in one of the two | {len(weighty)}{named(weighty)} |",
    ]


def claim_row(claim: str, found: Sequence[Outcome]) -> str:
    verdicts = [one.verdict for one in found]
    agree = [a == b for a, b in combinations(verdicts, 2)]
    effects = [one.effect for one in found if math.isfinite(one.effect)]
    cells = [
        f"`{claim}`",
        *(str(verdicts.count(verdict)) for verdict in (*DECIDED, "undecided")),
        share(agree),
        f"{min(effects):.3g} to {max(effects):.3g}" if effects else "–",
        share(coverage(found)),
    ]
    return f"| {' | '.join(cells)} |"


def coverage(found: Sequence[Outcome]) -> list[bool]:
    """For each run whether its interval over seeds covers the mean effect of the other runs."""
    covered = []
    for place, own in enumerate(found):
        rest = [one.effect for i, one in enumerate(found) if i != place]
        if math.isfinite(own.seeds_low) and rest and all(map(math.isfinite, rest)):
            covered.append(own.seeds_low <= mean(rest) <= own.seeds_high)
    return covered


def repeat_rates(claims: Sequence[str], runs: Sequence[Run]) -> dict[str, list[bool]]:
    """Evidence -> for each verdict with it, and each other run, whether the verdict came out again.

    A hint has no verdict: there it counts as repeated where the other run has at least a hint on the same side.
    """
    found: dict[str, list[bool]] = {name: [] for name in EVIDENCE}
    for claim in claims:
        for place, own in enumerate(run[claim] for run in runs):
            others = [run[claim] for i, run in enumerate(runs) if i != place]
            if own.evidence == "hint":
                found["hint"] += [
                    one.p_value < 0.05 and one.is_on_claimed_side == own.is_on_claimed_side for one in others
                ]
            elif own.evidence in found:
                found[own.evidence] += [one.verdict == own.verdict for one in others]
    return found


def share(values: Sequence[bool]) -> str:
    return f"{100 * mean(values):.0f} %" if values else "–"


def number(values: Sequence[int]) -> str:
    return f"{mean(values):.1f}" if values else "–"


def named(claims: Sequence[str]) -> str:
    return f" ({', '.join(f'`{claim}`' for claim in claims)})" if claims else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
