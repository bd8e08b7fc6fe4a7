"""Claims, and what a study says about them: evidence and size, apart.

The words for evidence go by the p-value of the test against the claim's threshold. How often such a verdict comes out
again in another study was measured on ten runs of the embedded study with the tests of version 0.1; `make stability`
measures it for the tests of this version.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

Evidence = Literal["strong", "some", "hint", "shown to be negligible", "open", "not measurable here"]
"""How sure the study is, whichever way the verdict goes.

- strong: p < .005, or p < .025 and below .05 after adjusting for all claims of the study (Holm)
- some: p < .025, and not strong
- hint: .025 <= p < .05; about every second one does not come out again, so it decides nothing
- shown to be negligible: none of these, but the 90 % interval lies within the claim's margin around 0
  (two one-sided tests at 5 %; Schuirmann 1987)
- open: none of these
- not measurable here: the study has nothing that could decide the claim
"""
Verdict = Literal["holds", "does not hold", "undecided"]
"""Decided where the evidence is strong or some; everything else is undecided."""
Standing = Literal[
    "holds (strong)",
    "holds (some)",
    "does not hold (strong)",
    "does not hold (some)",
    "negligible",
    "undecided (hint)",
    "undecided",
    "not measurable here",
]
"""Verdict and evidence, as they are shown together."""
Mark = Literal["holds", "does not hold", "undecided", "negligible", "not measurable"]
"""Which colour and symbol a standing has."""
Size = Literal["negligible", "small", "medium", "large", "unknown"]

STRONG, SOME, HINT = 0.005, 0.025, 0.05
"""Largest p-value (exclusive) of each evidence."""
STRONG_AMONG_ALL = 0.05
"""Evidence is strong, too, where p adjusted for all claims lies below this."""
REPEAT_RATES: dict[Evidence, float] = {"strong": 0.94, "some": 0.75, "hint": 0.54}
"""Share of verdicts with this evidence that came out again in another run of the embedded study, with other seeds and
another pre-training; see docs/stability.md. Hints are too rare there: theirs is that of p from .025 to .05 in ten runs
with the tests of version 0.1."""
SMALL_METRIC = 0.02
"""Two points of accuracy or AUC: below it, a difference is negligible. Frankle et al. (2020) call a path stable
whose error rises by less."""
SIZES: dict[str, tuple[float, float, float]] = {
    "": (SMALL_METRIC, 0.05, 0.15),
    "x": (1.1, 1.5, 3.0),
    "nats": (0.05, 0.2, 1.0),
}
"""Unit of a claim -> where small, medium and large begin: differences of metrics, shares and similarities, which lie
between 0 and 1; ratios, either way; losses."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim, and the number that decides it."""

    id: str
    analysis: str
    """The analysis whose section it rests on."""
    statement: str
    """The claim in the paper's terms."""
    origin: Literal["paper", "transferscope"] = "paper"
    """Who claims it: the paper, or this tool beyond it."""
    table: str
    """The table of the analysis that the number is computed from; `TABLE_images`, where there is one, has the same
    without one group of test images after the other."""
    statistic: str
    """The number, in words, on one target."""
    across: Literal["mean", "each", "contrast"] = "mean"
    """How several targets count: the claim is about their mean, about each of them, or about a difference between
    targets."""
    threshold: float = 0.0
    """The claim holds if the number lies on the right side of this."""
    side: Literal["above", "below"] = "above"
    """Which side is the right one."""
    reason: str = "zero: any difference in the claimed direction, with its interval"
    """Why this threshold."""
    unit: str = ""
    """Of the effect: "" for metrics, shares and similarities; "x" for a ratio, which is tested on a log scale. For a
    unit that `SIZES` doesn't have, the size is unknown."""

    @property
    def margin(self) -> float:
        """Smaller differences are negligible, in the unit of the test (the log of a ratio); NaN for an unknown unit."""
        smallest = SIZES.get(self.unit, (math.nan,))[0]
        return math.log(smallest) if self.unit == "x" else smallest


