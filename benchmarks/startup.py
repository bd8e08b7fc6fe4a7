"""How long one waits before anything is computed: help, and planning the default study, in new processes."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping
from subprocess import CompletedProcess

from benchmarks.measure import Candidate, Case, Disagreement, Quantity, Result, Size, compare_all, timed

JOB = "startup"
HELP, IMPORTS = "transferscope --help", "python -c 'import typer, rich'"
PLANNING = "planning the default study"
PLAN = (
    "import time; started = time.process_time();"
    "from transferscope.study.templates import embedded_study;"
    "from transferscope.study.plan import plan;"
    "from transferscope.study.file import load_study;"
    "plan(load_study(embedded_study()));"
    "import sys; assert 'torch' not in sys.modules;"
    "print(time.process_time() - started)"
)


def run(size: Size, rounds: int) -> Result:
    result = compare_all(JOB, cases(size), size, rounds)
    seconds = [float(_python("-c", PLAN).stdout) for _ in range(rounds)]
    result.quantities = [
        Quantity(
            case=PLANNING, what="with its imports", value=statistics.median(seconds), unit="s of CPU time"
        )
    ]
    # CPU time too: one process, which waits for nothing
    whole = [timed(lambda: _python("-m", "transferscope", "plan", _demo()))[2] for _ in range(rounds)]
    result.quantities.append(
        Quantity(
            case=PLANNING, what="transferscope plan, all in all", value=statistics.median(whole), unit="s"
        )
    )
    return result


def cases(size: Size) -> Iterator[Case]:
    del size
    yield Case(
        name="help",
        ours=[Candidate(name=HELP, run=lambda: _python("-m", "transferscope", "--help"))],
        peers=[Candidate(name=IMPORTS, run=lambda: _python("-c", "import typer, rich"))],
        agree=_no_torch,
    )


def _no_torch(found: Mapping[str, CompletedProcess[str]]) -> str:
    if "Run a study" not in found[HELP].stdout:
        raise Disagreement(f"help says: {found[HELP].stdout}")
    code = "import sys; from transferscope.cli import app; app(['--help'], standalone_mode=False); "
    if "False" not in _python("-c", code + "print('torch' in sys.modules)").stdout:
        raise Disagreement("help imports torch")
    return "help is printed, and imports no torch"


def _demo() -> str:
    from transferscope.study.templates import embedded_study

    return str(embedded_study())


def _python(*arguments: str) -> CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True)
