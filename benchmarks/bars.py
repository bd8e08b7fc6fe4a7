"""What is asked for at least: one table. `--check` fails where a ratio falls under it by more than 15 %."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.measure import Ratio, Result

MARGIN = 0.15
"""Share of a bar that the weather on a machine may cost."""


@dataclass(frozen=True, kw_only=True)
class Bar:
    """The ratio that a job is to reach, or the quantity that it is to stay under."""

    job: str
    case: str
    """Prefix of the case's name."""
    ours: str
    """Prefix of our candidate's name, or of what the quantity is."""
    against: str = ""
    """Prefix of the other's name; none for a quantity."""
    least: float | None = None
    """Their CPU time over ours."""
    most: float | None = None
    """In the quantity's unit."""


def _at_least(job: str, case: str, ours: str, **others: float) -> tuple[Bar, ...]:
    return tuple(
        Bar(job=job, case=case, ours=ours, against=name.replace("_", " "), least=least)
        for name, least in others.items()
    )


BARS: tuple[Bar, ...] = ()


def met(bar: Bar, ratio: Ratio) -> bool:
    """Whether a ratio is the bar's."""
    return (
        bool(bar.against)
        and ratio.case.startswith(bar.case)
        and ratio.ours.startswith(bar.ours)
        and ratio.against.startswith(bar.against)
    )


def bar_of(job: str, ratio: Ratio) -> Bar | None:
    """The strictest bar of a ratio."""
    found = [bar for bar in BARS if bar.job == job and met(bar, ratio)]
    return max(found, key=lambda bar: bar.least or 0.0, default=None)


def shortfalls(job: str, result: Result) -> list[str]:
    """What falls short of its bar by more than the margin, in words; a bar that nothing answers to is one."""
    problems = []
    for bar in (bar for bar in BARS if bar.job == job):
        where = f"{job}, {bar.case or 'all cases'}: {bar.ours}"
        if bar.least is not None:
            ratios = [ratio for ratio in result.ratios if met(bar, ratio)]
            problems += [
                f"{where} against {ratio.against}: {ratio.cpu:.2f}, asked for {bar.least:.2f}"
                for ratio in ratios
                if not ratio.cpu >= bar.least * (1 - MARGIN)
            ]
            if not ratios:
                problems.append(f"{where} against {bar.against}: not measured")
        if bar.most is not None:
            found = [
                each
                for each in result.quantities
                if each.case.startswith(bar.case) and each.what.startswith(bar.ours)
            ]
            problems += [
                f"{where}: {each.value:.3g} {each.unit}, at most {bar.most:g}"
                for each in found
                if not each.value <= bar.most * (1 + MARGIN)
            ]
            if not found:
                problems.append(f"{where}: not measured")
    return problems