@dataclass(frozen=True, kw_only=True)
class Result:
    """What the numbers say about a claim, on one target or on all."""

    target: str = ""
    """Empty for all targets."""
    effect: float
    """The number; NaN where it could not be computed."""
    low: float = math.nan
    """Lower end of its 95 % interval; NaN where there is none."""
    high: float = math.nan
    over: str = ""
    """What the interval is over: seeds, test images, or both."""
    num_seeds: int = 0
    """Seeds on the target that has the fewest; 0 where nothing was measured."""
    p_value: float = math.nan
    """Of the test against the threshold; NaN where there is none, as always with fewer than three seeds."""
    p_adjusted: float = math.nan
    """The same, adjusted for all claims of the study (Holm)."""
    is_on_claimed_side: bool = False
    """Whether the number lies on the claimed side of the threshold."""
    is_negligible: bool = False
    """Whether the 90 % interval lies within the claim's margin around 0."""
    needs_seeds: int | None = None
    """Seeds a kind with which four studies in five would decide the claim, were the effect and its variance as they
    are here; None where it is decided, where nothing is known, or where more than 60 would be needed."""
    size: Size = "unknown"

    @property
    def evidence(self) -> Evidence:
        """How sure the study is."""
        if self.num_seeds == 0:
            return "not measurable here"
        if self.p_value < SOME:
            is_strong = self.p_value < STRONG or self.p_adjusted < STRONG_AMONG_ALL
            return "strong" if is_strong else "some"
        if self.is_negligible:
            return "shown to be negligible"
        return "hint" if self.p_value < HINT else "open"

    @property
    def verdict(self) -> Verdict:
        """Decided only where the evidence is strong or some."""
        if self.evidence not in ("strong", "some"):
            return "undecided"
        return "holds" if self.is_on_claimed_side else "does not hold"

    @property
    def mark(self) -> Mark:
        """Its colour and symbol: the verdict, but for what has none."""
        match self.evidence:
            case "shown to be negligible":
                return "negligible"
            case "not measurable here":
                return "not measurable"
            case _:
                return self.verdict

    @property
    def standing(self) -> Standing:
        """Verdict and evidence in a few words."""
        match self.evidence, self.verdict:
            case "strong", "holds":
                return "holds (strong)"
            case "strong", _:
                return "does not hold (strong)"
            case "some", "holds":
                return "holds (some)"
            case "some", _:
                return "does not hold (some)"
            case "shown to be negligible", _:
                return "negligible"
            case "hint", _:
                return "undecided (hint)"
            case "open", _:
                return "undecided"
            case _:
                return "not measurable here"

    @property
    def repeat_rate(self) -> float | None:
        """Share of such verdicts that came out again; see `REPEAT_RATES`."""
        return REPEAT_RATES.get(self.evidence)


@dataclass(frozen=True, kw_only=True)
class Finding(Result):
    """What this study says about one claim."""

    claim: Claim
    targets: tuple[Result, ...] = field(default=())
    """The result on each target, in the order of the study; empty where the claim is a difference between targets."""
    num_images: int = 0
    """Test images behind each network's number; 0 where none are."""
    note: str = ""
    """What a reader must know: why it is open, what was compared."""

    @property
    def is_measured(self) -> bool:
        """Whether any seed has what the claim is about."""
        return self.num_seeds > 0

    @property
    def targets_that_hold(self) -> str:
        """On how many targets it holds, such as "holds on 3 of 4 targets"; empty where there is one or none."""
        if len(self.targets) < 2:
            return ""
        holds = sum(one.verdict == "holds" for one in self.targets)
        return f"holds on {holds} of {len(self.targets)} targets"


def size_of(effect: float, unit: str) -> Size:
    """The word for the size of an effect; see `SIZES`.

    >>> size_of(-0.03, ""), size_of(0.25, "x"), size_of(float("nan"), "")
    ('small', 'large', 'unknown')
    """
    if not math.isfinite(effect) or unit not in SIZES or (unit == "x" and effect <= 0):
        return "unknown"
    distance = max(effect, 1 / effect) if unit == "x" else abs(effect)
    small, medium, large = SIZES[unit]
    if distance < small:
        return "negligible"
    return "small" if distance < medium else "medium" if distance < large else "large"


def not_measured(claim: Claim, why: str) -> Finding:
    """The finding on a claim that this study can't speak of; `why` says which setting would change that."""
    return Finding(claim=claim, effect=math.nan, note=why)
