"""python -m benchmarks [JOB ...] [--check] [--size tiny] [--rounds N]."""

from __future__ import annotations

import argparse
import importlib
import os
import sys

JOBS = (
    "shuffle",
    "error_consistency",
    "similarity",
    "interpolation",
    "criticality",
    "training",
    "allocation",
    "startup",
    "scaling",
    "study",
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("jobs", nargs="*", choices=[*JOBS, []], metavar="JOB", help=", ".join(JOBS))
    parser.add_argument(
        "--check", action="store_true", help="fail where a ratio is under its bar; writes nothing"
    )
    parser.add_argument(
        "--size", choices=["full", "tiny"], default="full", help="tiny: whether it runs at all"
    )
    parser.add_argument("--rounds", type=int, default=None, help="rounds, 5 by default")
    asked = parser.parse_args()
    rounds = asked.rounds or (5 if asked.size == "full" else 1)
    # before torch is imported: one thread a process, as in the study
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["TQDM_DISABLE"] = "1"
    import torch

    from benchmarks.bars import shortfalls
    from benchmarks.results import renew_page, tables, write

    torch.set_num_threads(1)
    problems = []
    for job in asked.jobs or JOBS:
        result = importlib.import_module(f"benchmarks.{job}").run(asked.size, rounds)
        print(f"\n## {job}\n\n{tables(job, result)}", flush=True)
        problems += shortfalls(job, result) if asked.size == "full" else []
        if not asked.check and asked.size == "full":
            write(job, result, asked.size, rounds)
    if not asked.check and asked.size == "full":
        renew_page()
    for problem in problems:
        print(f"under the bar by more than 15 %: {problem}")
    return int(bool(problems) and asked.check)


if __name__ == "__main__":
    sys.exit(main())
