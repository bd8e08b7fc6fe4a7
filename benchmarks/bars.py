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
    """Our candidate's name, or the prefix of what the quantity is."""
    against: str = ""
    """Prefix of the other's name; none for a quantity."""
    least: float | None = None
    """Their CPU time over ours."""
    most: float | None = None
    """In the quantity's unit."""
    reached: float | None = None
    """What is held where the bar isn't reached; docs/performance.md says why."""

    @property
    def held(self) -> float:
        """What a run is checked against."""
        values = [value for value in (self.reached, self.least, self.most) if value is not None]
        return values[0]


SHUFFLE, UINT8, PAPER = "block_shuffle", "uint8 block_shuffle, as in a study", "unfold and fold"
CKA, BEST = "cka", "cka, channels_last"
PATHS, FOLDED = "paths", "paths, folded and channels_last"
CELLS = "module_criticality, folded and channels_last"

BARS: tuple[Bar, ...] = (
    Bar(job="shuffle", case="", ours=SHUFFLE, against=PAPER, least=4),
    *(
        Bar(job="shuffle", case=f"{block} px", ours=SHUFFLE, against=PAPER, least=8)
        for block in (28, 32, 56, 112)
    ),
    Bar(job="shuffle", case="112 px", ours=SHUFFLE, against=PAPER, least=25, reached=19),
    Bar(job="shuffle", case="112 px", ours=UINT8, against=PAPER, least=25),
    Bar(job="error_consistency", case="", ours="error_consistency", against="lm-sim", least=1000),
    Bar(job="similarity", case="one pair", ours=CKA, against="pytorch-cka", least=1.0, reached=0.95),
    Bar(job="similarity", case="one pair", ours=BEST, against="pytorch-cka", least=1.3, reached=0.77),
    Bar(job="similarity", case="one pair", ours=CKA, against="torch-cka", least=2.3, reached=1.8),
    Bar(job="similarity", case="one pair", ours=CKA, against="cka-pytorch", least=2.3, reached=0.9),
    Bar(job="similarity", case="6 models", ours=CKA, against="pytorch-cka", least=6, reached=4.6),
    Bar(job="similarity", case="from features", ours=CKA, against="calibrated-similarity", least=30),
    Bar(job="similarity", case="", ours="cka: memory above forward", most=50),
    Bar(job="interpolation", case="cached", ours=PATHS, against="the paper", least=1.6, reached=1.1),
    Bar(job="interpolation", case="cached", ours=PATHS, against="loss-landscapes", least=2.6),
    Bar(job="interpolation", case="cached", ours=FOLDED, against="the paper", least=2.4, reached=1.4),
    Bar(job="interpolation", case="cached", ours=FOLDED, against="loss-landscapes", least=3.7, reached=3.6),
    Bar(job="interpolation", case="JPEG files", ours=PATHS, against="the paper", least=2.5, reached=2.2),
    Bar(job="interpolation", case="JPEG files", ours=FOLDED, against="the paper", least=3.5, reached=2.75),
    Bar(job="criticality", case="", ours=CELLS, against="whole passes", least=3.5),
    Bar(job="training", case="", ours="Stepper", against="a plain loop", least=1.0),
    Bar(
        job="training",
        case="",
        ours="Stepper",
        against="forward, backward and optimizer",
        least=1 / 1.05,
        reached=0.9,
    ),
    Bar(
        job="allocation", case="", ours="freed memory kept, as in a task", against="as glibc does", least=1.0
    ),
    Bar(job="startup", case="help", ours="transferscope --help", against="python -c", least=0.5),
    Bar(job="startup", case="planning the default study", ours="with its imports", most=1),
    Bar(job="scaling", case="planner", ours="", most=5),
    Bar(job="study", case="the default study", ours="all of it", against="the floor", least=0.8),
    Bar(job="study", case="the default study", ours="a warm rerun, CPU time", most=5),
)


def met(bar: Bar, ratio: Ratio) -> bool:
    """Whether a ratio is the bar's."""
    return (
        bool(bar.against)
        and ratio.case.startswith(bar.case)
        and ratio.ours == bar.ours
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
                f"{where} against {ratio.against}: {ratio.cpu:.2f}, to be held: {bar.held:.2f}"
                for ratio in ratios
                if not ratio.cpu >= bar.held * (1 - MARGIN)
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
                f"{where}: {each.value:.3g} {each.unit}, at most {bar.held:g}"
                for each in found
                if not each.value <= bar.held * (1 + MARGIN)
            ]
            if not found:
                problems.append(f"{where}: not measured")
    return problems
